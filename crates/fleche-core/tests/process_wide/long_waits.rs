//! Tests of the warnings about long waits. The test changes what counts as long.

use std::{
    io,
    sync::{Arc, Condvar, LazyLock, Mutex},
    thread,
    time::Duration,
};

use fleche_core::{__private::set_long_wait, Cache, CallStore, claim::Claim, fleche};
use fleche_store_file::{FileCalls, FileValues};
use fleche_store_memory::{MemoryCalls, MemoryValues};

use crate::own_process::run_alone;

/// The captured log, which threads can wait on.
#[derive(Default)]
struct Log {
    text: Mutex<String>,
    grown: Condvar,
}

impl Log {
    /// Returns once a warning names the function.
    fn until_it_tells_of(&self, function: &str) -> String {
        let text = self.text.lock().unwrap();
        let text = self.grown.wait_while(text, |text| !text.contains(function)).unwrap();
        text.lines().find(|line| line.contains(function)).unwrap_or_default().to_owned()
    }
}

#[derive(Clone)]
struct Writer(Arc<Log>);

impl io::Write for Writer {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.text.lock().unwrap().push_str(&String::from_utf8_lossy(bytes));
        self.0.grown.notify_all();
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

static LOG: LazyLock<Arc<Log>> = LazyLock::new(Arc::default);

/// The body runs until a warning says that another call waits for it.
#[fleche]
fn on_a_thread(x: u64) -> u64 {
    LOG.until_it_tells_of("on_a_thread");
    x
}

#[fleche]
async fn in_a_task(x: u64) -> u64 {
    tokio::task::spawn_blocking(|| LOG.until_it_tells_of("in_a_task")).await.unwrap();
    x
}

#[fleche]
fn elsewhere(x: u64) -> u64 {
    x
}

#[test]
fn long_wait_is_reported_once_with_the_computing_thread() {
    run_alone("long_waits::long_wait_is_reported_once_with_the_computing_thread", || {
        let log = || Writer(LOG.clone());
        let subscriber =
            tracing_subscriber::fmt().with_ansi(false).with_max_level(tracing::Level::WARN).with_writer(log);
        tracing::subscriber::set_global_default(subscriber.finish()).unwrap();
        set_long_wait(Duration::from_millis(20));
        let cache = Cache::new(MemoryValues::new(), MemoryCalls::new());
        let process = std::process::id().to_string();

        thread::scope(|scope| {
            for _ in 0..2 {
                scope.spawn(|| cache.scope(|| on_a_thread(1)));
            }
        });
        let line = LOG.until_it_tells_of("on_a_thread");
        assert!(["thread ", &process, "since ", "wait_timeout"].iter().all(|part| line.contains(part)), "{line}");

        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).build().unwrap();
        let calls = [(); 2].map(|()| runtime.spawn(cache.scope(|| in_a_task(1))));
        assert_eq!(calls.map(|call| runtime.block_on(call).unwrap()), [1, 1]);
        assert!(LOG.until_it_tells_of("in_a_task").contains("a task of this process"));

        let root = tempfile::tempdir().unwrap();
        let calls = FileCalls::open(root.path().join("calls")).unwrap();
        let claim = calls.claim(&elsewhere::key(1)).unwrap();
        assert!(matches!(claim, Claim::Held(_)));
        let cache = Cache::new(FileValues::open(root.path().join("values")).unwrap(), calls);
        thread::scope(|scope| {
            let call = scope.spawn(|| cache.scope(|| elsewhere(1)));
            assert!(LOG.until_it_tells_of("elsewhere").contains(&format!("process {process} on ")));
            drop(claim);
            assert_eq!(call.join().unwrap(), 1);
        });
        let text = LOG.text.lock().unwrap();
        assert_eq!(text.lines().filter(|line| line.contains("has waited")).count(), 3, "{text}");
    });
}
