//! Recording a computed call: value first, then record.

use std::{
    cell::Cell,
    collections::BTreeMap,
    time::{Duration, Instant},
};

use super::{
    arguments::{Arguments, Call},
    codec::Recheck,
    events,
    hit::{check_fields, decode},
    hot_results,
    result_kind::{Observer, ResultCodec},
    single_flight::ComputePermit,
    stability_check::recheck,
    stale_record::{Replaces, undamaged},
};
use crate::{
    cache::{Cache, Operation, SharedTier, SkipReason, Unanswered},
    call::{CallKey, Record, RecordFields, Timestamp, ValueRef, Writer},
    error::{Error, Result},
    function::{Function, Warning},
    job::catch_store_panic,
    metadata::{Collecting, Metadata},
    runtime::{
        fork, mode,
        panics::{Contained, contain},
    },
    store::retry_if_reopened,
};

/// The running time of a body above which its result is synced to disk before it is returned, to survive a power failure.
const SYNCED: Duration = Duration::from_secs(1);

/// The number of times that recording one result is repeated because a store was removed and reopened: once for the store
/// of values, once for the store of records, and once more.
const REOPENED: usize = 3;

/// A call to be recorded once its body has run.
pub(super) struct Recording {
    pub(super) function: &'static Function,
    pub(super) cache: Cache,
    pub(super) call: Call,
    pub(super) arguments: Arguments,
    /// Whether the arguments were checked before the body ran. If not, and the body takes long, `checks` are run afterwards.
    pub(super) checked: bool,
    pub(super) checks: &'static [Recheck],
    /// The permit to compute the call, if other callers may wait for the result.
    pub(super) permit: Option<ComputePermit>,
    /// The existing record that may be replaced.
    pub(super) replaces: Replaces,
    /// Whether this is a rerun.
    pub(super) again: bool,
}

/// A computed call that is ready to be stored.
pub(super) struct Finished {
    function: &'static Function,
    cache: Cache,
    call: Call,
    arguments: Arguments,
    encoded: Vec<u8>,
    synced: bool,
    metadata: Metadata,
    replaces: Replaces,
    /// Whether another process computes the call too and may have recorded it.
    pub(super) late: bool,
    again: bool,
}

/// The outcome of recording a computed call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum StoreOutcome {
    /// The call is recorded, by this process or another.
    Kept,
    /// The store was not asked, because it has failed repeatedly.
    LeftAlone,
}

impl StoreOutcome {
    fn new(stored: Result<(), Unanswered>) -> Result<Self> {
        match stored {
            Ok(()) => Ok(Self::Kept),
            Err(Unanswered::LeftAlone) => Ok(Self::LeftAlone),
            Err(Unanswered::Failed(error)) => Err(error),
        }
    }

    /// Returns whether the call could not be stored, so that releasing its claim could also take long.
    pub(super) fn is_failure(stored: &Result<Self>) -> bool {
        !matches!(stored, Ok(Self::Kept) | Err(Error::Refused { .. }))
    }
}

impl Recording {
    /// Records the value. If it cannot be recorded, counts the reason.
    pub(super) fn record<T: Send + Sync + 'static>(
        self,
        codec: ResultCodec<T>,
        value: Option<&T>,
        took: Duration,
        metadata: Metadata,
    ) {
        let function = self.function;
        // Whatever fails while recording must not cost the caller the result.
        if let Err(panic) = contain(|| self.record_and_tell(codec, value, took, metadata)) {
            crate::runtime::log::error!(
                function = function.name(),
                "recording a result {panic}; the call returns it unrecorded"
            );
        }
    }

    fn record_and_tell<T: Send + Sync + 'static>(
        mut self,
        codec: ResultCodec<T>,
        value: Option<&T>,
        took: Duration,
        metadata: Metadata,
    ) {
        let permit = self.permit.take();
        if let Some(mut finished) = self.finish(codec, value, took, metadata) {
            finished.late = permit.as_ref().is_some_and(ComputePermit::is_expired);
            let generation = SharedTier::generation();
            let stored = catch_store_panic(|| finished.store());
            finished.enter_hot_tier(codec, value, generation, matches!(stored, Ok(StoreOutcome::Kept)));
            if let Some(permit) = &permit
                && StoreOutcome::is_failure(&stored)
            {
                permit.release_in_background();
            }
            Finished::conclude(finished.function, &finished.cache, &finished.call.key, stored);
            if let (Some(permit), Some(value)) = (permit, value) {
                permit.complete(codec, value);
            }
        }
    }

    /// Returns the job, observed so that its result is recorded before any other code can see it.
    pub(super) fn record_later<R, T: Send + Sync + 'static>(
        self,
        codec: ResultCodec<T>,
        observed: fn(R, Observer<T>) -> R,
        result: R,
        started: Instant,
        collecting: Collecting,
    ) -> R {
        let record = move |value: Option<&T>| {
            let metadata = collecting.finish_elsewhere();
            self.record(codec, value, started.elapsed(), metadata);
        };
        observed(result, Box::new(record))
    }

    /// Encodes and checks the value. If it will not be stored, counts the reason and returns `None`.
    pub(super) fn finish<T>(
        self,
        codec: ResultCodec<T>,
        value: Option<&T>,
        took: Duration,
        metadata: Metadata,
    ) -> Option<Finished> {
        // The body has forked, and this process is the child. The parent records the result.
        if fork::is_child() {
            return None;
        }
        let Self { function, cache, call, arguments, checked, checks, permit: _, replaces, again } = self;
        cache.counters().computed();
        let took_long = function.took_long(took);
        let Some(value) = value else {
            events::skip(function, &cache, Some(&call.key), SkipReason::Failed);
            return None;
        };
        if !checked && took_long && !recheck(function, &cache, &arguments, checks) {
            return None;
        }
        match encode_result(codec, value, checked || took_long) {
            Ok(encoded) => {
                if replaces == Replaces::Lacking {
                    check_fields(function, codec, &encoded);
                }
                let synced = took > SYNCED;
                let late = false;
                Some(Finished { function, cache, call, arguments, encoded, synced, metadata, replaces, late, again })
            }
            Err(why) => {
                events::skip(function, &cache, Some(&call.key), SkipReason::ResultNotStorable);
                if function.warns(Warning::ResultNotStorable) {
                    crate::runtime::log::warn!(function = function.name(), "the result is not recorded: {why}");
                }
                None
            }
        }
    }
}

impl Finished {
    /// Puts the value, keeps the record that is replaced, and puts the record. Called once.
    pub(super) fn store(&mut self) -> Result<StoreOutcome> {
        let (cache, function, mut record) = (self.cache.clone(), self.function, None);
        let is_reopened = Cell::new(false);
        let reopened = |error: &Error| {
            cache.fault(error, function.name());
            is_reopened.set(true);
        };
        retry_if_reopened(REOPENED, reopened, || {
            if is_reopened.get() {
                // The store that was opened in its place may hold other records.
                self.replaces = self.replaces.look_again();
            }
            StoreOutcome::new(self.try_to_store(&mut record))
        })
    }

    /// Makes one attempt to store the call. `record` keeps the record for the next attempt.
    fn try_to_store(&mut self, record: &mut Option<Record>) -> Result<(), Unanswered> {
        let Self { function, cache, call, arguments, encoded, synced, metadata, replaces, late, again: _ } = self;
        if cache.leaves_alone(Operation::WriteRecord) {
            // A value without a record is useless.
            return Err(Unanswered::LeftAlone);
        }
        if *late {
            let there = undamaged(cache.ask(Operation::ReadRecord, || cache.calls().summary(&call.key)))?;
            if there.is_some_and(|record| function.is_own_code(&record.code)) {
                return Ok(());
            }
            *replaces = Replaces::Code;
        }
        *replaces = replaces.seen(function, cache, &call.key)?;
        let values = cache.values();
        let put = |digest, encoded: &[u8]| cache.ask(Operation::WriteValue, || values.put(digest, encoded));
        let references = record.as_ref().map_or(call.references(), |record| &record.arguments);
        if cache.stores_arguments() && function.definition.store_arguments {
            for (at, (argument, standing)) in references.iter().zip(arguments.iter()).enumerate() {
                if let Some(digest) = argument.1.stored() {
                    put(digest, &arguments.encoding(at, standing).map_err(Error::from)?)?;
                }
            }
        }
        let result = ValueRef::new(encoded);
        if let Some(digest) = result.stored() {
            put(digest, encoded)?;
            if *synced {
                cache.ask(Operation::WriteValue, || values.sync(digest))?;
            }
        }
        let record = record.get_or_insert_with(|| {
            Record::new(RecordFields {
                function: function.id().clone(),
                arguments: call.take_references(function, arguments),
                result,
                metadata: std::mem::take(metadata),
                written: now_in_run(),
                writer: Writer::this_process(),
                other: BTreeMap::new(),
            })
        });
        replaces.keep(function, cache, &call.key, *synced)?;
        cache.ask(Operation::WriteRecord, || cache.calls().put(&call.key, record))?;
        if *synced { cache.ask(Operation::WriteRecord, || cache.calls().sync(&call.key)) } else { Ok(()) }
    }

    /// Keeps the stored result in the hot tier. `generation` was read before the call was stored. A rerun first empties the
    /// hot tier.
    pub(super) fn enter_hot_tier<T: Send + Sync + 'static>(
        &self,
        codec: ResultCodec<T>,
        value: Option<&T>,
        generation: u64,
        stored: bool,
    ) {
        let generation = if self.again {
            self.cache.counters().invalidations();
            SharedTier::replace(generation)
        } else {
            Some(generation)
        };
        let Some(generation) = generation else { return };
        // If another process may have recorded the call, its record is the valid one.
        if let Some(value) = value.filter(|_| stored && !self.late) {
            let (call, result) = ((&self.arguments, &self.call.key), (value, self.encoded.len()));
            hot_results::keep_recorded(self.function, codec, &self.cache, call, result, generation);
        }
    }

    /// Counts and logs a failure to store, which does not fail the call.
    pub(super) fn conclude(function: &'static Function, cache: &Cache, key: &CallKey, stored: Result<StoreOutcome>) {
        match stored {
            Ok(StoreOutcome::Kept) => {}
            Ok(StoreOutcome::LeftAlone) => events::skip(function, cache, Some(key), SkipReason::StoreLeftAlone),
            // Not a fault: the store was configured not to keep records.
            Err(Error::Refused { .. }) => events::skip(function, cache, Some(key), SkipReason::StoreRefused),
            Err(error) => {
                cache.fault(&error, function.name());
                events::skip(function, cache, Some(key), SkipReason::StoreFailed);
            }
        }
    }
}

/// Returns the present time, but never a time before a refreshing run began. If the clock was set back during the run, a
/// refreshed call would otherwise run each time.
fn now_in_run() -> Timestamp {
    let begun = mode::refreshed_since().map(Timestamp);
    begun.map_or_else(Timestamp::now, |begun| Timestamp::now().max(begun))
}

/// Encodes the result. If `checked` is set, it must also decode into an equal value.
fn encode_result<T>(codec: ResultCodec<T>, value: &T, checked: bool) -> Result<Vec<u8>, String> {
    let encoded = contain(|| (codec.encode)(value)).map_err(|panic| format!("its `Serialize` {panic}"))?;
    let encoded = encoded.map_err(|error| error.to_string())?;
    if checked {
        let (decoded, _) = decode(codec, &encoded).map_err(|error| format!("it does not decode: {error}"))?;
        let decoded = Contained::new(decoded);
        let differs = contain(|| codec.equal.is_some_and(|equal| equal(value, value) && !equal(value, &decoded)));
        if differs.map_err(|panic| format!("its `PartialEq` {panic}"))? {
            return Err("it decodes into a value that is not equal to it".to_owned());
        }
    }
    Ok(encoded)
}
