//! The configurations of layers, which contain those of their stores.

use std::{any::Any, path::Path, sync::Arc};

use serde::{Deserialize, Serialize};

use super::{Pool, ReadOnly, Stack};
use crate::{
    error::{Error, Result},
    store::{CallStore, CallStoreConfig, Reach, ValueStore, ValueStoreConfig},
};

/// Describes how to open a [`Stack`]: `{"type":"stack","stores":[…]}`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StackConfig<C> {
    /// The stores in the order in which they are read. The first is written to.
    pub stores: Vec<C>,
}

/// Describes how to open a [`Pool`]: `{"type":"pool","stores":[…]}`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PoolConfig<C> {
    /// The stores in the order in which they are read.
    pub stores: Vec<C>,
}

/// Describes how to open a [`ReadOnly`]: `{"type":"read-only","store":…}`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ReadOnlyConfig<C> {
    /// The store that is only read.
    pub store: C,
}

macro_rules! layer_configs {
    ($config:ident, $store:ident, $new:ident) => {
        #[typetag::serde(name = "stack")]
        impl $config for StackConfig<Box<dyn $config>> {
            fn open(&self) -> Result<Arc<dyn $store>> {
                no_stack_in(self.stores.iter().map(|config| (&**config as &dyn Any).is::<Self>()))?;
                Ok(Arc::new(Stack::$new(opened(&self.stores, |config| config.open())?)?))
            }
            fn reach(&self) -> Reach {
                least(self.stores.iter().map(|config| config.reach()))
            }
            fn resolve(&mut self, directory: &Path) {
                self.stores.iter_mut().for_each(|config| config.resolve(directory));
            }
        }

        #[typetag::serde(name = "pool")]
        impl $config for PoolConfig<Box<dyn $config>> {
            fn open(&self) -> Result<Arc<dyn $store>> {
                Ok(Arc::new(Pool::new(opened(&self.stores, |config| config.open())?)?))
            }
            fn reach(&self) -> Reach {
                least(self.stores.iter().map(|config| config.reach()))
            }
            fn resolve(&mut self, directory: &Path) {
                self.stores.iter_mut().for_each(|config| config.resolve(directory));
            }
        }

        #[typetag::serde(name = "read-only")]
        impl $config for ReadOnlyConfig<Box<dyn $config>> {
            fn open(&self) -> Result<Arc<dyn $store>> {
                Ok(Arc::new(ReadOnly::new(self.store.open()?)))
            }
            fn reach(&self) -> Reach {
                self.store.reach()
            }
            fn resolve(&mut self, directory: &Path) {
                self.store.resolve(directory);
            }
        }
    };
}

layer_configs! { ValueStoreConfig, ValueStore, values }
layer_configs! { CallStoreConfig, CallStore, calls }

fn opened<C, S>(configs: &[C], open: impl Fn(&C) -> Result<S>) -> Result<Vec<S>> {
    configs.iter().map(open).collect()
}

fn least(reaches: impl Iterator<Item = Reach>) -> Reach {
    reaches.min().unwrap_or(Reach::Shared)
}

/// Checks that no store of a stack is itself a stack.
///
/// # Errors
/// Fails with [`Error::Config`] if one is.
pub(super) fn no_stack_in(are_stacks: impl IntoIterator<Item = bool>) -> Result<()> {
    if are_stacks.into_iter().any(|is_stack| is_stack) {
        return Err(invalid("stack", "one of its stores is a stack: list the stores of that stack instead"));
    }
    Ok(())
}

/// Collects the stores of a layer.
///
/// # Errors
/// Fails with [`Error::Config`] if there are none.
pub(super) fn some<S>(layer: &str, stores: impl IntoIterator<Item = S>) -> Result<Vec<S>> {
    let stores: Vec<_> = stores.into_iter().collect();
    if stores.is_empty() {
        return Err(invalid(layer, "it has no stores: list at least one, or use `void`, which stores nothing"));
    }
    Ok(stores)
}

fn invalid(layer: &str, why: &str) -> Error {
    Error::Config { place: format!("a layer of type `{layer}`"), why: why.to_owned() }
}
