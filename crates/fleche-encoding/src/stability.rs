//! Checks that a value has a stable encoding: one that stays the same when the value is decoded and encoded again.
//!
//! Equal values must encode alike; otherwise a call is looked up under one key today and under another tomorrow. Two
//! kinds of correct types violate this: those whose elements have an arbitrary order (`HashSet`), and those whose entries
//! have an order that the sorting of map keys loses (`IndexMap`). Both show when a value is decoded and encoded again,
//! with the entries of its maps fed once in ascending and once in descending order.

use std::{cell::Cell, collections::HashSet, ops::Deref};

use serde::{Serialize, de::DeserializeOwned};

use crate::{
    deserializer::Deserializer,
    error::{DecodeError, EncodeError},
    permuted_maps::{EntryOrder, EntryOrders, FeedingPlan},
    serializer,
};

/// Decodes `encoded` as a `T` and encodes it again. Returns the decoded value if no sign of an unstable encoding is
/// found.
///
/// The check cannot detect a `Serialize` that writes two different values alike, or sets whose order is always the same
/// because their hasher is fixed. A type that can only be decoded with its entries in ascending order passes if that
/// leaves it unchanged.
///
/// A panic of the type's `Serialize`, `Deserialize` or `Drop` is not caught.
pub fn check<T: Serialize + DeserializeOwned>(encoded: &[u8]) -> Result<T, Unstable> {
    check_with(encoded, Box::new).map(|value| *value)
}

/// Like [`check`], for a caller that owns decoded values only in a container of its own, for example one that catches a
/// panic of their `Drop`. `hold` puts each value into its container.
#[doc(hidden)]
pub fn check_with<T, H>(encoded: &[u8], hold: impl Fn(T) -> H) -> Result<H, Unstable>
where
    T: Serialize + DeserializeOwned,
    H: Deref<Target = T>,
{
    let plain = |reverse| FeedingPlan { reverse, ..FeedingPlan::default() };
    let (value, mut suspects) = round(encoded, &plain(false), &plain(true), &hold)?;
    for _ in 1..PLAIN_ROUNDS {
        if suspects.is_empty() {
            return Ok(value);
        }
        let (_, again) = round(encoded, &plain(false), &plain(true), &hold)?;
        suspects.retain(|map| again.contains(map));
    }
    while !suspects.is_empty() {
        let inflate: HashSet<_> = suspects.iter().copied().take(INFLATED_MAPS).collect();
        suspects.retain(|map| !inflate.contains(map));
        if follows(encoded, &inflate, &hold)? {
            return Err(Unstable::OrderFollows);
        }
    }
    Ok(value)
}

/// The reason why the encoding of a value is not stable.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Unstable {
    /// The value cannot be decoded.
    #[error("the value cannot be decoded from its own encoding")]
    Decode(#[source] DecodeError),
    /// The decoded value cannot be encoded.
    #[error("the value cannot be encoded again once it has been decoded")]
    Encode(#[source] EncodeError),
    /// The decoded value encodes to different bytes.
    #[error(
        "the value encodes differently each time, as a HashSet does: use a BTreeSet, mark the set with \
         #[serde(with = \"fleche_core::unordered\")] (also found in fleche_encoding), or make the decoded value encode to \
         the same bytes"
    )]
    BytesDiffer,
    /// A map keeps the order of its insertions, and the encoding loses that order.
    #[error(
        "the value holds a map whose entries have an order, as an IndexMap's do, and that order would be lost: mark the \
         map with #[serde(with = \"fleche_core::ordered\")] (also found in fleche_encoding), or use a BTreeMap or a HashMap"
    )]
    OrderFollows,
}

/// The number of rounds after which an order counts as more than chance: a hash map of two entries follows the order in
/// which it is fed with probability 1/4 in each round.
const ROUNDS: usize = 16;

/// The number of rounds after which suspects get larger tables, because a small table with a fixed hasher may keep
/// colliding keys in insertion order every time.
const PLAIN_ROUNDS: usize = 6;

/// The limits on suspects with larger tables at a time, and on the number of tables, because these take up memory.
const INFLATED_MAPS: usize = 32;
const INFLATED_TABLES: usize = 256;

/// Returns whether one of these maps follows the order in which it is fed, however large its table is.
fn follows<T, H>(encoded: &[u8], inflate: &HashSet<blake3::Hash>, hold: &impl Fn(T) -> H) -> Result<bool, Unstable>
where
    T: Serialize + DeserializeOwned,
    H: Deref<Target = T>,
{
    let mut suspects = inflate.clone();
    for step in 1..=ROUNDS - PLAIN_ROUNDS {
        let inflated = |reverse| FeedingPlan {
            reverse,
            inflate: inflate.clone(),
            inflation: step << 10,
            inflatable: Cell::new(INFLATED_TABLES),
        };
        let (_, again) = round(encoded, &inflated(false), &inflated(true), hold)?;
        suspects.retain(|map| again.contains(map));
        if suspects.is_empty() {
            return Ok(false);
        }
    }
    Ok(true)
}

/// Decodes the value and encodes it again, with maps fed in both orders. Returns the value and the maps that were written in
/// the order in which they were fed.
fn round<T, H>(
    encoded: &[u8],
    forward: &FeedingPlan,
    reverse: &FeedingPlan,
    hold: &impl Fn(T) -> H,
) -> Result<(H, HashSet<blake3::Hash>), Unstable>
where
    T: Serialize + DeserializeOwned,
    H: Deref<Target = T>,
{
    let value = hold(decode(encoded, forward).map_err(Unstable::Decode)?);
    let forward = encode(encoded, &*value)?;
    // Some types can be decoded in one order only, such as those that need their tag before anything else.
    let Ok(twin) = decode(encoded, reverse) else {
        return Ok((value, HashSet::new()));
    };
    let twin = hold(twin);
    let reverse = encode(encoded, &*twin)?;
    let follows = |map: &blake3::Hash| reverse.order_of(map) == Some(EntryOrder::Descending);
    let suspects = forward.maps_in(EntryOrder::Ascending).filter(follows).collect();
    Ok((value, suspects))
}

fn decode<T: DeserializeOwned>(encoded: &[u8], plan: &FeedingPlan) -> Result<T, DecodeError> {
    let mut deserializer = Deserializer::with_plan(encoded, plan);
    let value = T::deserialize(&mut deserializer).map_err(|error| error.or_at(deserializer.position()))?;
    deserializer.finish()?;
    Ok(value)
}

/// Encodes the value, which must result in the bytes that it was decoded from.
fn encode<T: Serialize>(encoded: &[u8], value: &T) -> Result<EntryOrders, Unstable> {
    let mut orders = EntryOrders::default();
    let mut again = Vec::with_capacity(encoded.len());
    serializer::encode(&mut again, Some(&mut orders), value).map_err(Unstable::Encode)?;
    if again == encoded { Ok(orders) } else { Err(Unstable::BytesDiffer) }
}
