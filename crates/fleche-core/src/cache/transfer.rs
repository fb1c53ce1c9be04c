//! Copying records and values from one cache to another.

use std::{fmt, time::Duration};

use super::{Cache, maintenance::references};
use crate::{
    call::{CallKey, Record},
    digest::Digest,
    error::{Error, Result},
    runtime::counted::counted,
    store::query::Query,
};

/// The age up to which a value in the target is not put again: a collector with the default grace period or a longer one does
/// not remove the value before its record is copied.
const RECENT: Duration = Duration::from_mins(10);

/// The progress or the result of [`Cache::transfer`].
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct TransferReport {
    /// The number of records that were copied.
    pub records: u64,
    /// The number of values that were copied.
    pub values: u64,
    /// The number of records that the other cache already had, with their results.
    pub skipped: u64,
    /// The number of records that were not copied because their result is missing.
    pub without_result: u64,
    /// The error messages of damaged entries, which were not copied.
    pub damaged: Vec<String>,
}

/// Writes the counts; the messages of damaged entries are left out.
impl fmt::Display for TransferReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { records, values, skipped, without_result, damaged } = self;
        let (records, skipped) = (counted(*records, "record", "records"), counted(*skipped, "record", "records"));
        let values = counted(*values, "value", "values");
        write!(f, "{records} and {values} copied, {skipped} already there, ")?;
        write!(f, "{} damaged, {without_result} without a result", damaged.len())
    }
}

impl Cache {
    /// Copies the records that match the query, and the values they refer to, to another cache. The two caches may have stores of
    /// different kinds.
    ///
    /// Entries that the other cache already has are skipped, so a transfer that was interrupted can be repeated. No record of the
    /// other cache is replaced: a record of other code is kept beside it, under the key of replaced records. All entries are
    /// verified as they are read, and values are copied before their records, so the other cache is consistent at every moment.
    /// After each record, `progress` is called with the work done so far.
    ///
    /// ```
    /// # use fleche_core::{Cache, Query, fleche};
    /// # use fleche_store_memory::{MemoryCalls, MemoryValues};
    /// # #[fleche]
    /// # fn energy(x: u64) -> u64 { x * x }
    /// # let open = || Cache::new(MemoryValues::new(), MemoryCalls::new());
    /// let (here, archive) = (open(), open());
    /// here.scope(|| energy(2));
    /// let copied = here.transfer(&archive, &Query::new(), |_| ())?;
    /// assert_eq!(copied.records, 1);
    /// assert!(archive.contains(&energy::key(2))?);
    /// # Ok::<(), fleche_core::Error>(())
    /// ```
    ///
    /// # Errors
    /// Fails with the errors of the stores, except for damage in this cache.
    pub fn transfer(
        &self,
        to: &Cache,
        query: &Query,
        mut progress: impl FnMut(&TransferReport),
    ) -> Result<TransferReport> {
        let mut report = TransferReport::default();
        for found in self.query(query)? {
            match found.and_then(|(key, record)| self.transfer_one(to, &key, &record, &mut report)) {
                Err(error @ Error::Damaged { .. }) => report.damaged.push(error.to_string()),
                transferred => transferred?,
            }
            progress(&report);
        }
        Ok(report)
    }

    fn transfer_one(&self, to: &Cache, key: &CallKey, record: &Record, report: &mut TransferReport) -> Result<()> {
        let mut key = *key;
        if let Some(existing) = to.calls().summary(&key)?
            && to.holds(&existing)?
        {
            let code = &record.function.code;
            if existing.code == *code {
                report.skipped += 1;
                return Ok(());
            }
            // Both are results of the call, each for its own code.
            key = key.for_replaced(code);
            if to.contains(&key)? {
                report.skipped += 1;
                return Ok(());
            }
        }
        if let Some(result) = record.result.stored()
            && !self.transfer_value(to, result, report)?
        {
            report.without_result += 1;
            return Ok(());
        }
        // Arguments need not be stored.
        let arguments = references(record).filter(|id| record.result.stored() != Some(id));
        for argument in arguments {
            match self.transfer_value(to, &argument, report) {
                Err(error @ Error::Damaged { .. }) => report.damaged.push(error.to_string()),
                transferred => drop(transferred?),
            }
        }
        to.calls().put(&key, record)?;
        report.records += 1;
        Ok(())
    }

    /// Copies a value if needed. Returns whether the other cache has it now.
    fn transfer_value(&self, to: &Cache, id: &Digest, report: &mut TransferReport) -> Result<bool> {
        if to.values().age(id)?.is_some_and(|age| age < RECENT) {
            return Ok(true);
        }
        let Some(value) = self.values().get(id)? else { return to.values().contains(id) };
        to.values().put(id, &value)?;
        report.values += 1;
        Ok(true)
    }
}
