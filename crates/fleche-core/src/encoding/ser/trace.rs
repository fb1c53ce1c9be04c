//! Notes the order in which the entries of maps reach the serializer, for the check of stability.

use std::collections::HashMap;

/// The order in which a map's entries were written, compared by their encoded keys.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(in crate::encoding) enum Feeding {
    /// Fewer than two entries.
    #[default]
    Few,
    Ascending,
    Descending,
    Mixed,
}

/// How each map or struct of at least two entries was fed, by the hash of its final encoding.
///
/// Maps with the same content are one here: a map that was fed in different orders counts as mixed.
#[derive(Debug, Default)]
pub(in crate::encoding) struct Trace {
    maps: HashMap<blake3::Hash, Feeding>,
}

impl Trace {
    pub(super) fn note(&mut self, encoded: &[u8], feeding: Feeding) {
        self.maps
            .entry(blake3::hash(encoded))
            .and_modify(|known| {
                if *known != feeding {
                    *known = Feeding::Mixed;
                }
            })
            .or_insert(feeding);
    }

    /// The maps that were fed in this order wherever they occur.
    pub(in crate::encoding) fn fed(&self, feeding: Feeding) -> impl Iterator<Item = blake3::Hash> {
        self.maps.iter().filter(move |(_, fed)| **fed == feeding).map(|(map, _)| *map)
    }

    /// How a map was fed; `None` where there is no such map.
    pub(in crate::encoding) fn feeding(&self, map: &blake3::Hash) -> Option<Feeding> {
        self.maps.get(map).copied()
    }
}
