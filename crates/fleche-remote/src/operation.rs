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
    /// Asks for a record, and for its result in the value store of this number if it has at most so many bytes. The answer is the
    /// length of the record (8 bytes), the record, and the bytes of the result.
    Hit(CallKey, u64, u64),
    /// Removes values as `RemoveValue` does, and answers their number.
    RemoveValues(Vec<Digest>, Option<Duration>),
    /// Reads a value without verifying it. The client does that.
    ReadValue(Digest),
    /// Quarantines a value if it still has the bytes of this second digest, which the client found to be damaged for this reason.
    ReportDamage(Digest, Digest, String),
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

/// The status of an answer: its first part.
pub(crate) mod status {
    /// No bytes follow.
    pub(crate) const NOTHING: u8 = 0;
    /// Bytes follow.
    pub(crate) const BYTES: u8 = 1;
    /// The operation has failed. The text of the error follows.
    pub(crate) const FAILED: u8 = 2;
    /// A store has timed out. The text of the error follows.
    pub(crate) const TIMED_OUT: u8 = 3;
    /// The server does not know the operation.
    pub(crate) const UNKNOWN: u8 = 4;
    /// An entry is damaged. Its name and the reason follow, each a part.
    pub(crate) const DAMAGED: u8 = 5;
}

/// Decodes an answer that is never `None`.
pub(crate) fn decoded<T: DeserializeOwned>(answer: Option<Bytes>) -> Result<T> {
    Ok(encoding::from_slice(&answer.unwrap_or_default())?)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Servers and clients of different versions exchange these names, so they never change.
    #[test]
    fn encoded_operations_are_permanent() {
        let id = Digest::from_bytes([0xab; 32]);
        let (key, age) = (CallKey::from(id), Some(Duration::from_secs(1)));
        let operations = [
            Operation::GetValue(id),
            Operation::PutValue(id),
            Operation::HasValue(id),
            Operation::AgeOfValue(id),
            Operation::RemoveValue(id, age),
            Operation::Values("ab".to_owned()),
            Operation::SyncValue(id),
            Operation::GetRecord(key),
            Operation::PutRecord(key),
            Operation::HasRecord(key),
            Operation::RemoveRecord(key, true),
            Operation::Records("ab".to_owned()),
            Operation::SyncRecord(key),
            Operation::Claim(key, vec![key]),
            Operation::AwaitClaim(key, vec![key]),
            Operation::ClaimHolder(key),
            Operation::Release(7),
            Operation::Hit(key, 1, 65536),
            Operation::RemoveValues(vec![id], age),
            Operation::ReadValue(id),
            Operation::ReportDamage(id, id, "why".to_owned()),
        ];
        let lines = operations.iter().map(|operation| {
            let bytes = encoding::to_vec(operation).unwrap();
            format!("{} {}", encoding::diagnostic(&bytes), Digest::hash(&bytes))
        });
        let encoded = lines.collect::<Vec<_>>().join("\n");
        assert_eq!(encoded.replace(&"ab".repeat(32), "DIGEST"), GOLDEN);
    }

    const GOLDEN: &str = r#"{"GetValue": "DIGEST"} 234ec7a3a42b22614f38aca1c760cdc0177c2cbf3e6b7e55662d54ac0e6cb114
{"PutValue": "DIGEST"} 635fbf08d794793383280626e9fb8ba4c68bdee88e72a4e6dba4866eb98203a5
{"HasValue": "DIGEST"} f5c4743bd64a447dfd481371f0ba51498b166f56c60a4c1a938b54e6d71e3b51
{"AgeOfValue": "DIGEST"} 0c10d67f4bf3d45841d108dbbd7926a3fd175147c8c188d8951781ea7600a97e
{"RemoveValue": ["DIGEST", {"secs": 1, "nanos": 0}]} 258345c7c7ca9d1ff4fe542daf27d39a1d4a87a8861c03c5f8bcac5ecc06e402
{"Values": "ab"} 39cb8227d2b8f97ee225a6fbb70d844d4634a4f033ab73a5f36c80cfef2c83f7
{"SyncValue": "DIGEST"} e0ffea4f7936fbb5e483addac265f24afc6490fca67574ab9efd923b36ea95b8
{"GetRecord": "DIGEST"} 159f663940d512993e628e9ddd7d0bd2e9fbf5ca6510130b259f49554e34ff26
{"PutRecord": "DIGEST"} 881ac7d9f07d16bbb398b276b6242b7b17cfa4fcc7111aaab5c4ed3e91e952d5
{"HasRecord": "DIGEST"} f6a79eadb5ad1258e29641966d4c01753a82076e7a654a366d7d1993ae747055
{"RemoveRecord": ["DIGEST", true]} 225612bd1e9edf0895f6b995f68ca276584f57f884b5e9e1b1b74624c947ec65
{"Records": "ab"} 2be4dc5bc90e98cd87e43f952f177ed6c4e72140437b13a956779edc0155fbd3
{"SyncRecord": "DIGEST"} 5385ef00958ef0cd2a255a14406a64c806a5fe27f8f482b2c108c1aacdd5eb18
{"Claim": ["DIGEST", ["DIGEST"]]} 8af9e6875662022d338f9812c6b7b5b8e9edfec0eb5b5ba4d00189e456b21696
{"AwaitClaim": ["DIGEST", ["DIGEST"]]} cb2cb8f4aa2d29454bf766147e72a4f45d739b2fc59c9ed11a9ec856e8956db9
{"ClaimHolder": "DIGEST"} 8880a72a13549ab607da563bb850b8c72466bd91d102d47affadfc54be2ca17f
{"Release": 7} c1299ca973d27d0ab6948068e40238eb4311db7442c6522ff76e80435ce471f4
{"Hit": ["DIGEST", 1, 65536]} 40e11e3cb8bb9f1b1c115313fb8cb8110b53c093742154c788b62b4de01b4ada
{"RemoveValues": [["DIGEST"], {"secs": 1, "nanos": 0}]} d530467a08ec9a6ca34da5313641e9aeb35b7fdfdb5ecbb201c894ff78df8e67
{"ReadValue": "DIGEST"} f6e02c257d9b8f9f77d534de96eec771aecfcdd0aeec5095afaf332a8eaab8d9
{"ReportDamage": ["DIGEST", "DIGEST", "why"]} ceba6baee3223169080d7191c5564166aa9a29a3c5aa7414367f6e1475efc2e4"#;
}
