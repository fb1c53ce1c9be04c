//! Reading everything, to find what is damaged.

use super::{Cache, THE_CACHE};
use crate::{
    digest::DigestPrefix,
    error::{Error, Result, ensure_not_forked},
};

/// What [`Cache::verify`] has found, so far or in the end.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Verified {
    /// The records that are whole, or of a later format.
    pub records: u64,
    /// The values that are whole.
    pub values: u64,
    /// The records whose result is missing. Their calls run anew; the records are left to be replaced then.
    pub without_result: u64,
    /// What is damaged, by the store's words. It has been set aside.
    pub damaged: Vec<String>,
}

impl Verified {
    /// Whether everything is whole and there.
    pub fn is_whole(&self) -> bool {
        self.damaged.is_empty() && self.without_result == 0
    }
}

impl Cache {
    /// Reads every record and every value, which verifies them: what is damaged is set aside, so that its calls run anew,
    /// and reported. After each entry `progress` is told what was found so far.
    ///
    /// # Errors
    /// Those of the stores, but for damage.
    pub fn verify(&self, mut progress: impl FnMut(&Verified)) -> Result<Verified> {
        ensure_not_forked(|| THE_CACHE)?;
        let mut found = Verified::default();
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

/// What was read, unless it is damaged, which is noted.
fn found_whole<T>(read: Result<Option<T>>, damaged: &mut Vec<String>) -> Result<Option<T>> {
    match read {
        Err(error @ Error::Damaged { .. }) => {
            damaged.push(error.to_string());
            Ok(None)
        }
        read => read,
    }
}
