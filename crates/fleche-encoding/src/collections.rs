//! `unordered` and `ordered`: attributes for collections whose own serialization has no stable encoding.

pub mod unordered {
    //! `#[serde(with = "fleche_encoding::unordered")]`: a set whose elements have no fixed order, such as a `HashSet`.
    //! Programs that depend on `fleche-core` alone write `fleche_core::unordered`.
    //!
    //! The elements are serialized as a sequence that is sorted by their encodings, so that equal sets encode alike. Other
    //! formats get the same order. Deserialization is that of the collection itself.
    //!
    //! ```
    //! use std::collections::HashSet;
    //!
    //! #[derive(serde::Serialize, serde::Deserialize)]
    //! struct Selection {
    //!     #[serde(with = "fleche_encoding::unordered")]
    //!     ids: HashSet<u32>,
    //! }
    //! let encoded = fleche_encoding::to_vec(&Selection { ids: HashSet::from([7, 3, 5]) })?;
    //! assert_eq!(encoded, fleche_encoding::to_vec(&Selection { ids: HashSet::from([5, 7, 3]) })?);
    //! # Ok::<(), fleche_encoding::EncodeError>(())
    //! ```

    use serde::{Deserialize, Deserializer, Serialize, Serializer, ser::Error};

    use crate::serializer::to_vec;

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
}

pub mod ordered {
    //! `#[serde(with = "fleche_encoding::ordered")]`: a map whose entries have a meaningful order, such as an
    //! `IndexMap`. Programs that depend on `fleche-core` alone write `fleche_core::ordered`.
    //!
    //! The encoding of a map sorts its entries, and their order is lost. This module encodes them as a sequence of
    //! `[key, value]` pairs instead, in the order of the map.
    //!
    //! ```
    //! use indexmap::IndexMap;
    //!
    //! #[derive(serde::Serialize, serde::Deserialize)]
    //! struct Pipeline {
    //!     #[serde(with = "fleche_encoding::ordered")]
    //!     steps: IndexMap<String, f64>,
    //! }
    //! let steps = IndexMap::from([("smooth".to_owned(), 0.5), ("fit".to_owned(), 1.0)]);
    //! let encoded = fleche_encoding::to_vec(&Pipeline { steps })?;
    //! let pipeline: Pipeline = fleche_encoding::from_slice(&encoded)?;
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
            return Err(D::Error::custom(format_args!(
                "{} of {count} entries have a key that occurs twice",
                count - kept
            )));
        }
        Ok(map)
    }
}
