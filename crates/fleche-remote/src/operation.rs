//! Store operations that travel from a client to a server.
//!
//! A request has the parts: the number of the store (8 bytes), the encoded [`Operation`], and the bytes that some operations need.

use std::time::Duration;

use bytes::Bytes;
use fleche_core::{CallKey, Digest, Result, encoding};
use serde::{Deserialize, Serialize, de::DeserializeOwned};

/// A store of the server, as the client names it.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub struct ServedStore {
    /// The number of the store.
    pub number: u64,
    /// Whether the server's thread that reads the channel performs the operations.
    pub quick: bool,
    /// Whether only the server's process and clients of the same program write records to the store.
    pub exclusive: bool,
}

/// An operation on a store.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum Operation {
    GetValue(Digest),
    PutValue(Digest),
    HasValue(Digest),
    AgeOfValue(Digest),
    RemoveValue(Digest, Option<Duration>),
    Values(String),
    SyncValue(Digest),
    GetRecord(CallKey),
    PutRecord(CallKey),
    HasRecord(CallKey),
    /// The flag tells whether a record to compare with follows.
    RemoveRecord(CallKey, bool),
    Records(String),
    SyncRecord(CallKey),
    /// Asks for the permit to compute a call, from within these calls.
    Claim(CallKey, Vec<CallKey>),
    /// Like `Claim`, but answered when no other caller holds the claim.
    AwaitClaim(CallKey, Vec<CallKey>),
    /// Asks for the claim holder of a call.
    ClaimHolder(CallKey),
    /// Returns a permit to the server.
    Release(u64),
}

/// The answer to a client that asks for a claim.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum ClaimAnswer {
    /// The client holds the permit of this number until it returns the permit.
    Permit(u64),
    /// Another caller holds the claim.
    Taken,
    /// Another caller holds the claim, and waits for the client.
    Cycle,
}

/// Decodes an answer that is never `None`.
pub(crate) fn decoded<T: DeserializeOwned>(answer: Option<Bytes>) -> Result<T> {
    Ok(encoding::from_slice(&answer.unwrap_or_default())?)
}
