//! The results that arrived with their records, until they are read.

use std::collections::VecDeque;

use bytes::Bytes;
use fleche_core::Digest;

/// The maximum number of results, and of their bytes.
const MAX_RESULTS: usize = 64;
const MAX_BYTES: usize = 4 << 20;

/// Results that have arrived before they are read. The oldest are dropped first.
#[derive(Debug, Default)]
pub(crate) struct Results {
    results: VecDeque<(Digest, Bytes)>,
    bytes: usize,
}

impl Results {
    /// Keeps a result for the next read of it.
    pub(crate) fn keep(&mut self, id: Digest, bytes: Bytes) {
        self.take(&id);
        self.bytes += bytes.len();
        self.results.push_back((id, bytes));
        while self.results.len() > MAX_RESULTS || self.bytes > MAX_BYTES {
            let Some((_, oldest)) = self.results.pop_front() else { return };
            self.bytes -= oldest.len();
        }
    }

    /// Returns the result with this id, which is no longer kept then.
    pub(crate) fn take(&mut self, id: &Digest) -> Option<Bytes> {
        let at = self.results.iter().position(|(known, _)| known == id)?;
        let (_, bytes) = self.results.remove(at)?;
        self.bytes -= bytes.len();
        Some(bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn result_is_taken_once_and_the_oldest_are_dropped() {
        let mut results = Results::default();
        let ids: Vec<_> = (0..=MAX_RESULTS).map(|at| Digest::hash(&at.to_le_bytes())).collect();
        for id in &ids {
            results.keep(*id, Bytes::from_static(b"ab"));
        }
        assert_eq!(results.take(&ids[0]), None);
        assert_eq!(results.take(&ids[1]).as_deref(), Some(&b"ab"[..]));
        assert_eq!(results.take(&ids[1]), None);
        results.keep(ids[0], vec![0; MAX_BYTES + 1].into());
        assert_eq!((results.take(&ids[0]), results.bytes), (None, 0));
    }
}
