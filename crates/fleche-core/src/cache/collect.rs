//! Collecting values that no record refers to.

use std::{collections::HashSet, time::Duration};

use super::{Cache, THE_CACHE};
use crate::{
    call::{Record, Timestamp},
    digest::{Digest, DigestPrefix},
    error::{Error, Result, ensure_not_forked},
    query::Query,
    store::{CallStore, ValueStore},
};

/// How old an unreferenced value must be before it is removed, unless said otherwise.
const GRACE: Duration = Duration::from_hours(1);
/// So many values are removed together.
const BATCH: usize = 1024;

/// What [`Cache::gc`] does, and to what.
///
/// ```
/// # use std::time::Duration;
/// # use fleche_core::{Cache, cache::Gc};
/// # use fleche_store_memory::{MemoryCalls, MemoryValues};
/// # let cache = Cache::new(MemoryValues::new(), MemoryCalls::new());
/// let collected = cache.gc(&Gc::new().grace(Duration::from_hours(24)))?;
/// println!("{} values removed, {} kept", collected.removed, collected.kept);
/// # Ok::<(), fleche_core::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct Gc {
    grace: Duration,
    others: Vec<Cache>,
}

/// What [`Cache::gc`] has done.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Collected {
    /// The records that were read.
    pub records: u64,
    /// The values that a record refers to, or that are too young to be judged.
    pub kept: u64,
    /// The values that were removed.
    pub removed: u64,
    /// The records that were found damaged; what they referred to is not known.
    pub damaged: u64,
}

impl Gc {
    /// Removes what nothing refers to and nobody has put for an hour.
    pub fn new() -> Self {
        Self { grace: GRACE, others: Vec::new() }
    }

    /// Keeps values that were put within this time, whether or not something refers to them yet; those that seem to have
    /// been put in the future, if no further ahead than this, since clocks of hosts differ. It must be longer than
    /// it takes from a value's `put` to that of its record, on any host: the time that the largest value takes to be
    /// written, and ten minutes beside [`transfer`](Cache::transfer). An hour if it is not said.
    pub fn grace(mut self, grace: Duration) -> Self {
        self.grace = grace;
        self
    }

    /// Keeps what records of this cache refer to, too. **Every** cache that shares the store of values must be named, or
    /// what only its records refer to is removed, and its calls are computed anew.
    pub fn keep(mut self, other: &Cache) -> Self {
        self.others.push(other.clone());
        self
    }
}

impl Default for Gc {
    fn default() -> Self {
        Self::new()
    }
}

impl Cache {
    /// Removes values to which no record of this cache refers, nor of those that it is told to [keep](Gc::keep).
    ///
    /// Safe beside running calls, in this process and others: a call puts values before the record that refers to them,
    /// and to put a value again makes it young. What is unreferenced and old at the first look is looked for once more in
    /// what was recorded meanwhile, and its age is compared again as it is removed. Takes some 40 bytes of memory for each
    /// record, each reference, and each value to be removed. Values that a layer of the store only reads stay.
    ///
    /// # Errors
    /// Those of the stores; and [`Error::Refused`] where a record is of a later format, since its references cannot be
    /// read. Nothing was removed then.
    pub fn gc(&self, options: &Gc) -> Result<Collected> {
        ensure_not_forked(|| THE_CACHE)?;
        let mut collected = Collected::default();
        let begun = Timestamp::now();
        let caches = || options.others.iter().chain([self]);
        let mut referenced = HashSet::new();
        for cache in caches() {
            mark_all(&**cache.calls(), &mut referenced, &mut collected)?;
        }
        let values = &**self.values();
        let mut old = Vec::new();
        for id in values.ids(&DigestPrefix::all())? {
            let id = id?;
            if referenced.contains(&id) || values.age(&id)?.is_none_or(|age| age <= options.grace) {
                collected.kept += 1;
            } else {
                old.push(id);
            }
        }
        if !old.is_empty() {
            // Hosts' clocks differ; what was recorded a little before cannot hurt.
            let since = Timestamp(begun.0.saturating_sub(nanoseconds(options.grace)));
            let recent = Query::new().since(since);
            for cache in caches() {
                mark_recent(&**cache.calls(), &recent, &mut referenced)?;
            }
        }
        for batch in old.chunks(BATCH) {
            let doomed: Vec<_> = batch.iter().filter(|id| !referenced.contains(id)).copied().collect();
            let removed = remove(values, &doomed, options.grace)?;
            collected.removed += removed;
            collected.kept += batch.len() as u64 - removed;
        }
        Ok(collected)
    }
}

/// Removes what is old. Values that a layer only reads, of a colleague's say, stay.
fn remove(values: &dyn ValueStore, doomed: &[Digest], grace: Duration) -> Result<u64> {
    match values.remove_all(doomed, Some(grace)) {
        Err(Error::Refused { .. }) => {}
        removed => return removed,
    }
    let mut removed = 0;
    for id in doomed {
        match values.remove(id, Some(grace)) {
            Err(Error::Refused { .. }) => {}
            one => removed += u64::from(one?),
        }
    }
    Ok(removed)
}

fn mark_all(calls: &dyn CallStore, referenced: &mut HashSet<Digest>, collected: &mut Collected) -> Result<()> {
    let mut known = HashSet::new();
    // Not one by one, which a stack would answer by copying them to the front.
    for found in calls.find(&Query::new())? {
        match found {
            Ok((key, record)) => {
                known.insert(key);
                collected.records += 1;
                referenced.extend(references(&record));
            }
            Err(Error::Damaged { .. }) => collected.damaged += 1,
            Err(error) => return Err(error),
        }
    }
    for key in calls.keys(&DigestPrefix::all())? {
        let key = key?;
        if known.contains(&key) {
            continue;
        }
        // New, or gone, or not ours to read.
        match calls.get(&key) {
            Ok(Some(record)) => referenced.extend(references(&record)),
            Ok(None) if calls.contains(&key)? && calls.get(&key)?.is_none() => {
                return Err(Error::Refused {
                    store: format!("a store that holds a record of a later format ({key})"),
                    operation: "let this version of fleche tell which values are needed: collect with the newer one",
                });
            }
            Ok(None) | Err(Error::Damaged { .. }) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

fn mark_recent(calls: &dyn CallStore, recent: &Query, referenced: &mut HashSet<Digest>) -> Result<()> {
    for found in calls.find(recent)? {
        match found {
            Ok((_, record)) => referenced.extend(references(&record)),
            Err(Error::Damaged { .. }) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// The values in the value store that a record refers to.
pub(super) fn references(record: &Record) -> impl Iterator<Item = Digest> {
    let values = record.arguments.iter().map(|argument| &argument.1).chain([&record.result]);
    values.filter_map(|value| value.stored().copied())
}

fn nanoseconds(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}
