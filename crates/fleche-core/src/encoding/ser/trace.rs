//! Records the order in which the entries of maps reach the serializer, for the stability check.

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

/// The feeding order of each map or struct with at least two entries, by the hash of its final encoding.
///
/// Maps with the same content share an entry: if they were fed in different orders, they count as mixed.
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

    /// Returns the maps that were always fed in this order.
    pub(in crate::encoding) fn fed(&self, feeding: Feeding) -> impl Iterator<Item = blake3::Hash> {
        self.maps.iter().filter(move |(_, fed)| **fed == feeding).map(|(map, _)| *map)
    }

    /// Returns how a map was fed, or `None` if there is no such map.
    pub(in crate::encoding) fn feeding(&self, map: &blake3::Hash) -> Option<Feeding> {
        self.maps.get(map).copied()
    }
}
