//! Maintenance of whole stores: collecting values that no record refers to, and reading all entries to find damaged ones.

use std::{collections::HashSet, fmt, time::Duration};

use super::{Cache, THE_CACHE};
use crate::{
    call::{Record, Timestamp},
    digest::{Digest, DigestPrefix},
    error::{Error, Result},
    runtime::{counted::counted, fork::ensure_not_forked},
    store::{CallStore, ValueStore, query::Query},
};

/// The default minimum age of an unreferenced value that is removed.
const DEFAULT_GRACE: Duration = Duration::from_hours(1);
/// The number of values that are removed together.
const BATCH: usize = 1024;

/// The options of [`Cache::gc`].
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

/// The result of [`Cache::gc`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct GcReport {
    /// The number of records that were read.
    pub records: u64,
    /// The number of values that were kept: a record refers to them, or they are younger than the grace period.
    pub kept: u64,
    /// The number of values that were removed.
    pub removed: u64,
    /// The number of records that are damaged. The values that they referred to are unknown.
    pub damaged: u64,
}

impl fmt::Display for GcReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { records, kept, removed, damaged } = self;
        let (removed, records) = (counted(*removed, "value", "values"), counted(*records, "record", "records"));
        write!(f, "{removed} removed, {kept} kept; {records} read, {damaged} damaged")
    }
}

impl Gc {
    /// Creates options that remove unreferenced values that were not put within the last hour.
    pub fn new() -> Self {
        Self { grace: DEFAULT_GRACE, others: Vec::new() }
    }

    /// Sets the grace period, an hour by default: values that were put within this time are kept, even if no record refers to
    /// them yet. Since clocks of hosts differ, this includes values that seem to have been put up to this far in the future.
    ///
    /// It must be longer than the time between the `put` of a value and that of its record on any host: at least the time that
    /// writing the largest value takes, and at least ten minutes if a [`transfer`](Cache::transfer) may run at the same time.
    pub fn grace(mut self, grace: Duration) -> Self {
        self.grace = grace;
        self
    }

    /// Also keeps the values to which records of this cache refer. Name **every** cache that shares the store of values: values to
    /// which only an unnamed cache refers are removed, and its calls are computed again.
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
    /// Removes the values to which neither records of this cache nor those of the caches passed to [`Gc::keep`] refer.
    ///
    /// This is safe while calls run, in this process and others: a call puts values before the record that refers to them, and
    /// putting a value again resets its age. Before old unreferenced values are removed, records written since the collection
    /// began are searched for references to them, and each value's age is compared again as it is removed. Values in a read-only
    /// layer of the store stay. Takes about 40 bytes of memory for each record, each reference, and each value to be removed.
    ///
    /// # Errors
    /// Fails with the errors of the stores, and with [`Error::Refused`] if a record has a later format, since its references
    /// cannot be read. Nothing is removed in the latter case.
    pub fn gc(&self, options: &Gc) -> Result<GcReport> {
        ensure_not_forked(|| THE_CACHE)?;
        let mut report = GcReport::default();
        let begun = Timestamp::now();
        let caches = || options.others.iter().chain([self]);
        let mut referenced = HashSet::new();
        for cache in caches() {
            mark_all(&**cache.calls(), &mut referenced, &mut report)?;
        }
        let values = &**self.values();
        let mut old = Vec::new();
        for id in values.ids(&DigestPrefix::all())? {
            let id = id?;
            if referenced.contains(&id) || values.age(&id)?.is_none_or(|age| age <= options.grace) {
                report.kept += 1;
            } else {
                old.push(id);
            }
        }
        if !old.is_empty() {
            // Clocks of hosts differ, so the search begins earlier. Extra records do no harm.
            let since = Timestamp(begun.0.saturating_sub(nanoseconds(options.grace)));
            let recent = Query::new().since(since);
            for cache in caches() {
                mark_recent(&**cache.calls(), &recent, &mut referenced)?;
            }
        }
        for batch in old.chunks(BATCH) {
            let unreferenced: Vec<_> = batch.iter().filter(|id| !referenced.contains(id)).copied().collect();
            let removed = remove(values, &unreferenced, options.grace)?;
            report.removed += removed;
            report.kept += batch.len() as u64 - removed;
        }
        Ok(report)
    }
}

/// Removes the values that are older than the grace period. Values in a read-only layer stay.
fn remove(values: &dyn ValueStore, unreferenced: &[Digest], grace: Duration) -> Result<u64> {
    match values.remove_all(unreferenced, Some(grace)) {
        Err(Error::Refused { .. }) => {}
        removed => return removed,
    }
    let mut removed = 0;
    for id in unreferenced {
        match values.remove(id, Some(grace)) {
            Err(Error::Refused { .. }) => {}
            one => removed += u64::from(one?),
        }
    }
    Ok(removed)
}

fn mark_all(calls: &dyn CallStore, referenced: &mut HashSet<Digest>, report: &mut GcReport) -> Result<()> {
    let mut known = HashSet::new();
    // Reading records one by one would make a stack copy each of them to its first store.
    for found in calls.find(&Query::new())? {
        match found {
            Ok((key, record)) => {
                known.insert(key);
                report.records += 1;
                referenced.extend(references(&record));
            }
            Err(Error::Damaged { .. }) => report.damaged += 1,
            Err(error) => return Err(error),
        }
    }
    for key in calls.keys(&DigestPrefix::all())? {
        let key = key?;
        if known.contains(&key) {
            continue;
        }
        // The record is new, was removed, or has a later format.
        match calls.get(&key) {
            Ok(Some(record)) => referenced.extend(references(&record)),
            Ok(None) if calls.contains(&key)? && calls.get(&key)?.is_none() => {
                return Err(Error::Refused {
                    store: format!("a store that holds a record of a later format ({key})"),
                    operation: "tell this version of fleche which values are needed; collect with the later version",
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

/// Returns the digests of the stored values that a record refers to.
pub(super) fn references(record: &Record) -> impl Iterator<Item = Digest> {
    let values = record.arguments.iter().map(|argument| &argument.1).chain([&record.result]);
    values.filter_map(|value| value.stored().copied())
}

fn nanoseconds(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}

/// The progress or the result of [`Cache::verify`].
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct VerifyReport {
    /// The number of records that are intact or have a later format.
    pub records: u64,
    /// The number of values that are intact.
    pub values: u64,
    /// The number of records whose result is missing. Their calls run again and then replace the records.
    pub without_result: u64,
    /// The error messages of damaged entries, which were quarantined.
    pub damaged: Vec<String>,
}

/// Writes the counts; the messages of damaged entries are left out.
impl fmt::Display for VerifyReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { records, values, without_result, damaged } = self;
        let (records, values) = (counted(*records, "record", "records"), counted(*values, "value", "values"));
        let damaged = damaged.len();
        write!(f, "{records} and {values} are intact, {damaged} damaged, {without_result} without a result")
    }
}

impl VerifyReport {
    /// Returns whether no entry is damaged and no result is missing.
    pub fn is_whole(&self) -> bool {
        self.damaged.is_empty() && self.without_result == 0
    }
}

impl Cache {
    /// Reads every record and every value, which verifies them. Damaged entries are reported and quarantined, so that their calls
    /// run again. After each entry, `progress` is called with the findings so far.
    ///
    /// # Errors
    /// Fails with the errors of the stores, except for damage.
    pub fn verify(&self, mut progress: impl FnMut(&VerifyReport)) -> Result<VerifyReport> {
        ensure_not_forked(|| THE_CACHE)?;
        let mut found = VerifyReport::default();
        let (values, calls) = (&**self.values(), &**self.calls());
        // Values first: a result that turns out to be damaged is then missing.
        for id in values.ids(&DigestPrefix::all())? {
            found.values += intact_entry(values.get(&id?), &mut found.damaged)?.map_or(0, |_| 1);
            progress(&found);
        }
        for key in calls.keys(&DigestPrefix::all())? {
            let key = key?;
            match intact_entry(calls.get(&key), &mut found.damaged)? {
                Some(record) => {
                    found.records += 1;
                    if let Some(result) = record.result.stored()
                        && !values.contains(result)?
                    {
                        found.without_result += 1;
                    }
                }
                None => found.records += u64::from(calls.contains(&key)?),
            }
            progress(&found);
        }
        Ok(found)
    }
}

/// Returns the entry that was read, or `None` if it is damaged, which is added to `damaged`.
fn intact_entry<T>(read: Result<Option<T>>, damaged: &mut Vec<String>) -> Result<Option<T>> {
    match read {
        Err(error @ Error::Damaged { .. }) => {
            damaged.push(error.to_string());
            Ok(None)
        }
        read => read,
    }
}
