//! Calls and bindings as bytes.

use bytes::Bytes;
use fleche_core::{Result, context::BindingConfig, encoding, executor::PortableCall};
use serde::{Deserialize, Serialize};

use super::stores::Served;

/// A binding, with the numbers of its stores in the process that made it.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct SentBinding {
    pub(super) config: BindingConfig,
    pub(super) values: u64,
    pub(super) calls: u64,
}

/// The parts of a task's frame: function, binding (or nothing), setting (nothing yet), each argument.
pub(super) fn call(call: PortableCall, served: &Served) -> Result<Vec<Bytes>> {
    let binding = match &call.binding {
        None => Vec::new(),
        Some(binding) => {
            let cache = binding.cache();
            let (values, calls) = served.numbers(cache.values(), cache.calls());
            encoding::to_vec(&SentBinding { config: binding.config()?, values, calls })?
        }
    };
    let function = encoding::to_vec(&call.function)?;
    Ok([function.into(), binding.into(), Bytes::new()].into_iter().chain(call.into_arguments()).collect())
}
