//! Recording a computed call: value first, then record.

use std::{collections::BTreeMap, time::Duration};

use super::{Arguments, Plan, Recheck, arguments::Call, guard::recheck};
use crate::{
    cache::{Cache, Skip},
    call::{Record, RecordFields, Timestamp, ValueRef, Writer},
    error::Result,
    function::{Function, Warning},
    metadata::Metadata,
};

/// A call whose body runs longer than this is made to survive a power failure before its result is returned.
const SYNCED: Duration = Duration::from_secs(1);

/// A call to be recorded once its body has run.
pub(super) struct Recording {
    pub(super) function: &'static Function,
    pub(super) cache: Cache,
    pub(super) call: Call,
    pub(super) arguments: Arguments,
    /// Whether the arguments were checked before the body ran, and how to do it afterwards if that took long.
    pub(super) checked: bool,
    pub(super) checks: &'static [Recheck],
}

impl Recording {
    /// Records the result, or counts why not.
    pub(super) fn record<R, T: 'static>(self, plan: &Plan<R, T>, result: &R, took: Duration, metadata: Metadata) {
        let counters = self.cache.counters();
        counters.computed();
        let took_long = self.function.took_long(took);
        let Some(value) = (plan.value)(result) else {
            counters.skipped(Skip::Failed);
            return;
        };
        if !self.checked && took_long && !recheck(self.function, &self.cache, &self.arguments, self.checks) {
            return;
        }
        let checked = self.checked || took_long;
        match encode_result(plan, value, checked) {
            Ok(encoded) => {
                if let Err(error) = self.store(&encoded, took > SYNCED, metadata) {
                    self.cache.fault(&error, self.function.name());
                    counters.skipped(Skip::StoreFailed);
                }
            }
            Err(why) => {
                counters.skipped(Skip::ResultNotStorable);
                if self.function.warns(Warning::ResultNotStorable) {
                    tracing::warn!(function = self.function.name(), "the result is not recorded: {why}");
                }
            }
        }
    }

    fn store(&self, encoded: &[u8], synced: bool, metadata: Metadata) -> Result<()> {
        let Self { function, cache, call, arguments, .. } = self;
        let values = cache.values();
        if cache.stores_arguments() && function.definition.store_arguments {
            for (argument, encoded) in call.arguments.iter().zip(arguments.iter()) {
                if let Some(digest) = argument.1.stored() {
                    values.put(digest, encoded)?;
                }
            }
        }
        let result = ValueRef::of(encoded);
        if let Some(digest) = result.stored() {
            values.put(digest, encoded)?;
            if synced {
                values.sync(digest)?;
            }
        }
        let record = Record::new(RecordFields {
            function: function.id().clone(),
            arguments: call.arguments.clone(),
            result,
            metadata,
            written: Timestamp::now(),
            writer: Writer::this_process(),
            other: BTreeMap::new(),
        });
        cache.calls().put(&call.key, &record)?;
        if synced { cache.calls().sync(&call.key) } else { Ok(()) }
    }
}

/// The result's encoding, checked to decode into an equal value where asked for.
fn encode_result<R, T>(plan: &Plan<R, T>, value: &T, checked: bool) -> Result<Vec<u8>, String> {
    let encoded = (plan.encode)(value).map_err(|error| error.to_string())?;
    if checked {
        let decoded = (plan.decode)(&encoded).map_err(|error| format!("it does not decode: {error}"))?;
        if plan.equal.is_some_and(|equal| equal(value, value) && !equal(value, &decoded)) {
            return Err("it decodes into a value that is not equal to it".to_owned());
        }
    }
    Ok(encoded)
}
