//! Tests of children of `fork()`: calls run without the cache, nothing of the parent is touched, and nothing hangs. In
//! a separate process, so that no locks of other tests are copied into the children.
#![cfg(unix)]
#![allow(missing_docs)]

use std::{
    cell::Cell,
    sync::atomic::{
        AtomicBool, AtomicU64,
        Ordering::{Relaxed, SeqCst},
    },
    thread,
};

use fleche_conformance::in_forked_child;
use fleche_core::{
    Cache, Error, Executor, ExecutorExt, Query, active_cache, fleche, set_default_cache, spi::fork, wrap_executor,
};
use fleche_exec::ThreadPool;
use fleche_store_file::{FileCalls, FileValues};
use fleche_store_memory::{MemoryCalls, MemoryValues};

static BODIES: AtomicU64 = AtomicU64::new(0);

#[fleche]
fn next(x: u64) -> u64 {
    BODIES.fetch_add(1, SeqCst);
    x + 1
}

#[fleche]
fn pair<T: serde::Serialize + serde::de::DeserializeOwned + Clone + Send + Sync + 'static>(x: T) -> (T, T) {
    BODIES.fetch_add(1, SeqCst);
    (x.clone(), x)
}

thread_local! {
    static FORKS: Cell<bool> = const { Cell::new(false) };
    static IS_CHILD: Cell<bool> = const { Cell::new(false) };
}

/// A body that forks. The child also returns through the engine.
#[fleche]
fn forks(x: u64) -> u64 {
    if FORKS.replace(false) {
        // SAFETY: the child ends by `_exit` as soon as the call has returned.
        #[allow(unsafe_code)]
        let forked = unsafe { nix::unistd::fork() }.unwrap();
        match forked {
            nix::unistd::ForkResult::Child => IS_CHILD.set(true),
            nix::unistd::ForkResult::Parent { child } => {
                let ended = nix::sys::wait::waitpid(child, None).unwrap();
                assert_eq!(ended, nix::sys::wait::WaitStatus::Exited(child, 0));
            }
        }
    }
    x
}

fn memory() -> Cache {
    Cache::new(MemoryValues::new(), MemoryCalls::new())
}

/// Returns how many bodies run in this process during the closure.
fn bodies(run: impl FnOnce()) -> u64 {
    let before = BODIES.load(SeqCst);
    run();
    BODIES.load(SeqCst) - before
}

#[test]
fn forked_child_runs_without_the_cache() {
    let root = tempfile::tempdir().unwrap();
    let files = || {
        let (values, calls) = (root.path().join("values"), root.path().join("calls"));
        Cache::new(FileValues::open(values).unwrap(), FileCalls::open(calls).unwrap())
    };
    for cache in [memory(), files()] {
        calls_in_children(&cache);
        children_of_busy_parents(&cache);
        direct_use(&cache);
        child_of_a_body(&cache);
    }
    set_default_cache(memory());
    calls_in_children(&active_cache());
    pools();
}

fn calls_in_children(cache: &Cache) {
    let _active = cache.enter();
    // This thread now keeps the results in front of the stores.
    assert_eq!((next(1), next(1), pair(2_u64)), (2, 2, (2, 2)));
    let before = cache.stats();
    assert!(in_forked_child(|| {
        let own = bodies(|| {
            next(1);
            next(1);
            pair(2_u64);
            pair(2.5);
            cache.scope(|| next(1));
            thread::spawn(|| next(1)).join().unwrap_or_default();
        });
        fork::is_child() && own == 6
    }));
    assert!(!fork::is_child());
    assert_eq!(cache.stats(), before);
    assert!(cache.query(&Query::new()).unwrap().count() >= 2);
}

/// Threads that miss hold locks of the engine and of stores most of the time.
fn children_of_busy_parents(cache: &Cache) {
    let (stop, fresh) = (AtomicBool::new(false), AtomicU64::new(1_000));
    thread::scope(|scope| {
        for _ in 0..3 {
            scope.spawn(|| {
                cache.scope(|| {
                    while !stop.load(Relaxed) {
                        let x = fresh.fetch_add(1, Relaxed);
                        assert_eq!(next(x), x + 1);
                    }
                });
            });
        }
        let _active = cache.enter();
        let failed = (0..50).filter(|_| !in_forked_child(|| (0..30).all(|x| next(x) == x + 1))).count();
        stop.store(true, Relaxed);
        assert_eq!(failed, 0);
    });
}

fn direct_use(cache: &Cache) {
    let key = next::key(1);
    let is_refused = |error: Option<Error>| matches!(error, Some(Error::Forked { .. }));
    assert!(in_forked_child(|| {
        let handle = cache.clone();
        let refused = [
            cache.record(&key).err(),
            cache.contains(&key).err(),
            cache.evict(&key).err(),
            cache.query(&Query::new()).err(),
            cache.verify(|_| ()).err(),
            cache.calls().get(&key).err(),
            cache.calls().remove(&key, None).err(),
            cache.values().contains(key.digest()).err(),
            Cache::from_config(&cache.config()).err(),
        ]
        .into_iter()
        .all(is_refused);
        set_default_cache(Cache::void());
        let installed = Cache::void().install(|| next(1)) == 2;
        drop(handle);
        refused && installed
    }));
    assert!(cache.contains(&key).unwrap());
}

fn child_of_a_body(cache: &Cache) {
    let _active = cache.enter();
    FORKS.set(true);
    let result = forks(7);
    if IS_CHILD.get() {
        // SAFETY: the forked child ends here and uses nothing afterwards.
        #[allow(unsafe_code)]
        unsafe {
            nix::libc::_exit(i32::from(result != 7))
        }
    }
    assert_eq!(result, 7);
    assert!(cache.contains(&forks::key(7)).unwrap());
}

fn pools() {
    let pool = ThreadPool::new(1).unwrap();
    let (gate, opens) = std::sync::mpsc::channel::<()>();
    let pending = pool.spawn(move || opens.recv().is_ok());
    assert!(in_forked_child(|| {
        let refused = pool.submit(next, (1,)).result().is_err();
        let wrapped = wrap_executor(pool.clone()).submit(next, (1,)).result().is_err();
        // The parent gets the result.
        pending.wait();
        let lost = !pending.is_done();
        // A new pool of the child has threads.
        let own = ThreadPool::new(1).is_ok_and(|own| own.submit(next, (1,)).result() == Ok(2));
        drop(pool.clone());
        pool.shutdown();
        pool.reach();
        refused && wrapped && lost && own
    }));
    gate.send(()).unwrap();
    assert_eq!(pending.result(), Ok(true));
}
