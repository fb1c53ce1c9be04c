//! Maps in other orders than that of the encoding, for the stability check: how the deserializer feeds them, and in which
//! order the serializer gets their entries back.

use std::{
    cell::Cell,
    cmp::Ordering,
    collections::{HashMap, HashSet},
};

use crate::{
    error::DecodeError,
    header,
    reader::{Keys, Reader},
};

/// The order and the size hints with which maps are fed to their visitors.
#[derive(Debug, Default)]
pub(crate) struct FeedingPlan {
    /// Whether entries are fed in descending order of their encoded keys.
    pub(crate) reverse: bool,
    /// The hashes of the encodings of the maps whose size hint is too large.
    pub(crate) inflate: HashSet<blake3::Hash>,
    /// The number of entries by which the size hint is too large.
    pub(crate) inflation: usize,
    /// The number of further maps that may be inflated; limited because each takes up memory.
    pub(crate) inflatable: Cell<usize>,
}

impl FeedingPlan {
    /// Scans a map of `count` entries whose header has just been read.
    ///
    /// Returns the offsets of the entries (empty if they are fed in the order of the encoding), the number to add to
    /// the size hint, and the end of the map (`None` if the reader is at the end once it has read the entries).
    pub(crate) fn prepare(
        &self,
        reader: &Reader<'_>,
        count: usize,
        depth: usize,
    ) -> Result<(Vec<usize>, usize, Option<usize>), DecodeError> {
        let mut ahead = reader.clone();
        let mut keys = Keys::default();
        let mut starts = Vec::with_capacity(if self.reverse { count } else { 0 });
        for _ in 0..count {
            let key = ahead.position;
            if self.reverse {
                starts.push(key);
            }
            ahead.skip_next(depth)?;
            keys.next(&ahead, key)?;
            ahead.skip_next(depth)?;
        }
        let inflation = if self.inflates(reader, count, ahead.position) { self.inflation } else { 0 };
        Ok((starts, inflation, self.reverse.then_some(ahead.position)))
    }

    fn inflates(&self, reader: &Reader<'_>, count: usize, end: usize) -> bool {
        let left = self.inflatable.get();
        if self.inflate.is_empty() || left == 0 {
            return false;
        }
        let mut hasher = blake3::Hasher::new();
        let mut map_header = Vec::with_capacity(9);
        header::write(&mut map_header, header::MAP, count as u64);
        hasher.update(&map_header).update(reader.input.get(reader.position..end).unwrap_or_default());
        let inflates = self.inflate.contains(&hasher.finalize());
        self.inflatable.set(left - usize::from(inflates));
        inflates
    }
}

/// The order in which a map's entries were written, compared by their encoded keys.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum EntryOrder {
    /// Fewer than two entries.
    #[default]
    Few,
    Ascending,
    Descending,
    Mixed,
}

impl EntryOrder {
    /// Adds the comparison of an entry's key with the key before it.
    pub(crate) fn add(&mut self, last: Ordering) {
        *self = match (*self, last) {
            (Self::Few | Self::Ascending, Ordering::Less) => Self::Ascending,
            (Self::Few | Self::Descending, Ordering::Greater) => Self::Descending,
            _ => Self::Mixed,
        };
    }

    /// Returns whether the entries were written in canonical order.
    pub(crate) fn is_ascending(self) -> bool {
        matches!(self, Self::Few | Self::Ascending)
    }
}

/// The entry order of each map or struct with at least two entries, by the hash of its final encoding.
///
/// Maps with the same content share an entry: if their entries came in different orders, they count as mixed.
#[derive(Debug, Default)]
pub(crate) struct EntryOrders {
    maps: HashMap<blake3::Hash, EntryOrder>,
}

impl EntryOrders {
    pub(crate) fn record(&mut self, encoded: &[u8], order: EntryOrder) {
        self.maps
            .entry(blake3::hash(encoded))
            .and_modify(|known| {
                if *known != order {
                    *known = EntryOrder::Mixed;
                }
            })
            .or_insert(order);
    }

    /// Returns the maps whose entries always came in this order.
    pub(crate) fn maps_in(&self, order: EntryOrder) -> impl Iterator<Item = blake3::Hash> {
        self.maps.iter().filter(move |(_, found)| **found == order).map(|(map, _)| *map)
    }

    /// Returns the order of a map's entries, or `None` if there is no such map.
    pub(crate) fn order_of(&self, map: &blake3::Hash) -> Option<EntryOrder> {
        self.maps.get(map).copied()
    }
}
