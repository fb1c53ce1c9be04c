//! Reading all entries of a cache to find damaged ones.

use super::{Cache, THE_CACHE};
use crate::{
    digest::DigestPrefix,
    error::{Error, Result},
    runtime::fork::ensure_not_forked,
};

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
            found.values += found_whole(values.get(&id?), &mut found.damaged)?.map_or(0, |_| 1);
            progress(&found);
        }
        for key in calls.keys(&DigestPrefix::all())? {
            let key = key?;
            match found_whole(calls.get(&key), &mut found.damaged)? {
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
fn found_whole<T>(read: Result<Option<T>>, damaged: &mut Vec<String>) -> Result<Option<T>> {
    match read {
        Err(error @ Error::Damaged { .. }) => {
            damaged.push(error.to_string());
            Ok(None)
        }
        read => read,
    }
}
