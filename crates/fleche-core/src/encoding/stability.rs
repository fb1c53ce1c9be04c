//! Whether a value has a stable encoding: one that its decoded twin has as well.
//!
//! Equal values must encode alike, or a call is looked up under one key today and under another tomorrow. Two kinds of
//! types break that without anybody's fault: those whose elements come in an order of their own making (`HashSet`), and
//! those whose entries have an order that the sorting of map keys loses (`IndexMap`). Both show when a value is decoded
//! and encoded again, with the entries of its maps fed once in ascending and once in descending order.

use std::{cell::Cell, collections::HashSet};

use serde::{Serialize, de::DeserializeOwned};

use super::{
    DecodeError, Deserializer, EncodeError,
    de::Rehearsal,
    ser::{self, Feeding, Trace},
};
use crate::panics::Contained;

/// How often an order is allowed to look like chance: a hash map of two entries follows the order that it is fed in with
/// probability 1/4 in each round.
const ROUNDS: usize = 16;

/// From this round on suspects get larger tables, because a small table with a fixed hasher can keep colliding keys in
/// the order of their insertion each time.
const PLAIN_ROUNDS: usize = 6;

/// How many suspects get larger tables at a time, and how many tables that may be: they take up memory.
const INFLATED_MAPS: usize = 32;
const INFLATED_TABLES: usize = 256;

/// Why the encoding of a value is not stable.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Unstable {
    /// The value does not decode.
    #[error("the value can't be decoded from its own encoding: {0}")]
    Decode(#[source] DecodeError),
    /// The decoded value does not encode.
    #[error("the value can't be encoded again once it has been decoded: {0}")]
    Encode(#[source] EncodeError),
    /// The decoded value encodes in another way.
    #[error(
        "the value encodes differently each time, as a HashSet does: use a BTreeSet, mark the set with \
         #[serde(with = \"fleche_core::unordered\")], or see to it that what is decoded encodes as before"
    )]
    BytesDiffer,
    /// A map keeps the order that it is filled in, and the encoding loses that order.
    #[error(
        "the value holds a map whose entries have an order, as an IndexMap's do, and that order would be lost: mark the \
         map with #[serde(with = \"fleche_core::ordered\")], or use a BTreeMap or a HashMap"
    )]
    OrderFollows,
}

/// Decodes `encoded` as a `T`, encodes it again, and returns the decoded value if nothing says that its encoding is not
/// stable.
///
/// What it can't see: a `Serialize` that writes two different values alike, and sets whose order is the same each time
/// because their hasher is fixed. A type that can only be decoded with its entries in ascending order passes if it
/// does so unchanged.
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

/// Whether one of these maps follows the order that it is fed in however large its table is.
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

/// Decodes and encodes in both orders; returns the value and the maps that were written in the order they were fed in.
fn round<T: Serialize + DeserializeOwned>(
    encoded: &[u8],
    forward: &Rehearsal,
    reverse: &Rehearsal,
) -> Result<(T, HashSet<blake3::Hash>), Unstable> {
    let value = Contained::new(decode::<T>(encoded, forward).map_err(Unstable::Decode)?);
    let forward = encode(encoded, &*value)?;
    // Some types read only one order, such as those that need to see their tag before anything else.
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

/// Encodes the value, which must give the bytes that it was decoded from.
fn encode<T: Serialize>(encoded: &[u8], value: &T) -> Result<Trace, Unstable> {
    let mut trace = Trace::default();
    let mut again = Vec::with_capacity(encoded.len());
    ser::encode(&mut again, Some(&mut trace), value).map_err(Unstable::Encode)?;
    if again == encoded { Ok(trace) } else { Err(Unstable::BytesDiffer) }
}
