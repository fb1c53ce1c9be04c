//! `Stack`: a hierarchy of stores, like the cache levels of a processor.

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
    runtime::log::Throttle,
    store::{CallStore, CallStoreConfig, ValueStore, ValueStoreConfig},
};
use keyed::Keyed;

/// A hierarchy of stores, such as a fast local one in front of a shared one.
///
/// - **Reads** ask the stores in order. An entry found in a later store is copied to all earlier ones; concurrent reads
///   copy it once.
/// - **Writes** go to the first store. If several stores have an entry with the same key, the first one's counts.
/// - **Removals** apply to all stores, and are refused if a store that has the entry refuses.
/// - **Claims** are those of the first store: among the processes that share it, one computes a missing call.
///
/// If an entry is removed while another process, or another stack of the same stores, is copying it to the first store,
/// it may reappear there.
///
/// An error of one store is an error of the stack, except when copying to an earlier store fails.
pub struct Stack<S> {
    stores: Vec<S>,
    changing: Keyed,
}

/// Marks a [`Stack`] of value stores; see [`Stackable`].
#[derive(Debug)]
pub enum OfValues {}

/// Marks a [`Stack`] of call stores; see [`Stackable`].
#[derive(Debug)]
pub enum OfCalls {}

/// A store that [`Stack::new`] accepts. Implemented for every store, with the kind [`OfValues`] for a [`ValueStore`]
/// and with the kind [`OfCalls`] for a [`CallStore`].
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
    /// Creates a stack of value stores or of call stores. The first store is read first and written to.
    ///
    /// The compiler infers the kind from the stores. For a type that implements both traits, such as
    /// [`Void`](super::Void), use [`values`](Self::values) or [`calls`](Self::calls). Stores of different types must be
    /// boxed:
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
    /// Fails with [`Error::Config`] if there are no stores, or if one of them is a stack.
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
    /// Like [`new`](Self::new), for value stores.
    ///
    /// # Errors
    /// Fails as [`new`](Self::new) does.
    pub fn values(stores: impl IntoIterator<Item = S>) -> Result<Self> {
        Self::new::<OfValues>(stores)
    }
}

impl<S: CallStore> Stack<S> {
    /// Like [`new`](Self::new), for call stores.
    ///
    /// # Errors
    /// Fails as [`new`](Self::new) does.
    pub fn calls(stores: impl IntoIterator<Item = S>) -> Result<Self> {
        Self::new::<OfCalls>(stores)
    }
}

impl<S> Stack<S> {
    /// Returns the first store and the ones behind it.
    fn parts(&self) -> (&S, &[S]) {
        // `new` ensures that there is at least one store.
        (&self.stores[0], &self.stores[1..])
    }
}

/// Copies an entry to the stores before the one that has it, the last of them first. A failure is only logged, and a
/// refusal is ignored.
fn fill<S>(before: &[S], put: impl Fn(&S) -> Result<()>) {
    for store in before.iter().rev() {
        match put(store) {
            Ok(()) | Err(Error::Refused { .. }) => {}
            Err(error) => {
                static FAULTS: Throttle = Throttle::new();
                crate::runtime::log::warn_rarely!(
                    &FAULTS, error.kind(), %error, "a stack cannot copy an entry to a store in front of the one that has it"
                );
            }
        }
    }
}

impl<S: fmt::Debug> fmt::Debug for Stack<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Stack").field(&self.stores).finish()
    }
}
