//! Hits: from stored record and value to the result. Every fault is logged and counted, and is a miss.

use bytes::Bytes;
use fleche_encoding::spi::lacks_fields_of;

use super::{
    codec::deserialize_panicked,
    events::{self, Missing, Unfit},
    result_kind::{ResultCodec, ResultKind},
    stale_record,
};
use crate::{
    cache::{Cache, Operation, StalePolicy, THE_CACHE, Unanswered},
    call::{CallKey, Record, RecordSummary, ValueRef, Writer},
    encoding::DecodeError,
    error::{Error, Result},
    function::{Function, Loaded, Warning},
    job::catch_store_panic,
    runtime::fork::ensure_not_forked,
    runtime::{
        mode,
        panics::{Contained, contain, discard},
    },
};

/// The outcome of a lookup in the stores.
pub(super) enum LookupResult<T> {
    /// A result to serve.
    Hit(ServedHit<T>),
    /// No result, for this reason.
    Miss(Missing),
}

/// A recorded result that is served.
pub(super) struct ServedHit<T> {
    pub(super) value: T,
    /// The size of the result's encoding, in bytes.
    pub(super) bytes: usize,
    /// Whether other code computed the value, or the value lacks fields of the result type.
    pub(super) is_stale: bool,
}

/// Looks a call up in the stores.
pub(super) fn hit<T>(
    function: &'static Function,
    codec: ResultCodec<T>,
    cache: &Cache,
    key: &CallKey,
) -> LookupResult<T> {
    let mut found = None;
    let asked = catch_store_panic(|| ask(function, cache, key, Asker::Call, &mut found));
    match judge(function, codec, cache, key, asked.as_ref().map(|()| found.as_ref())) {
        unfit @ LookupResult::Miss(Missing::Unfit(_)) => {
            hit_of_replaced(function, codec, cache, key).map_or(unfit, LookupResult::Hit)
        }
        looked => looked,
    }
}

/// Looks for a record of the function's own code that a record of other code has replaced.
#[cold]
pub(super) fn hit_of_replaced<T>(
    function: &'static Function,
    codec: ResultCodec<T>,
    cache: &Cache,
    key: &CallKey,
) -> Option<ServedHit<T>> {
    stale_record::places(function, key).find_map(|place| {
        let fetched = fetch(function, cache, &place);
        match judge(function, codec, cache, &place, fetched.as_ref().map(Option::as_ref)) {
            LookupResult::Hit(served) => Some(served),
            LookupResult::Miss(_) => None,
        }
    })
}

/// Loads a recorded result in a box: the `Load` of functions with this kind of result.
pub fn load_boxed<R: 'static, T>(
    function: &'static Function,
    plan: &ResultKind<R, T>,
    cache: &Cache,
    key: &CallKey,
) -> Loaded {
    if cache.is_void() {
        return Loaded::Undecided;
    }
    match hit(function, plan.codec, cache, key) {
        LookupResult::Hit(served) => Loaded::Hit(Box::new((plan.wrap)(served.value))),
        LookupResult::Miss(Missing::Unrecorded) => Loaded::Missing,
        LookupResult::Miss(_) => Loaded::Undecided,
    }
}

/// A call's record, and its result if that was read.
pub(super) struct Fetched {
    pub(super) record: RecordSummary,
    /// The result's encoding, if it is not inline in the record.
    stored: Option<Bytes>,
}

impl Fetched {
    /// Returns the result's encoding, or `None` if it was not read.
    fn encoded(&self) -> Option<&[u8]> {
        match &self.record.result {
            ValueRef::Inline(bytes) => Some(bytes.as_slice()),
            ValueRef::Stored(_) => self.stored.as_deref(),
        }
    }
}

/// Reads the record and the result of a call. A record whose result is missing counts as missing.
pub(super) fn fetch(function: &'static Function, cache: &Cache, key: &CallKey) -> Result<Option<Fetched>, Unanswered> {
    let mut found = None;
    catch_store_panic(|| ask(function, cache, key, Asker::Call, &mut found))?;
    Ok(found)
}

/// Like [`fetch`], on behalf of a user of the cache instead of a call: the stores are always asked.
fn fetch_for_user(function: &'static Function, cache: &Cache, key: &CallKey) -> Result<Option<Fetched>> {
    let mut found = None;
    match ask(function, cache, key, Asker::User, &mut found) {
        Ok(()) | Err(Unanswered::LeftAlone) => Ok(found),
        Err(Unanswered::Failed(error)) => Err(error),
    }
}

/// The kind of caller that asks a store.
#[derive(Clone, Copy)]
enum Asker {
    Call,
    User,
}

impl Asker {
    #[inline]
    fn ask<T>(self, cache: &Cache, operation: Operation, ask: impl FnOnce() -> Result<T>) -> Result<T, Unanswered> {
        match self {
            Self::Call => cache.ask(operation, ask),
            Self::User => Ok(ask()?),
        }
    }
}

/// Reads the record and the result into `found`. An out parameter, because returning them would copy them at each step.
#[inline]
fn ask(
    function: &'static Function,
    cache: &Cache,
    key: &CallKey,
    asker: Asker,
    found: &mut Option<Fetched>,
) -> Result<(), Unanswered> {
    asker.ask(cache, Operation::ReadRecord, || {
        let record = match mode::refreshed_since() {
            None => cache.calls().summary(key)?,
            Some(since) => recorded_since(cache, key, since)?,
        };
        *found = record.map(|record| Fetched { record, stored: None });
        Ok(())
    })?;
    let Some(Fetched { record, stored }) = found else { return Ok(()) };
    // The result of a refused record is not needed.
    if let Some(digest) = record.result.stored()
        && !is_refused(function, cache, record)
    {
        *stored = asker.ask(cache, Operation::ReadValue, || cache.values().get(digest))?;
        if stored.is_none() {
            *found = None;
        }
    }
    Ok(())
}

/// Returns the record, if this process or another process on this host has written it since this run began. Clocks of
/// different hosts are not compared.
#[cold]
fn recorded_since(cache: &Cache, key: &CallKey, since: u64) -> Result<Option<RecordSummary>> {
    let record = cache.calls().get(key)?;
    let is_recent = |record: &Record| record.written.0 >= since && record.writer.host == Writer::this_process().host;
    Ok(record.filter(is_recent).as_ref().map(RecordSummary::from))
}

/// Returns whether other code computed the record and the stale policy does not serve it.
fn is_refused(function: &'static Function, cache: &Cache, record: &RecordSummary) -> bool {
    !function.is_own_code(&record.code) && function.stale_policy(cache) == StalePolicy::Rerun
}

/// The outcome of decoding a fetched record for the function.
enum Read<T> {
    Fit(T),
    /// The record is stale, and the policy serves it.
    Stale(T, Unfit),
    Unfit(Unfit),
    Undecodable(DecodeError),
}

fn read<T>(function: &'static Function, codec: ResultCodec<T>, cache: &Cache, fetched: &Fetched) -> Read<T> {
    let is_own_code = function.is_own_code(&fetched.record.code);
    if !is_own_code && function.stale_policy(cache) == StalePolicy::Rerun {
        return Read::Unfit(Unfit::Code);
    }
    let encoded = fetched.encoded().unwrap_or_default();
    let (value, may_lack) = match decode(codec, encoded) {
        Ok(decoded) => decoded,
        Err(error) => return Read::Undecodable(error),
    };
    if may_lack && function.records_its_fields() && lacks_fields(codec, encoded, &value) {
        if function.stale_policy(cache) != StalePolicy::Rerun {
            return Read::Stale(value, Unfit::Fields);
        }
        discard(value);
        return Read::Unfit(Unfit::Fields);
    }
    if is_own_code { Read::Fit(value) } else { Read::Stale(value, Unfit::Code) }
}

/// Detects a result type whose own encodings appear to lack fields. For such a type, missing fields do not show that a record
/// is stale, and its calls would run again forever.
#[cold]
pub(super) fn check_fields<T>(function: &'static Function, codec: ResultCodec<T>, encoded: &[u8]) {
    let Ok((value, may_lack)) = decode(codec, encoded) else { return };
    let value = Contained::new(value);
    if may_lack && lacks_fields(codec, encoded, &value) {
        function.stop_comparing_fields();
    }
}

/// Returns whether decoding filled in fields that the record lacks.
#[cold]
fn lacks_fields<T>(codec: ResultCodec<T>, encoded: &[u8], value: &T) -> bool {
    contain(|| (codec.encode)(value)).is_ok_and(|again| again.is_ok_and(|again| lacks_fields_of(encoded, &again)))
}

/// Decodes a result. Also returns whether the encoding may lack fields of the type. A panic in its `Deserialize` is returned
/// as an error.
pub(super) fn decode<T>(codec: ResultCodec<T>, encoded: &[u8]) -> Result<(T, bool), DecodeError> {
    contain(|| (codec.decode)(encoded)).unwrap_or_else(|panic| Err(deserialize_panicked(&panic)))
}

/// Decides whether the record that was fetched under this key is served, and counts and logs the outcome.
pub(super) fn judge<T>(
    function: &'static Function,
    codec: ResultCodec<T>,
    cache: &Cache,
    key: &CallKey,
    fetched: Result<Option<&Fetched>, &Unanswered>,
) -> LookupResult<T> {
    let fetched = match fetched {
        Ok(Some(fetched)) => fetched,
        Ok(None) => return LookupResult::Miss(Missing::Unrecorded),
        Err(why) => return LookupResult::Miss(unanswered(function, cache, why)),
    };
    let (value, is_stale) = match read(function, codec, cache, fetched) {
        Read::Fit(value) => (value, false),
        Read::Stale(value, why) => {
            stale_record::served(function, cache, why);
            (value, true)
        }
        Read::Unfit(why) => return LookupResult::Miss(Missing::Unfit(why)),
        Read::Undecodable(error) => {
            if function.warns(Warning::ResultUnreadable) {
                crate::runtime::log::warn!(
                    function = function.name(), %key, %error,
                    "a recorded result does not decode into the function's type; the call runs again"
                );
            }
            return LookupResult::Miss(Missing::Unfit(Unfit::Undecodable));
        }
    };
    cache.counters().hit();
    events::hit(function, key, events::from::STORE);
    LookupResult::Hit(ServedHit { value, bytes: fetched.encoded().map_or(0, <[u8]>::len), is_stale })
}

/// Counts and logs a failed lookup, and returns the reason why the call is a miss.
#[cold]
fn unanswered(function: &'static Function, cache: &Cache, why: &Unanswered) -> Missing {
    let Unanswered::Failed(error) = why else { return Missing::Unanswered };
    cache.fault(error, function.name());
    // The store has quarantined a damaged entry.
    if matches!(error, Error::Damaged { .. }) { Missing::Unrecorded } else { Missing::Unanswered }
}

/// Returns whether a lookup of the call would be a hit. Its result is not decoded, so this can be wrong if decoding fails.
pub(super) fn is_there(function: &'static Function, cache: &Cache, key: &CallKey) -> Result<bool> {
    ensure_not_forked(|| THE_CACHE)?;
    match cache.calls().summary(key)? {
        Some(record) if is_refused(function, cache, &record) => {
            for place in stale_record::places(function, key) {
                if cache.contains(&place)? {
                    return Ok(true);
                }
            }
            Ok(false)
        }
        Some(record) => cache.holds(&record),
        None => Ok(false),
    }
}

/// Returns the result that a lookup of the call would serve, if any.
///
/// # Errors
/// Fails with the errors of the stores, and if the only record does not decode.
pub(super) fn load<T>(
    function: &'static Function,
    codec: ResultCodec<T>,
    cache: &Cache,
    key: &CallKey,
) -> Result<Option<T>> {
    ensure_not_forked(|| THE_CACHE)?;
    let mut undecodable = None;
    for place in [*key].into_iter().chain(stale_record::places(function, key)) {
        match fetch_for_user(function, cache, &place)?.map(|fetched| read(function, codec, cache, &fetched)) {
            Some(Read::Fit(value)) => return Ok(Some(value)),
            Some(Read::Stale(value, why)) => {
                stale_record::served(function, cache, why);
                return Ok(Some(value));
            }
            Some(Read::Undecodable(error)) => {
                undecodable.get_or_insert(error);
            }
            // Without a record under the key, there is no replaced one either.
            None if place == *key => return Ok(None),
            Some(Read::Unfit(_)) | None => {}
        }
    }
    undecodable.map_or(Ok(None), |error| Err(error.into()))
}
