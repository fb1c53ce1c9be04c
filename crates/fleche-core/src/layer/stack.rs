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
    log::Throttle,
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

/// The kind of a [`Stack`] of stores of values; see [`Stackable`].
#[derive(Debug)]
pub enum OfValues {}

/// The kind of a [`Stack`] of stores of records; see [`Stackable`].
#[derive(Debug)]
pub enum OfCalls {}

/// A store that [`Stack::new`] takes. Every store is one: with the kind [`OfValues`] if it is a [`ValueStore`], with the
/// kind [`OfCalls`] if it is a [`CallStore`].
pub trait Stackable<Kind> {
    /// Returns whether the store is itself a stack.
    #[doc(hidden)]
    fn is_stack(&self) -> bool;
}

impl<S: ValueStore> Stackable<OfValues> for S {
    fn is_stack(&self) -> bool {
        (&*self.config() as &dyn Any).is::<StackConfig<Box<dyn ValueStoreConfig>>>()
    }
}

impl<S: CallStore> Stackable<OfCalls> for S {
    fn is_stack(&self) -> bool {
        (&*self.config() as &dyn Any).is::<StackConfig<Box<dyn CallStoreConfig>>>()
    }
}

impl<S> Stack<S> {
    /// Creates a stack of stores of values or of records. The first store is asked first, and written to.
    ///
    /// The compiler finds out the kind from the stores. For a type that is both, such as [`Void`](super::Void), use
    /// [`values`](Self::values) or [`calls`](Self::calls). Stores of different types are boxed:
    ///
    /// ```
    /// use fleche_core::{Cache, CallStore, ValueStore, layer::{ReadOnly, Stack}};
    /// # use fleche_store_memory::{MemoryCalls, MemoryValues};
    ///
    /// # let (shared_values, shared_calls) = (MemoryValues::new(), MemoryCalls::new());
    /// let values: [Box<dyn ValueStore>; 2] = [Box::new(MemoryValues::new()), Box::new(ReadOnly::new(shared_values))];
    /// let calls: [Box<dyn CallStore>; 2] = [Box::new(MemoryCalls::new()), Box::new(ReadOnly::new(shared_calls))];
    /// let cache = Cache::new(Stack::new(values)?, Stack::new(calls)?);
    /// # assert!(cache.calls().keys(&fleche_core::DigestPrefix::all())?.next().is_none());
    /// # Ok::<(), fleche_core::Error>(())
    /// ```
    ///
    /// # Errors
    /// [`Error::Config`] if there are no stores, or if one of them is a stack.
    pub fn new<Kind>(stores: impl IntoIterator<Item = S>) -> Result<Self>
    where
        S: Stackable<Kind>,
    {
        let stores = some("stack", stores)?;
        no_stack_in(stores.iter().map(Stackable::is_stack))?;
        Ok(Self { stores, changing: Keyed::default() })
    }
}

impl<S: ValueStore> Stack<S> {
    /// As [`new`](Self::new), of stores of values.
    ///
    /// # Errors
    /// As [`new`](Self::new).
    pub fn values(stores: impl IntoIterator<Item = S>) -> Result<Self> {
        Self::new::<OfValues>(stores)
    }
}

impl<S: CallStore> Stack<S> {
    /// As [`new`](Self::new), of stores of records.
    ///
    /// # Errors
    /// As [`new`](Self::new).
    pub fn calls(stores: impl IntoIterator<Item = S>) -> Result<Self> {
        Self::new::<OfCalls>(stores)
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
                static FAULTS: Throttle = Throttle::new();
                crate::log::warn_rarely!(&FAULTS, error.kind(), %error, "what a stack has found further down cannot be copied to the front");
            }
        }
    }
}

impl<S: fmt::Debug> fmt::Debug for Stack<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Stack").field(&self.stores).finish()
    }
}
