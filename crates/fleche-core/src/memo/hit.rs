//! Hits: from stored record and value to the result. Every fault is logged, counted and a miss.

use std::any::Any;

use bytes::Bytes;

use super::{Plan, attempt::attempt, plan::ResultCodec};
use crate::{
    cache::Cache,
    call::{Brief, CallKey, ValueRef},
    error::{Error, Result},
    function::{Function, Warning},
};

/// The recorded result of a call, and the size of its encoding.
pub(super) fn hit<T>(
    function: &'static Function,
    codec: ResultCodec<T>,
    cache: &Cache,
    key: &CallKey,
) -> Option<(T, usize)> {
    let mut found = None;
    // Put where it is wanted: handed out of here step by step, it would be copied at each.
    let asked = attempt(|| {
        found = ask(cache, key)?;
        Ok(())
    });
    let bytes = found.as_ref().map_or(0, Fetched::bytes);
    Some((decode(function, codec, cache, key, asked.as_ref().map(|()| found.as_ref()))?, bytes))
}

/// A [`Load`](crate::function::Load) for functions of this plan.
pub fn load_boxed<R: 'static, T>(
    function: &'static Function,
    plan: &Plan<R, T>,
    cache: &Cache,
    key: &CallKey,
) -> Option<Box<dyn Any>> {
    hit(function, plan.codec, cache, key).map(|(value, _)| Box::new((plan.wrap)(value)) as Box<dyn Any>)
}

/// What the stores hold of a call.
pub(super) struct Fetched {
    pub(super) record: Brief,
    /// The result's encoding, where it does not stand in the record.
    stored: Option<Bytes>,
}

impl Fetched {
    /// The size of the result's encoding.
    pub(super) fn bytes(&self) -> usize {
        match &self.record.result {
            ValueRef::Inline(bytes) => bytes.as_slice().len(),
            ValueRef::Stored(_) => self.stored.as_ref().map_or(0, Bytes::len),
        }
    }
}

/// Asks the stores. A record whose value is gone is none.
pub(super) fn fetch(cache: &Cache, key: &CallKey) -> Result<Option<Fetched>> {
    attempt(|| ask(cache, key))
}

fn ask(cache: &Cache, key: &CallKey) -> Result<Option<Fetched>> {
    let Some(record) = cache.calls().brief(key)? else { return Ok(None) };
    let stored = match record.result.stored() {
        None => None,
        Some(digest) => match cache.values().get(digest)? {
            None => return Ok(None),
            found => found,
        },
    };
    Ok(Some(Fetched { record, stored }))
}

/// The result that was fetched.
pub(super) fn decode<T>(
    function: &'static Function,
    codec: ResultCodec<T>,
    cache: &Cache,
    key: &CallKey,
    fetched: Result<Option<&Fetched>, &Error>,
) -> Option<T> {
    let Fetched { record, stored } = fetched.unwrap_or_else(|error| {
        cache.fault(error, function.name());
        None
    })?;
    let value = match (&record.result, stored) {
        (ValueRef::Inline(bytes), _) => (codec.decode)(bytes.as_slice()),
        (ValueRef::Stored(_), stored) => (codec.decode)(stored.as_deref()?),
    };
    match value {
        Ok(value) => {
            warn_of_stale_code(function, record);
            cache.counters().hit();
            Some(value)
        }
        Err(error) => {
            if function.warns(Warning::ResultUnreadable) {
                crate::log::warn!(
                    function = function.name(), %key, %error,
                    "a recorded result does not decode into the function's type; the call runs again"
                );
            }
            None
        }
    }
}

fn warn_of_stale_code(function: &'static Function, record: &Brief) {
    if record.code != function.id().code && function.warns(Warning::StaleCode) {
        crate::log::warn!(
            function = function.name(),
            "results are served that other code of this function computed. If the change alters results, state a new \
             version: `#[fleche(version = {})]`",
            function.id().version + 1,
        );
    }
}
