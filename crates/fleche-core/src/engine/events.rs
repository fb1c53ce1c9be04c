//! The `tracing` events of calls, which the crate's documentation describes, and the reasons for misses that they name.
//!
//! Without a subscriber for its level, an event costs one relaxed load.

use tracing::level_filters::{LevelFilter, STATIC_MAX_LEVEL};

use super::arguments::{self, Arguments};
use crate::{
    cache::{Cache, SkipReason},
    call::CallKey,
    function::Function,
    job,
};

/// The target of all events about calls.
pub(super) const TARGET: &str = "fleche_core::calls";

/// The sources of hits, as reported in events.
pub(super) mod from {
    pub(in crate::engine) const THREAD: &str = "thread-local tier";
    pub(in crate::engine) const SHARED: &str = "shared tier";
    pub(in crate::engine) const STORE: &str = "store";
    pub(in crate::engine) const ANOTHER_CALL: &str = "another call";
}

/// Returns whether a subscriber may listen at this level.
#[inline]
pub(super) fn are_wanted() -> bool {
    STATIC_MAX_LEVEL >= LevelFilter::DEBUG && LevelFilter::current() >= LevelFilter::DEBUG
}

/// Reports a hit.
#[inline]
pub(super) fn hit(function: &'static Function, key: &CallKey, from: &'static str) {
    #[cold]
    #[inline(never)]
    fn emit(function: &'static Function, key: &CallKey, from: &'static str) {
        tracing::debug!(target: TARGET, function = function.name(), %key, from, "hit");
    }
    if are_wanted() {
        emit(function, key, from);
    }
}

/// Reports a hit that was served without computing its key.
#[inline]
pub(super) fn hit_without_key(function: &'static Function, from: &'static str, encode: impl FnOnce(&mut Arguments)) {
    #[cold]
    #[inline(never)]
    fn emit(function: &'static Function, from: &'static str, encode: impl FnOnce(&mut Arguments)) {
        let key = job::catch_panic(|| arguments::key(function, encode)).ok().and_then(Result::ok);
        let key = key.map(tracing::field::display);
        tracing::debug!(target: TARGET, function = function.name(), key, from, "hit");
    }
    if are_wanted() {
        emit(function, from, encode);
    }
}

/// Reports a hit of a call whose arguments are encoded.
#[inline]
pub(super) fn hit_of(function: &'static Function, from: &'static str, arguments: &mut Arguments) {
    #[cold]
    #[inline(never)]
    fn emit(function: &'static Function, from: &'static str, arguments: &mut Arguments) {
        let key = arguments.key(function).ok().map(tracing::field::display);
        tracing::debug!(target: TARGET, function = function.name(), key, from, "hit");
    }
    if are_wanted() {
        emit(function, from, arguments);
    }
}

/// The reason why a record is not served. The record is kept when it is replaced.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Unfit {
    /// Other code of the function computed the result.
    Code,
    /// The result lacks fields of the function's result type.
    Fields,
    /// The result does not decode into the function's result type.
    Undecodable,
}

/// The reason why the body of a call has to run.
#[derive(Clone, Copy)]
pub(super) enum Missing {
    /// There is no record, or the value of the record is missing.
    Unrecorded,
    /// The store failed or was not asked, so there may be a record.
    Unanswered,
    /// The executor that submitted the call has already looked it up.
    Known,
    /// There is a record that is not served.
    Unfit(Unfit),
    /// The call is a rerun.
    Rerun,
}

/// Reports a miss.
#[inline]
pub(super) fn miss(function: &'static Function, key: &CallKey, why: Missing) {
    #[cold]
    #[inline(never)]
    fn emit(function: &'static Function, key: &CallKey, why: Missing) {
        let reason = match why {
            Missing::Unrecorded | Missing::Known => "not recorded",
            Missing::Unanswered => "the store did not answer",
            Missing::Unfit(Unfit::Code) => "recorded by other code",
            Missing::Unfit(Unfit::Fields) => "recorded without fields of the result",
            Missing::Unfit(Unfit::Undecodable) => "recorded with another type of result",
            Missing::Rerun => "rerun",
        };
        tracing::debug!(target: TARGET, function = function.name(), %key, reason, "miss");
    }
    if are_wanted() {
        emit(function, key, why);
    }
}

/// Counts and reports a call that is not recorded.
pub(super) fn skip(function: &Function, cache: &Cache, key: Option<&CallKey>, reason: SkipReason) {
    cache.counters().skipped(reason);
    let key = key.map(tracing::field::display);
    tracing::debug!(target: TARGET, function = function.name(), key, %reason, "skip");
}
