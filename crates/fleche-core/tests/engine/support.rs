//! Support for the tests: caches, counters of bodies, and captured logs.

use std::{
    io,
    sync::{
        Arc, Mutex, Once,
        atomic::{AtomicUsize, Ordering::SeqCst},
    },
};

use fleche_core::Cache;
use fleche_store_memory::{MemoryCalls, MemoryValues};

/// Creates a new, empty cache in memory.
pub(crate) fn memory() -> Cache {
    Cache::new(MemoryValues::new(), MemoryCalls::new())
}

/// Counts the bodies that ran.
pub(crate) struct Runs(AtomicUsize);

impl Runs {
    pub(crate) const fn new() -> Self {
        Self(AtomicUsize::new(0))
    }

    /// Counts a run of a body.
    pub(crate) fn count(&self) {
        self.0.fetch_add(1, SeqCst);
    }

    /// Returns the number of runs since the last call.
    pub(crate) fn take(&self) -> usize {
        self.0.swap(0, SeqCst)
    }
}

/// Returns the closure's result and the messages that it logged on this thread, without the events of ordinary lookups.
pub(crate) fn logged<R>(run: impl FnOnce() -> R) -> (R, String) {
    let (result, log) = logged_with_calls(run);
    let is_look_up = |line: &&str| {
        ["hit", "miss", "skip"].iter().any(|event| line.contains(&format!("fleche_core::calls: {event} ")))
    };
    (result, log.split_inclusive('\n').filter(|line| !is_look_up(line)).collect())
}

/// Like [`logged`], with the events of lookups.
pub(crate) fn logged_with_calls<R>(run: impl FnOnce() -> R) -> (R, String) {
    #[derive(Clone, Default)]
    struct Log(Arc<Mutex<Vec<u8>>>);
    impl io::Write for Log {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().extend_from_slice(bytes);
            Ok(bytes.len())
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }
    // With a single subscriber, `tracing` would disable an event that first occurs on another thread.
    static ANOTHER: Once = Once::new();
    ANOTHER.call_once(|| drop(tracing::subscriber::set_global_default(tracing_subscriber::registry())));
    let log = Log::default();
    let writer = log.clone();
    let subscriber = tracing_subscriber::fmt()
        .with_max_level(tracing::Level::DEBUG)
        .with_ansi(false)
        .with_writer(move || writer.clone())
        .finish();
    let result = tracing::subscriber::with_default(subscriber, run);
    let text = String::from_utf8(log.0.lock().unwrap().clone()).unwrap();
    (result, text)
}
