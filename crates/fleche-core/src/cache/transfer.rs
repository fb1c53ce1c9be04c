//! Copying what one cache holds to another.

use std::time::Duration;

use super::{Cache, collect::references};
use crate::{
    call::{CallKey, Record},
    digest::Digest,
    error::{Error, Result},
    query::Query,
};

/// What is there already and was put within this time needs not be put again: no collector removes it before its record
/// is there, as far as that one's grace period is the default at least.
const YOUNG: Duration = Duration::from_mins(10);

/// What [`Cache::transfer`] has done, so far or in the end.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Transferred {
    /// The records that were copied.
    pub records: u64,
    /// The values that were copied.
    pub values: u64,
    /// The records that were there, with their results.
    pub skipped: u64,
    /// The records whose result is missing, and which were not copied.
    pub without_result: u64,
    /// What is damaged, by the store's words, and was not copied.
    pub damaged: Vec<String>,
}

impl Cache {
    /// Copies the records that fulfil the query, with the values they refer to, to another cache, whatever kinds of store
    /// the two have. What is there is skipped, so that a transfer that was killed, or repeated, goes on where it was; a
    /// record that is there is not replaced; beside one of other code, it is kept as one that was replaced. What is copied was verified as it was read, and values come before records, so
    /// that the other cache is sound at every moment. After each record `progress` is told what was done so far.
    ///
    /// ```
    /// # use fleche_core::{Cache, Query, fleche};
    /// # use fleche_store_memory::{MemoryCalls, MemoryValues};
    /// # #[fleche]
    /// # fn energy(x: u64) -> u64 { x * x }
    /// # let open = || Cache::new(MemoryValues::new(), MemoryCalls::new());
    /// let (here, archive) = (open(), open());
    /// here.scope(|| energy(2));
    /// let done = here.transfer(&archive, &Query::new(), |_| ())?;
    /// assert_eq!(done.records, 1);
    /// assert!(archive.contains(&energy::key(2))?);
    /// # Ok::<(), fleche_core::Error>(())
    /// ```
    ///
    /// # Errors
    /// Those of the stores, but for damage in this cache.
    pub fn transfer(&self, to: &Cache, query: &Query, mut progress: impl FnMut(&Transferred)) -> Result<Transferred> {
        let mut done = Transferred::default();
        for found in self.query(query)? {
            match found.and_then(|(key, record)| self.transfer_one(to, &key, &record, &mut done)) {
                Err(error @ Error::Damaged { .. }) => done.damaged.push(error.to_string()),
                transferred => transferred?,
            }
            progress(&done);
        }
        Ok(done)
    }

    fn transfer_one(&self, to: &Cache, key: &CallKey, record: &Record, done: &mut Transferred) -> Result<()> {
        let mut key = *key;
        if let Some(there) = to.calls().brief(&key)?
            && to.holds(&there)?
        {
            let code = &record.function.code;
            if there.code == *code {
                done.skipped += 1;
                return Ok(());
            }
            // Both are results of the call, for one code each.
            key = key.of_replaced(code);
            if to.contains(&key)? {
                done.skipped += 1;
                return Ok(());
            }
        }
        if let Some(result) = record.result.stored()
            && !self.transfer_value(to, result, done)?
        {
            done.without_result += 1;
            return Ok(());
        }
        // Arguments need not be stored.
        let arguments = references(record).filter(|id| record.result.stored() != Some(id));
        for argument in arguments {
            match self.transfer_value(to, &argument, done) {
                Err(error @ Error::Damaged { .. }) => done.damaged.push(error.to_string()),
                transferred => drop(transferred?),
            }
        }
        to.calls().put(&key, record)?;
        done.records += 1;
        Ok(())
    }

    /// Whether the value is in the other cache now.
    fn transfer_value(&self, to: &Cache, id: &Digest, done: &mut Transferred) -> Result<bool> {
        if to.values().age(id)?.is_some_and(|age| age < YOUNG) {
            return Ok(true);
        }
        let Some(value) = self.values().get(id)? else { return to.values().contains(id) };
        to.values().put(id, &value)?;
        done.values += 1;
        Ok(true)
    }
}
