//! The work of the process that is killed.

use std::{sync::Arc, thread};

use fleche_core::{
    DigestPrefix, Error, Result as StoreResult,
    claim::{Claim, ClaimGuard},
    store::BackendInfo,
};

use super::{
    Acknowledge, Frame,
    script::{Entry, Kind, Script, States, Step, THREADS},
};
use crate::fixture::Stores;

/// The verdict that an operation returned the right result.
pub(super) const DONE: u8 = 0;
/// The verdict that an operation failed or returned a wrong result. It is the thread's last operation.
pub(super) const WRONG: u8 = 1;

/// Opens the backend's scratch stores in this directory, and works on them from several threads.
///
/// Returns when an acknowledgement can no longer be written.
///
/// # Errors
/// Fails if the stores do not open, or if an operation fails or returns a wrong result; the operation is then acknowledged
/// as failed.
pub fn work(
    backend: &BackendInfo,
    directory: &std::path::Path,
    seed: u64,
    acknowledge: Acknowledge<'_>,
) -> Result<(), String> {
    let stores = Stores::open(backend, directory)?;
    thread::scope(|scope| {
        let stores = &stores;
        let threads: Vec<_> =
            (0..THREADS).map(|nth| scope.spawn(move || work_alone(stores, seed, nth, acknowledge))).collect();
        let ended =
            threads.into_iter().map(|thread| thread.join().unwrap_or_else(|_| Err("a thread panicked".to_owned())));
        ended.collect::<Vec<_>>().into_iter().collect()
    })
}

/// Opens the stores that a killed process left, and reads all their entries, until an acknowledgement cannot be written.
///
/// Each pass over the entries begins with an acknowledgement. A process that does this can be killed in turn, to test that
/// recovery is repeatable.
///
/// # Errors
/// Fails if the stores do not open, or if an entry cannot be read for a reason other than damage.
pub fn recover(backend: &BackendInfo, directory: &std::path::Path, acknowledge: Acknowledge<'_>) -> Result<(), String> {
    let stores = Stores::open(backend, directory)?;
    while acknowledge(&[0; 8]).is_ok() {
        for id in stores.values.ids(&DigestPrefix::all()).map_err(text)? {
            tolerate_damage(id.and_then(|id| stores.values.get(&id)))?;
        }
        for key in stores.calls.keys(&DigestPrefix::all()).map_err(text)? {
            tolerate_damage(key.and_then(|key| stores.calls.get(&key)))?;
        }
    }
    Ok(())
}

fn tolerate_damage<T>(read: StoreResult<T>) -> Result<(), String> {
    match read {
        Ok(_) | Err(Error::Damaged { .. }) => Ok(()),
        Err(error) => Err(text(error)),
    }
}

#[allow(clippy::needless_pass_by_value)] // `map_err` passes errors by value.
fn text(error: Error) -> String {
    error.report().to_string()
}

impl Stores {
    /// Returns the state of the entry, or `None` if it is absent.
    pub(super) fn read(&self, entry: Entry) -> Result<Option<u32>, Unread> {
        match entry.kind {
            Kind::Value => match self.values.get(&entry.id())? {
                Some(bytes) if *bytes != *entry.value() => Err(Unread::Wrong),
                found => Ok(found.map(|_| 0)),
            },
            Kind::Record => {
                let Some(record) = self.calls.get(&entry.key())? else { return Ok(None) };
                let writing = Entry::writing(&record).filter(|writing| entry.record(*writing) == record);
                writing.map(Some).ok_or(Unread::Wrong)
            }
        }
    }

    pub(super) fn put(&self, entry: Entry, writing: u32) -> StoreResult<()> {
        match entry.kind {
            Kind::Value => self.values.put(&entry.id(), &entry.value()),
            Kind::Record => self.calls.put(&entry.key(), &entry.record(writing)),
        }
    }

    fn sync(&self, entry: Entry) -> StoreResult<()> {
        match entry.kind {
            Kind::Value => self.values.sync(&entry.id()),
            Kind::Record => self.calls.sync(&entry.key()),
        }
    }

    fn remove(&self, entry: Entry) -> StoreResult<bool> {
        match entry.kind {
            Kind::Value => self.values.remove(&entry.id(), None),
            Kind::Record => self.calls.remove(&entry.key(), None),
        }
    }
}

/// The error of an entry that cannot be read.
#[derive(Debug, thiserror::Error)]
pub(super) enum Unread {
    /// The content was never put under this name.
    #[error("its content is wrong")]
    Wrong,
    #[error(transparent)]
    Failed(#[from] Error),
}

/// Returns the state of a present entry: the number of the `put` of a record, or 0 for a value, since values never change.
pub(super) fn state(entry: Entry, writing: u32) -> u32 {
    if entry.kind == Kind::Value { 0 } else { writing }
}

fn work_alone(stores: &Stores, seed: u64, thread: u8, acknowledge: Acknowledge<'_>) -> Result<(), String> {
    let mut states = States::new();
    let mut held = None;
    for (number, step) in (0_u32..).zip(Script::new(seed, thread)) {
        let outcome = perform(stores, step, &mut states, &mut held);
        let verdict = if outcome.is_ok() { DONE } else { WRONG };
        if acknowledge(&frame(thread, verdict, number)).is_err() {
            return Ok(());
        }
        outcome.map_err(|why| format!("operation {number} of thread {thread}, {step:?}: {why}"))?;
    }
    Ok(())
}

fn perform(
    stores: &Stores,
    step: Step,
    states: &mut States,
    held: &mut Option<Arc<dyn ClaimGuard>>,
) -> Result<(), String> {
    match step {
        Step::Put(entry, writing) => {
            stores.put(entry, writing).map_err(text)?;
            states.insert(entry, Some(state(entry, writing)));
        }
        Step::Sync(entry) => stores.sync(entry).map_err(text)?,
        Step::Remove(entry) => {
            let was_there = states.insert(entry, None).flatten().is_some();
            if stores.remove(entry).map_err(text)? != was_there {
                return Err(format!("`remove` must return whether the entry was present, which is {was_there}"));
            }
        }
        Step::Read(entry) => {
            let (found, expected) = (stores.read(entry), states.get(&entry).copied().flatten());
            let found = found.map_err(|why| why.to_string())?;
            if found != expected {
                return Err(format!("found {found:?}, expected {expected:?}"));
            }
        }
        Step::Claim(key) => {
            *held = None;
            *held = match stores.calls.claim(&key).map_err(text)? {
                Claim::Held(held) => Some(held),
                Claim::WithinProcess | Claim::Taken(_) => None,
            };
        }
    }
    Ok(())
}

fn frame(thread: u8, verdict: u8, number: u32) -> Frame {
    let [a, b, c, d] = number.to_le_bytes();
    [thread, verdict, 0, 0, a, b, c, d]
}
