//! Fixtures of several modules: two programs that share a store and have different functions with the same name, functions
//! with long results, and runtimes.

use std::{
    collections::HashMap,
    future::Future,
    pin::pin,
    sync::Arc,
    task::{Context, Poll, Wake},
    thread::{self, Thread},
};

use fleche_core::{
    Cache, CallKey, CallStore, Digest, Error, Record, Result, cache::HotTier, call::RecordSummary, claim::Claim,
    store::kit,
};
use fleche_store_memory::{MemoryCalls, MemoryValues};

use crate::support::memory;

/// Defines a function before and after it is edited.
macro_rules! edited {
    ($before:ident, $now:ident $(, $option:ident = $value:literal)*) => {
        static BEFORE: $crate::support::Runs = $crate::support::Runs::new();
        static NOW: $crate::support::Runs = $crate::support::Runs::new();
        #[fleche_core::fleche($($option = $value),*)]
        fn $before(x: u64) -> Vec<u64> {
            BEFORE.count();
            vec![x; 20]
        }
        #[fleche_core::fleche($($option = $value),*)]
        fn $now(x: u64) -> Vec<u64> {
            NOW.count();
            vec![x + 1; 20]
        }
    };
}

/// A call store as seen by a program whose function has the same name as another program's. Within one process,
/// functions need different names, so the keys are mapped.
#[derive(Debug)]
pub(crate) struct SameName<S = MemoryCalls> {
    pub(crate) store: S,
    /// Maps the keys of this program's function to those of the other's.
    pub(crate) keys: HashMap<CallKey, CallKey>,
    /// The key whose record cannot be written.
    pub(crate) full: Option<CallKey>,
}

impl<S> SameName<S> {
    fn key(&self, key: &CallKey) -> CallKey {
        self.keys.get(key).copied().unwrap_or(*key)
    }
}

impl<S: CallStore> kit::CallStoreWrapper for SameName<S> {
    type Inner = S;

    fn inner(&self) -> &S {
        &self.store
    }
    fn get(&self, key: &CallKey) -> Result<Option<Record>> {
        self.store.get(&self.key(key))
    }
    fn summary(&self, key: &CallKey) -> Result<Option<RecordSummary>> {
        self.store.summary(&self.key(key))
    }
    fn put(&self, key: &CallKey, record: &Record) -> Result<()> {
        if self.full == Some(*key) {
            let source = std::io::Error::other("no space left on device");
            return Err(Error::Io { action: "write", path: "store".into(), source });
        }
        self.store.put(&self.key(key), record)
    }
    fn contains(&self, key: &CallKey) -> Result<bool> {
        self.store.contains(&self.key(key))
    }
    fn remove(&self, key: &CallKey, only: Option<&Record>) -> Result<bool> {
        self.store.remove(&self.key(key), only)
    }
    fn claim(&self, key: &CallKey) -> Result<Claim> {
        self.store.claim(&self.key(key))
    }
    fn is_exclusive(&self) -> bool {
        false
    }
}

/// Returns the code digest that a call records.
fn code(key: CallKey, call: impl FnOnce()) -> Digest {
    let cache = memory();
    cache.scope(call);
    cache.record(&key).unwrap().unwrap().function.code
}

/// A store as seen by two programs whose functions have the same name.
pub(crate) struct Programs {
    pub(crate) before: Cache,
    pub(crate) now: Cache,
    pub(crate) values: MemoryValues,
    pub(crate) calls: MemoryCalls,
    pub(crate) keys: HashMap<CallKey, CallKey>,
    /// The key under which `now` preserves the record of `before`.
    pub(crate) kept: CallKey,
}

impl Programs {
    pub(crate) fn new(before: (CallKey, fn()), now: (CallKey, fn())) -> Self {
        let codes = [code(before.0, before.1), code(now.0, now.1)];
        assert_ne!(codes[0], codes[1]);
        let replaced = codes.map(|code| (now.0.for_replaced(&code), before.0.for_replaced(&code)));
        let keys: HashMap<_, _> = replaced.into_iter().chain([(now.0, before.0)]).collect();
        let (values, calls) = (MemoryValues::new(), MemoryCalls::new());
        let uncooled = Cache::new(values.clone(), calls.clone());
        let mut programs = Self { before: uncooled.clone(), now: uncooled, values, calls, keys, kept: replaced[0].0 };
        programs.before = programs.before.to_builder().hot_tier(HotTier::OFF).build();
        programs.now = programs.with(None);
        programs
    }

    /// Returns the second program's cache, which cannot write the record with this key.
    pub(crate) fn with(&self, full: Option<CallKey>) -> Cache {
        let calls = SameName { store: self.calls.clone(), keys: self.keys.clone(), full };
        Cache::builder().values(self.values.clone()).calls(calls).hot_tier(HotTier::OFF).build()
    }
}

macro_rules! programs {
    ($before:ident, $now:ident) => {{
        let programs =
            $crate::fixtures::Programs::new(($before::key(1), || drop($before(1))), ($now::key(1), || drop($now(1))));
        assert_eq!((BEFORE.take(), NOW.take()), (1, 1));
        programs
    }};
}

pub(crate) use {edited, programs};

/// Defines a memoized function of this name that returns a string of the given length, and the counter of its bodies.
/// Results of more than 64 encoded bytes go to the value store.
macro_rules! long_result {
    ($name:ident) => {
        static RUNS: crate::support::Runs = crate::support::Runs::new();
        #[fleche_core::fleche]
        fn $name(length: usize) -> String {
            RUNS.count();
            "y".repeat(length)
        }
    };
}
pub(crate) use long_result;

/// Polls the future on this thread, and parks in between.
pub(crate) fn block_on<F: Future>(future: F) -> F::Output {
    struct Unpark(Thread);
    impl Wake for Unpark {
        fn wake(self: Arc<Self>) {
            self.0.unpark();
        }
    }
    let mut future = pin!(future);
    let waker = Arc::new(Unpark(thread::current())).into();
    loop {
        match future.as_mut().poll(&mut Context::from_waker(&waker)) {
            Poll::Ready(output) => return output,
            Poll::Pending => thread::park(),
        }
    }
}

/// Creates a tokio runtime with two worker threads.
pub(crate) fn tokio() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_multi_thread().worker_threads(2).build().unwrap()
}
