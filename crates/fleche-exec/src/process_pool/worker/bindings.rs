//! The bindings that arrive with tasks, and the caches that they describe.

use std::{
    collections::HashMap,
    mem,
    sync::{Arc, Mutex},
};

use bytes::Bytes;
use fleche_core::{
    Cache, CallStore, Result, Stats, ValueStore,
    context::Binding,
    encoding,
    spi::{BindingSpi, CacheSpi, LockResultExt},
    store::Reach,
};

use fleche_remote::spi::{Client, RemoteCalls, RemoteValues};

use crate::process_pool::codec::SentBinding;

/// Known bindings by their bytes: most tasks have a binding that has arrived before.
pub(super) struct Bindings {
    channel: Arc<Client>,
    known: HashMap<Bytes, Known>,
}

/// A binding, and the counters of its cache that have been reported to the pool.
#[derive(Clone)]
pub(super) struct Known {
    pub(super) binding: Binding,
    reported: Arc<Mutex<Stats>>,
}

impl Known {
    /// Returns the counters that have not been reported yet, encoded; empty for none.
    pub(super) fn unreported_stats(&self) -> Vec<u8> {
        let now = self.binding.cache().stats();
        let mut reported = self.reported.lock().ignore_poison();
        if *reported == now {
            return Vec::new();
        }
        let unreported_stats = now.since(&mem::replace(&mut reported, now.clone()));
        // Encoding numbers and names does not fail.
        encoding::to_vec(&unreported_stats).unwrap_or_default()
    }
}

/// The maximum number of bindings that are kept, with the stores that they hold open.
const MAX_BINDINGS: usize = 32;

impl Bindings {
    pub(super) fn new(channel: Arc<Client>) -> Self {
        Self { channel, known: HashMap::new() }
    }

    /// Returns the binding of these bytes, or `None` for no bytes.
    pub(super) fn get(&mut self, bytes: &Bytes) -> Result<Option<Known>> {
        if bytes.is_empty() {
            return Ok(None);
        }
        if let Some(known) = self.known.get(bytes) {
            // What was evicted between two tasks must not be served from the hot tier.
            known.binding.cache().invalidate_hot();
            return Ok(Some(known.clone()));
        }
        let sent: SentBinding = encoding::from_slice(bytes)?;
        let cache = self.cache(&sent);
        let known = Known { binding: Binding::from_config(sent.config, cache), reported: Arc::default() };
        if self.known.len() == MAX_BINDINGS {
            self.known.clear();
        }
        // A copy, since the bytes share memory with a frame that also holds the arguments.
        self.known.insert(Bytes::copy_from_slice(bytes), known.clone());
        Ok(Some(known))
    }

    /// Opens stores that several processes may open. Operations on all other stores, and on those that cannot be
    /// opened, are sent to the pool's process.
    fn cache(&self, sent: &SentBinding) -> Cache {
        let config = &sent.config.cache;
        if *config == Cache::void().config() {
            return Cache::void();
        }
        let values: Arc<dyn ValueStore> = match opened(config.values.reach(), || config.values.open()) {
            Some(store) => store,
            None => Arc::new(RemoteValues::new(self.channel.clone(), sent.values, config.values.clone())),
        };
        let calls: Arc<dyn CallStore> = match opened(config.calls.reach(), || config.calls.open()) {
            Some(store) => store,
            None => Arc::new(RemoteCalls::new(self.channel.clone(), sent.calls, config.calls.clone())),
        };
        Cache::builder()
            .values(values)
            .calls(calls)
            .store_arguments(config.store_arguments)
            .hot_tier(config.hot)
            .stale(config.stale)
            .build()
    }
}

fn opened<S>(reach: Reach, open: impl FnOnce() -> Result<S>) -> Option<S> {
    if reach != Reach::Shared {
        return None;
    }
    open()
        .inspect_err(
            |error| fleche_core::spi::log::warn!(error = %error.report(), "cannot open a store in a worker; it is used through the pool's process"),
        )
        .ok()
}
