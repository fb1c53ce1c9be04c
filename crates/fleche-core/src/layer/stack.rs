//! `Stack`: a hierarchy of stores, like the cache levels of a processor.

mod stores;

use std::{
    any::Any,
    collections::HashSet,
    fmt,
    path::Path,
    sync::{Arc, Condvar, Mutex, MutexGuard},
};

use serde::{Deserialize, Serialize};

use super::{invalid, open_all, require_some, smallest_reach};
use crate::{
    digest::Digest,
    error::{Error, Result},
    runtime::{lock::LockResultExt, log::Throttle},
    store::{CallStore, CallStoreConfig, Reach, ValueStore, ValueStoreConfig},
};

/// A hierarchy of stores, such as a fast local one in front of a shared one.
///
/// - **Reads** ask the stores in order. An entry found in a later store is copied to all earlier ones; concurrent reads
///   copy it once.
/// - **Writes** go to the first store. If several stores have an entry with the same key, the first store's entry is used.
/// - **Removals** apply to all stores, and are refused if a store that has the entry refuses.
/// - **Claims** are those of the first store: among the processes that share it, one computes a missing call.
///
/// If an entry is removed while another process, or another stack of the same stores, is copying it to the first store,
/// it may reappear there.
///
/// An error of one store is an error of the stack, except when copying to an earlier store fails.
pub struct Stack<S> {
    stores: Vec<S>,
    entry_locks: KeyLocks,
}

/// The configuration of a [`Stack`]: `{"type":"stack","stores":[…]}`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StackConfig<C> {
    /// The stores in the order in which they are read. The first is written to.
    pub stores: Vec<C>,
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
        let stores = require_some("stack", stores)?;
        no_stack_in(stores.iter().map(Stackable::is_stack))?;
        Ok(Self { stores, entry_locks: KeyLocks::default() })
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
    fn first_and_rest(&self) -> (&S, &[S]) {
        // `new` ensures that there is at least one store.
        (&self.stores[0], &self.stores[1..])
    }
}

/// Copies an entry to the stores before the one that has it, the last of them first. A failure is only logged, and a
/// refusal is ignored.
fn copy_to_earlier<S>(before: &[S], put: impl Fn(&S) -> Result<()>) {
    for store in before.iter().rev() {
        match put(store) {
            Ok(()) | Err(Error::Refused { .. }) => {}
            Err(error) => {
                static FAULTS: Throttle = Throttle::new();
                crate::runtime::log::warn_rarely!(
                    &FAULTS, error.kind(), error = %error.report(), "a stack cannot copy an entry to a store in front of the one that has it"
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

/// A lock for each entry, which exists while it is held.
#[derive(Default)]
struct KeyLocks {
    held: Mutex<HashSet<Digest>>,
    released: Condvar,
}

impl KeyLocks {
    /// Locks the entry. Blocks while another thread of this process holds its lock.
    fn lock(&self, id: &Digest) -> KeyLockGuard<'_> {
        let held = self.released.wait_while(self.lock_table(), |held| held.contains(id));
        held.ignore_poison().insert(*id);
        KeyLockGuard { locks: self, id: *id }
    }

    fn lock_table(&self) -> MutexGuard<'_, HashSet<Digest>> {
        self.held.lock().ignore_poison()
    }
}

/// A guard that holds the lock of one entry.
struct KeyLockGuard<'a> {
    locks: &'a KeyLocks,
    id: Digest,
}

impl Drop for KeyLockGuard<'_> {
    fn drop(&mut self) {
        self.locks.lock_table().remove(&self.id);
        self.locks.released.notify_all();
    }
}

/// Checks that no store of a stack is itself a stack.
///
/// # Errors
/// Fails with [`Error::Config`] if one of the stores is a stack.
fn no_stack_in(are_stacks: impl IntoIterator<Item = bool>) -> Result<()> {
    if are_stacks.into_iter().any(|is_stack| is_stack) {
        return Err(invalid("stack", "one of its stores is a stack: list the stores of that stack instead"));
    }
    Ok(())
}

macro_rules! stack_config {
    ($config:ident, $store:ident, $new:ident) => {
        #[typetag::serde(name = "stack")]
        impl $config for StackConfig<Box<dyn $config>> {
            fn open(&self) -> Result<Arc<dyn $store>> {
                no_stack_in(self.stores.iter().map(|config| (&**config as &dyn Any).is::<Self>()))?;
                Ok(Arc::new(Stack::$new(open_all(&self.stores, |config| config.open())?)?))
            }
            fn reach(&self) -> Reach {
                smallest_reach(self.stores.iter().map(|config| config.reach()))
            }
            fn resolve(&mut self, directory: &Path) {
                self.stores.iter_mut().for_each(|config| config.resolve(directory));
            }
        }
    };
}

stack_config! { ValueStoreConfig, ValueStore, values }
stack_config! { CallStoreConfig, CallStore, calls }
