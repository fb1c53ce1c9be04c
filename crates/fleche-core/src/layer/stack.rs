//! `Stack`: stores one behind the other, as caches of a processor are.

mod calls;
mod keyed;
mod values;

use std::{any::Any, fmt};

use super::{
    StackConfig,
    config::{no_stack_in, some},
};
use crate::{
    error::{Error, Result},
    store::{CallStore, CallStoreConfig, ValueStore, ValueStoreConfig},
};
use keyed::Keyed;

/// Stores one behind the other: a near, quick one before one that others share, say.
///
/// - **Reading** asks each in turn. What is found further down is copied to all before it, once, however many ask for it.
/// - **Writing** goes to the first. Where that and others have an entry under one key, that of the first counts.
/// - **Removing** removes from all, and is refused where one of them that has the entry refuses.
/// - **Claims** are those of the first: of those who share it, one computes a missing call.
///
/// Who removes an entry while another process, or another stack of the same stores, is about to copy it to the front, may
/// find it there again.
///
/// A fault of one store is a fault of the stack, except where only copying failed.
pub struct Stack<S> {
    stores: Vec<S>,
    changing: Keyed,
}

impl<S: ValueStore> Stack<S> {
    /// A stack of these stores of values, that which is asked first, and written to, first.
    ///
    /// # Errors
    /// [`Error::Config`] if there are none, or one is a stack itself.
    pub fn values(stores: impl IntoIterator<Item = S>) -> Result<Self> {
        let stores = some("stack", stores)?;
        let configs: Vec<_> = stores.iter().map(ValueStore::config).collect();
        no_stack_in(configs.iter().map(|config| &**config as &dyn Any), |config| {
            config.is::<StackConfig<Box<dyn ValueStoreConfig>>>()
        })?;
        Ok(Self { stores, changing: Keyed::default() })
    }
}

impl<S: CallStore> Stack<S> {
    /// As [`values`](Self::values), of stores of records.
    ///
    /// # Errors
    /// As [`values`](Self::values).
    pub fn calls(stores: impl IntoIterator<Item = S>) -> Result<Self> {
        let stores = some("stack", stores)?;
        let configs: Vec<_> = stores.iter().map(CallStore::config).collect();
        no_stack_in(configs.iter().map(|config| &**config as &dyn Any), |config| {
            config.is::<StackConfig<Box<dyn CallStoreConfig>>>()
        })?;
        Ok(Self { stores, changing: Keyed::default() })
    }
}

impl<S> Stack<S> {
    /// The first store, and those behind it.
    fn parts(&self) -> (&S, &[S]) {
        // There is one, or there would be no stack.
        (&self.stores[0], &self.stores[1..])
    }
}

/// Copies to the stores before the one where something was found, the nearest to that first. Where one does not take it,
/// that is said and no more.
fn fill<S>(before: &[S], put: impl Fn(&S) -> Result<()>) {
    for store in before.iter().rev() {
        match put(store) {
            Ok(()) | Err(Error::Refused { .. }) => {}
            Err(error) => {
                crate::log::warn!(%error, "what a stack has found further down cannot be copied to the front");
            }
        }
    }
}

impl<S: fmt::Debug> fmt::Debug for Stack<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Stack").field(&self.stores).finish()
    }
}
