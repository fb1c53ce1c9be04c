//! `#[serde(with = "fleche_core::ordered")]`: a map whose entries have a meaningful order, such as an `IndexMap`.
//!
//! The encoding of a map sorts its entries, and their order is lost. This module encodes them as a sequence of
//! `[key, value]` pairs instead, in the order of the map.
//!
//! ```
//! use indexmap::IndexMap;
//!
//! #[derive(serde::Serialize, serde::Deserialize)]
//! struct Pipeline {
//!     #[serde(with = "fleche_core::encoding::ordered")]
//!     steps: IndexMap<String, f64>,
//! }
//! let steps = IndexMap::from([("smooth".to_owned(), 0.5), ("fit".to_owned(), 1.0)]);
//! let encoded = fleche_core::encoding::to_vec(&Pipeline { steps })?;
//! let pipeline: Pipeline = fleche_core::encoding::from_slice(&encoded)?;
//! assert_eq!(pipeline.steps.keys().collect::<Vec<_>>(), ["smooth", "fit"]);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error};

/// Serializes the entries as a sequence of pairs.
pub fn serialize<'a, C, S>(map: &'a C, serializer: S) -> Result<S::Ok, S::Error>
where
    C: ?Sized,
    &'a C: IntoIterator<Item: Serialize>,
    S: Serializer,
{
    serializer.collect_seq(map)
}

/// Deserializes the entries from a sequence of pairs. Fails if the collection drops one of them, as a map does with a
/// duplicate key.
pub fn deserialize<'de, C, K, V, D>(deserializer: D) -> Result<C, D::Error>
where
    C: FromIterator<(K, V)> + IntoIterator<Item = (K, V)>,
    for<'a> &'a C: IntoIterator,
    K: Deserialize<'de>,
    V: Deserialize<'de>,
    D: Deserializer<'de>,
{
    let pairs = Vec::<(K, V)>::deserialize(deserializer)?;
    let count = pairs.len();
    let map = C::from_iter(pairs);
    let kept = (&map).into_iter().count();
    if kept < count {
        return Err(D::Error::custom(format_args!("{} of {count} entries have a key that occurs twice", count - kept)));
    }
    Ok(map)
}
