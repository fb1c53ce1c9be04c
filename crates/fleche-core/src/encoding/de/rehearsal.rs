//! Other ways to feed maps to their visitors, for the stability check.

use std::{cell::Cell, collections::HashSet};

use crate::encoding::{
    DecodeError, head,
    reader::{Keys, Reader},
};

/// How maps are fed to their visitors.
#[derive(Debug, Default)]
pub(in crate::encoding) struct Rehearsal {
    /// Whether entries are fed in descending order of their encoded keys.
    pub(in crate::encoding) reverse: bool,
    /// The maps, by the hash of their encoding, whose size hint is too large.
    pub(in crate::encoding) inflate: HashSet<blake3::Hash>,
    /// By how many entries the size hint is too large.
    pub(in crate::encoding) inflation: usize,
    /// How many more maps may be inflated; limited because each takes up memory.
    pub(in crate::encoding) inflatable: Cell<usize>,
}

impl Rehearsal {
    /// Scans a map of `count` entries whose head has just been read.
    ///
    /// Returns the offsets of its entries (empty if they are fed in the order of the encoding), by how much to inflate
    /// its size hint, and the end of the map (`None` if reading the entries leads there).
    pub(super) fn prepare(
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
        let mut map_head = Vec::with_capacity(9);
        head::write(&mut map_head, head::MAP, count as u64);
        hasher.update(&map_head).update(reader.input.get(reader.position..end).unwrap_or_default());
        let inflates = self.inflate.contains(&hasher.finalize());
        self.inflatable.set(left - usize::from(inflates));
        inflates
    }
}
