//! `#[serde(with = "fleche_core::unordered")]`: a set whose elements have no fixed order, such as a `HashSet`.
//!
//! The elements are serialized as a sequence that is sorted by their encodings, so that equal sets encode alike. Other
//! formats get the same order. Deserialization is that of the collection itself.
//!
//! ```
//! use std::collections::HashSet;
//!
//! #[derive(serde::Serialize, serde::Deserialize)]
//! struct Selection {
//!     #[serde(with = "fleche_core::encoding::unordered")]
//!     ids: HashSet<u32>,
//! }
//! let encoded = fleche_core::encoding::to_vec(&Selection { ids: HashSet::from([7, 3, 5]) })?;
//! assert_eq!(encoded, fleche_core::encoding::to_vec(&Selection { ids: HashSet::from([5, 7, 3]) })?);
//! # Ok::<(), fleche_core::encoding::EncodeError>(())
//! ```

use serde::{Deserialize, Deserializer, Serialize, Serializer, ser::Error};

use super::to_vec;

/// Serializes the elements in the order of their encodings. Fails if an element cannot be encoded.
pub fn serialize<'a, C, S>(collection: &'a C, serializer: S) -> Result<S::Ok, S::Error>
where
    C: ?Sized,
    &'a C: IntoIterator<Item: Serialize>,
    S: Serializer,
{
    let elements = collection.into_iter().map(|element| to_vec(&element).map(|encoded| (encoded, element)));
    let mut elements = elements.collect::<Result<Vec<_>, _>>().map_err(S::Error::custom)?;
    elements.sort_by(|(a, _), (b, _)| a.cmp(b));
    serializer.collect_seq(elements.iter().map(|(_, element)| element))
}

/// Deserializes the collection with its own `Deserialize`.
pub fn deserialize<'de, C, D>(deserializer: D) -> Result<C, D::Error>
where
    C: Deserialize<'de>,
    D: Deserializer<'de>,
{
    C::deserialize(deserializer)
}
