//! Computes, from the acknowledgements, which states of each entry may remain after the process was killed.

use std::collections::BTreeMap;

use super::{
    FRAME, Findings,
    script::{Entry, Script, Step, THREADS},
    work::{DONE, state},
};

/// The states in which an entry may remain.
#[derive(Clone, Debug)]
pub(super) struct Expected {
    /// The acknowledged states from the last synced one on, in chronological order.
    history: Vec<Option<u32>>,
    /// Whether the first of these states was synced.
    synced: bool,
    /// The state after the operation that was begun but not acknowledged, if it changes this entry.
    pending: Vec<Option<u32>>,
}

impl Default for Expected {
    fn default() -> Self {
        Self { history: vec![None], synced: false, pending: vec![] }
    }
}

/// The difference between the state that is found and the newest acknowledged one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Loss {
    None,
    /// The state is neither the last synced one nor a later one.
    Durable,
    /// The state is an earlier one, but not earlier than the last synced one.
    Plain,
    /// The entry is present although its removal was acknowledged.
    Undone,
}

impl Expected {
    fn newest(&self) -> Option<u32> {
        self.history.last().copied().flatten()
    }

    pub(super) fn loss(&self, found: Option<u32>) -> Loss {
        if found == self.newest() || self.pending.contains(&found) {
            Loss::None
        } else if !self.history.contains(&found) {
            Loss::Durable
        } else if self.newest().is_none() {
            Loss::Undone
        } else {
            Loss::Plain
        }
    }

    /// Returns whether any state of the entry was synced.
    pub(super) fn is_synced(&self) -> bool {
        self.synced
    }
}

/// Returns the states in which every entry may remain, and findings with the acknowledged and the failed operations.
pub(super) fn expected(seed: u64, acknowledged: &[u8]) -> (BTreeMap<Entry, Expected>, Findings) {
    let mut findings = Findings::default();
    let mut numbers = [0_u32; THREADS as usize];
    let (frames, _) = acknowledged.as_chunks::<FRAME>();
    for &[thread, verdict, _, _, a, b, c, d] in frames {
        let number = u32::from_le_bytes([a, b, c, d]);
        let Some(next) = numbers.get_mut(usize::from(thread)) else { continue };
        if *next != number {
            findings.wrong.push(format!("thread {thread} acknowledges operation {number} after {next} operations"));
        }
        if verdict == DONE {
            *next = number + 1;
        } else {
            findings.wrong.push(format!("operation {number} of thread {thread} failed"));
        }
    }
    let mut all: BTreeMap<_, _> = Entry::all().map(|entry| (entry, Expected::default())).collect();
    for (thread, acknowledged) in (0..THREADS).zip(numbers) {
        findings.operations += u64::from(acknowledged);
        let mut script = Script::new(seed, thread);
        for step in script.by_ref().take(acknowledged as usize) {
            match step {
                Step::Put(entry, writing) => expected_of(&mut all, entry).history.push(Some(state(entry, writing))),
                Step::Remove(entry) => expected_of(&mut all, entry).history.push(None),
                Step::Sync(entry) => {
                    let expected = expected_of(&mut all, entry);
                    (expected.history, expected.synced) = (vec![expected.newest()], true);
                    findings.durable += 1;
                }
                Step::Read(_) | Step::Claim(_) => {}
            }
        }
        match script.next() {
            Some(Step::Put(entry, writing)) => expected_of(&mut all, entry).pending = vec![Some(state(entry, writing))],
            Some(Step::Remove(entry)) => expected_of(&mut all, entry).pending = vec![None],
            _ => {}
        }
    }
    (all, findings)
}

fn expected_of(all: &mut BTreeMap<Entry, Expected>, entry: Entry) -> &mut Expected {
    all.entry(entry).or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn history(states: &[Option<u32>]) -> Expected {
        Expected { history: states.to_vec(), synced: true, pending: vec![Some(9)] }
    }

    #[test]
    fn newest_and_pending_states_are_no_loss() {
        let expected = history(&[None, Some(1), Some(2)]);
        assert_eq!([expected.loss(Some(2)), expected.loss(Some(9))], [Loss::None; 2]);
    }

    #[test]
    fn state_before_the_last_sync_is_a_durable_loss() {
        let expected = history(&[Some(1), Some(2)]);
        assert_eq!(expected.loss(Some(1)), Loss::Plain);
        assert_eq!([expected.loss(None), expected.loss(Some(0))], [Loss::Durable; 2]);
    }

    #[test]
    fn removed_entry_that_is_present_is_an_undone_removal() {
        assert_eq!(history(&[Some(1), None]).loss(Some(1)), Loss::Undone);
        assert_eq!(history(&[Some(1), None]).loss(Some(3)), Loss::Durable);
    }

    #[test]
    fn failed_operation_is_reported() {
        let (_, findings) = expected(1, &[0, 1, 0, 0, 0, 0, 0, 0]);
        assert_eq!(findings.wrong, ["operation 0 of thread 0 failed"]);
        assert_eq!(findings.operations, 0);
    }
}
