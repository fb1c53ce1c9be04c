//! Checks that a value has a stable encoding: one that stays the same when the value is decoded and encoded again.
//!
//! Equal values must encode alike; otherwise a call is looked up under one key today and under another tomorrow. Two
//! kinds of correct types violate this: those whose elements have an arbitrary order (`HashSet`), and those whose entries
//! have an order that the sorting of map keys loses (`IndexMap`). Both show when a value is decoded and encoded again,
//! with the entries of its maps fed once in ascending and once in descending order.

use std::{cell::Cell, collections::HashSet};

use serde::{Serialize, de::DeserializeOwned};

use super::{
    DecodeError, Deserializer, EncodeError,
    de::Rehearsal,
    ser::{self, Feeding, Trace},
};
use crate::panics::Contained;

/// How many rounds to try before an order counts as more than chance: a hash map of two entries follows the order in
/// which it is fed with probability 1/4 in each round.
const ROUNDS: usize = 16;

/// From this round on, suspects get larger tables, because a small table with a fixed hasher may keep colliding keys in
/// insertion order every time.
const PLAIN_ROUNDS: usize = 6;

/// The limits on suspects with larger tables at a time, and on the number of tables, because these take up memory.
const INFLATED_MAPS: usize = 32;
const INFLATED_TABLES: usize = 256;

/// The reason why the encoding of a value is not stable.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Unstable {
    /// The value cannot be decoded.
    #[error("the value cannot be decoded from its own encoding: {0}")]
    Decode(#[source] DecodeError),
    /// The decoded value cannot be encoded.
    #[error("the value cannot be encoded again once it has been decoded: {0}")]
    Encode(#[source] EncodeError),
    /// The decoded value encodes to different bytes.
    #[error(
        "the value encodes differently each time, as a HashSet does: use a BTreeSet, mark the set with \
         #[serde(with = \"fleche_core::unordered\")], or make the decoded value encode to the same bytes"
    )]
    BytesDiffer,
    /// A map keeps the order of its insertions, and the encoding loses that order.
    #[error(
        "the value holds a map whose entries have an order, as an IndexMap's do, and that order would be lost: mark the \
         map with #[serde(with = \"fleche_core::ordered\")], or use a BTreeMap or a HashMap"
    )]
    OrderFollows,
}

/// Decodes `encoded` as a `T` and encodes it again. Returns the decoded value if no sign of an unstable encoding is
/// found.
///
/// The check cannot detect a `Serialize` that writes two different values alike, or sets whose order is always the same
/// because their hasher is fixed. A type that can only be decoded with its entries in ascending order passes if that
/// leaves it unchanged.
pub fn check<T: Serialize + DeserializeOwned>(encoded: &[u8]) -> Result<T, Unstable> {
    let plain = |reverse| Rehearsal { reverse, ..Rehearsal::default() };
    let (value, mut suspects) = round::<T>(encoded, &plain(false), &plain(true))?;
    for _ in 1..PLAIN_ROUNDS {
        if suspects.is_empty() {
            return Ok(value);
        }
        let (_, again) = round::<T>(encoded, &plain(false), &plain(true))?;
        suspects.retain(|map| again.contains(map));
    }
    while !suspects.is_empty() {
        let inflate: HashSet<_> = suspects.iter().copied().take(INFLATED_MAPS).collect();
        suspects.retain(|map| !inflate.contains(map));
        if follows::<T>(encoded, &inflate)? {
            return Err(Unstable::OrderFollows);
        }
    }
    Ok(value)
}

/// Returns whether one of these maps follows the order in which it is fed, however large its table is.
fn follows<T: Serialize + DeserializeOwned>(encoded: &[u8], inflate: &HashSet<blake3::Hash>) -> Result<bool, Unstable> {
    let mut suspects = inflate.clone();
    for step in 1..=ROUNDS - PLAIN_ROUNDS {
        let inflated = |reverse| Rehearsal {
            reverse,
            inflate: inflate.clone(),
            inflation: step << 10,
            inflatable: Cell::new(INFLATED_TABLES),
        };
        let (_, again) = round::<T>(encoded, &inflated(false), &inflated(true))?;
        suspects.retain(|map| again.contains(map));
        if suspects.is_empty() {
            return Ok(false);
        }
    }
    Ok(true)
}

/// Decodes and encodes in both orders. Returns the value and the maps that were written in the order in which they were
/// fed.
fn round<T: Serialize + DeserializeOwned>(
    encoded: &[u8],
    forward: &Rehearsal,
    reverse: &Rehearsal,
) -> Result<(T, HashSet<blake3::Hash>), Unstable> {
    let value = Contained::new(decode::<T>(encoded, forward).map_err(Unstable::Decode)?);
    let forward = encode(encoded, &*value)?;
    // Some types can be decoded in one order only, such as those that need their tag before anything else.
    let Ok(twin) = decode::<T>(encoded, reverse) else {
        return Ok((value.into_inner(), HashSet::new()));
    };
    let twin = Contained::new(twin);
    let reverse = encode(encoded, &*twin)?;
    let follows = |map: &blake3::Hash| reverse.feeding(map) == Some(Feeding::Descending);
    let suspects = forward.fed(Feeding::Ascending).filter(follows).collect();
    Ok((value.into_inner(), suspects))
}

fn decode<T: DeserializeOwned>(encoded: &[u8], rehearsal: &Rehearsal) -> Result<T, DecodeError> {
    let mut deserializer = Deserializer::rehearsing(encoded, rehearsal);
    let value = T::deserialize(&mut deserializer).map_err(|error| error.or_at(deserializer.position()))?;
    deserializer.finish()?;
    Ok(value)
}

/// Encodes the value, which must result in the bytes that it was decoded from.
fn encode<T: Serialize>(encoded: &[u8], value: &T) -> Result<Trace, Unstable> {
    let mut trace = Trace::default();
    let mut again = Vec::with_capacity(encoded.len());
    ser::encode(&mut again, Some(&mut trace), value).map_err(Unstable::Encode)?;
    if again == encoded { Ok(trace) } else { Err(Unstable::BytesDiffer) }
}
