//! Stale records, which were computed by other code of a function or lack fields of its result type. A record that is replaced
//! is kept under a second key, where it is found if the function's earlier code is restored.

use super::events::Unfit;
use crate::{
    cache::{Cache, Operation, StalePolicy, Unanswered},
    call::CallKey,
    error::Error,
    function::{Function, Warning},
    job::catch_store_panic,
};

/// Returns the keys under which records of the function's present code are kept after records of other code replaced them.
pub(super) fn places(function: &'static Function, key: &CallKey) -> impl Iterator<Item = CallKey> + use<> {
    let key = *key;
    function.codes().map(move |code| key.for_replaced(&code))
}

/// Counts a stale result that is served, and warns if the policy says so.
#[cold]
pub(super) fn served(function: &'static Function, cache: &Cache, why: Unfit) {
    cache.counters().stale();
    if function.stale_policy(cache) != StalePolicy::Warn {
        return;
    }
    match why {
        Unfit::Code if function.warns(Warning::StaleCode) => crate::runtime::log::warn!(
            function = function.name(),
            "serving results that were computed by other code of this function. If the change alters results, state a new \
             version: `#[fleche(version = {})]`",
            function.id().version + 1,
        ),
        Unfit::Fields if function.warns(Warning::LacksFields) => crate::runtime::log::warn!(
            function = function.name(),
            "serving results that lack fields of this function's result type; these get their defaults. If that is wrong, \
             state a new version: `#[fleche(version = {})]`",
            function.id().version + 1,
        ),
        Unfit::Code | Unfit::Fields | Unfit::Undecodable => {}
    }
}

/// Counts and logs that a call runs although it has a record.
#[cold]
pub(super) fn runs_again(function: &'static Function, cache: &Cache, why: Unfit) {
    cache.counters().stale();
    match why {
        Unfit::Code if function.warns(Warning::StaleCode) => crate::runtime::log::warn!(
            function = function.name(),
            "the code of this function has changed since results were recorded: its calls run again, and existing records \
             are kept for the earlier code. If the change alters no result, use `#[fleche(stale = \"serve\")]`"
        ),
        Unfit::Fields if function.warns(Warning::LacksFields) => crate::runtime::log::warn!(
            function = function.name(),
            "recorded results lack fields of this function's result type: its calls run again, and existing records are \
             kept. If the defaults are right, use `#[fleche(stale = \"serve\")]`"
        ),
        // A record that does not decode was already logged.
        Unfit::Code | Unfit::Fields | Unfit::Undecodable => {}
    }
}

/// The existing record that a new record may replace.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Replaces {
    /// There was no record, and only this process, whose calls all have the same code, writes to the store.
    Nothing,
    /// There may be a record: the store did not answer the lookup.
    Unseen,
    /// There was no record, but another process may have recorded the call since then. This is possible even if this
    /// process holds the claim, because a caller that gives up waiting proceeds without it.
    Shared,
    /// A record of other code, which must be kept.
    Code,
    /// A record of any code, which must be kept: it lacks fields of the result type.
    Lacking,
    /// A record of any code, which must be kept: it does not decode.
    Any,
}

impl From<Unfit> for Replaces {
    fn from(unfit: Unfit) -> Self {
        match unfit {
            Unfit::Code => Self::Code,
            Unfit::Fields => Self::Lacking,
            Unfit::Undecodable => Self::Any,
        }
    }
}

impl Replaces {
    /// Returns the record that the new one replaces. Asks the store if it did not answer the lookup. If this fails, the caller
    /// must not write the new record: it might replace one that took longer to compute.
    pub(super) fn seen(self, function: &'static Function, cache: &Cache, key: &CallKey) -> Result<Self, Unanswered> {
        if self != Self::Unseen {
            return Ok(self);
        }
        let seen = Self::look(function, cache, key)?;
        Ok(if cache.is_exclusive() { seen } else { seen.look_again() })
    }

    /// Returns [`Shared`](Self::Shared) in place of [`Nothing`](Self::Nothing): another process may have written a record since
    /// none was found, or the store may be another one now.
    pub(super) fn look_again(self) -> Self {
        if self == Self::Nothing { Self::Shared } else { self }
    }

    /// Returns the record that a new one would replace now.
    fn look(function: &'static Function, cache: &Cache, key: &CallKey) -> Result<Self, Unanswered> {
        // An answer does not show that records can be read or written.
        let is_there =
            cache.ask_in_advance(Operation::WriteRecord, || catch_store_panic(|| cache.calls().contains(key)));
        // If the record is of this code, it may be replaced, because the same code computed both.
        let replaces = is_there.map(|is_there| if is_there { Self::Code } else { Self::Nothing });
        replaces.inspect_err(|why| not_recorded(function, cache, why))
    }

    /// Keeps the record that is about to be replaced. If this fails, the record must not be replaced: it may have taken longer to
    /// compute than its replacement.
    pub(super) fn keep(
        self,
        function: &'static Function,
        cache: &Cache,
        key: &CallKey,
        synced: bool,
    ) -> Result<(), Unanswered> {
        // Asked just before the record is written.
        let replaces = if self == Self::Shared { Self::look(function, cache, key)? } else { self };
        if replaces == Self::Nothing {
            return Ok(());
        }
        replaces.copy(function, cache, key, synced).inspect_err(|why| not_recorded(function, cache, why))
    }

    fn copy(self, function: &'static Function, cache: &Cache, key: &CallKey, synced: bool) -> Result<(), Unanswered> {
        let calls = cache.calls();
        let is_kept = |code: &_| self != Self::Code || !function.is_own_code(code);
        let there = undamaged(cache.ask(Operation::ReadRecord, || catch_store_panic(|| calls.summary(key))))?;
        if !there.is_some_and(|record| is_kept(&record.code)) {
            return Ok(());
        }
        let Some(record) = undamaged(cache.ask(Operation::ReadRecord, || catch_store_panic(|| calls.get(key))))? else {
            return Ok(());
        };
        let place = key.for_replaced(&record.function.code);
        cache.ask(Operation::WriteRecord, || calls.put(&place, &record))?;
        if synced { cache.ask(Operation::WriteRecord, || calls.sync(&place)) } else { Ok(()) }
    }
}

/// Logs that a result is not recorded because of the record that it would replace.
#[cold]
fn not_recorded(function: &'static Function, cache: &Cache, why: &Unanswered) {
    // A store that is left alone was logged already, and other errors are not failures.
    if let Unanswered::Failed(error @ (Error::Io { .. } | Error::Backend { .. })) = why {
        crate::runtime::log::warn_rarely!(
            cache.faults(), NOT_RECORDED, function = function.name(), error = %error.report(),
            "a result is not recorded: it would replace a record that cannot be read or kept and may be of other code"
        );
    }
}

/// The number that identifies this kind of warning to the throttle. Other kinds are identified by hashes.
const NOT_RECORDED: u64 = 0;

/// Treats a damaged record as missing, since it cannot be kept.
pub(super) fn undamaged<T>(read: Result<Option<T>, Unanswered>) -> Result<Option<T>, Unanswered> {
    match read {
        Err(Unanswered::Failed(Error::Damaged { .. })) => Ok(None),
        read => read,
    }
}
