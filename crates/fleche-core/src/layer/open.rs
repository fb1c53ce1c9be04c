//! Opens layers from their configurations.

use std::{any::Any, path::Path, sync::Arc};

use super::{
    Pool, ReadOnly, Stack,
    config::{PoolConfig, ReadOnlyConfig, StackConfig, no_stack_in},
};
use crate::{
    error::Result,
    store::{CallStore, CallStoreConfig, Reach, ValueStore, ValueStoreConfig},
};

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
