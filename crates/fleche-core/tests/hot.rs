//! Tests of the hot tier, which keeps results in front of the stores.
#![allow(missing_docs)]

#[path = "engine/support.rs"]
#[allow(dead_code)] // The module is shared with the engine tests.
mod support;

use std::{
    sync::{
        Arc, Mutex, MutexGuard,
        atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst},
    },
    thread,
    time::Duration,
};

use fleche_core::{
    Cache, CacheConfig, CallStore, ValueStore,
    cache::HotTier,
    fleche,
    layer::{ReadOnly, Stack, Void},
    spi::LockResultExt,
};
use fleche_store_memory::{MemoryCalls, MemoryValues};
use serde::{Deserialize, Serialize};
use support::{Runs, memory};

/// Removes the record of a call from the store without the cache's knowledge.
fn forget_in_stores(cache: &Cache, key: fleche_core::CallKey) {
    assert!(cache.calls().remove(&key, None).unwrap());
}

/// Serializes the tests, because an eviction in one test invalidates the hot tiers of all caches in the process.
fn alone() -> MutexGuard<'static, ()> {
    static ALONE: Mutex<()> = Mutex::new(());
    ALONE.lock().ignore_poison()
}

macro_rules! counted {
    ($name:ident $(, $option:ident = $value:expr)?) => {
        static RUNS: Runs = Runs::new();
        #[fleche$(($option = $value))?]
        fn $name(x: u64, label: &str) -> String {
            RUNS.count();
            format!("{x}{label}")
        }
    };
}

#[test]
fn repeated_call_does_not_ask_the_stores() {
    counted!(f);
    let _alone = alone();
    let cache = memory();
    let _active = cache.enter();
    assert_eq!([f(1, "a"), f(1, "a"), f(2, "a"), f(1, "b")], ["1a", "1a", "2a", "1b"]);
    assert_eq!((RUNS.take(), cache.stats().hits), (3, 1));
    forget_in_stores(&cache, f::key(1, "a"));
    assert_eq!((f(1, "a"), RUNS.take()), ("1a".to_owned(), 0));
    assert!(!f::contains(1, "a").unwrap(), "`contains` must ask the store");
    // Other threads and other handles use the hot tier too.
    let elsewhere = thread::scope(|scope| scope.spawn(|| cache.clone().scope(|| f(1, "a"))).join().unwrap());
    assert_eq!((elsewhere, RUNS.take(), cache.stats().hits), ("1a".to_owned(), 0, 3));
}

#[fleche]
fn mixed(a: i8, b: f64, text: &str, flag: bool, wide: u128) -> String {
    format!("{a} {b:?} {text} {flag} {wide}")
}

#[fleche]
fn same_words(a: i8, b: f64, text: &str, flag: bool, wide: u128) -> String {
    format!("{wide} {flag} {text} {b:?} {a}")
}

#[fleche]
fn of_any<T: serde::Serialize + serde::de::DeserializeOwned + Clone + std::fmt::Debug + Sync + Send + 'static>(
    x: T,
) -> String {
    format!("{x:?}")
}

#[test]
fn calls_with_scalar_keys_are_distinguished_by_every_argument() {
    let _alone = alone();
    let cache = memory();
    let _active = cache.enter();
    // In total, some of these arguments are too long for a scalar key.
    let texts = [
        "",
        "a",
        "ab",
        "ab\0",
        "a text of eight and more",
        "a text of sixty bytes, which is longer than there is room for",
        "é",
    ];
    let mut calls = 0;
    for again in [false, true] {
        for a in [-1, 0, i8::MAX] {
            for b in [0.0, -0.0, f64::INFINITY] {
                for text in texts {
                    for (flag, wide) in [(true, 0), (false, 0), (false, 1), (false, 1 << 64)] {
                        assert_eq!(mixed(a, b, text, flag, wide), format!("{a} {b:?} {text} {flag} {wide}"));
                        assert_eq!(same_words(a, b, text, flag, wide), format!("{wide} {flag} {text} {b:?} {a}"));
                        calls += 2 * u64::from(!again);
                    }
                }
            }
        }
    }
    assert_eq!((cache.stats().computed, cache.stats().hits), (calls, calls));
}

#[test]
fn calls_of_a_generic_function_are_distinguished_by_type() {
    let _alone = alone();
    let cache = memory();
    let _active = cache.enter();
    for _ in 0..2 {
        assert_eq!([of_any(1_u8), of_any(true), of_any(1.0), of_any("1".to_owned())], ["1", "true", "1.0", "\"1\""]);
    }
    assert_eq!((cache.stats().computed, cache.stats().hits), (4, 4));
}

#[test]
fn result_read_from_a_store_is_kept() {
    counted!(read);
    let _alone = alone();
    let (values, calls) = (MemoryValues::new(), MemoryCalls::new());
    Cache::new(values.clone(), calls.clone()).scope(|| read(1, "a"));
    let cache = Cache::new(values, calls);
    let _active = cache.enter();
    read(1, "a");
    forget_in_stores(&cache, read::key(1, "a"));
    assert_eq!((read(1, "a"), RUNS.take(), cache.stats().hits), ("1a".to_owned(), 1, 2));
}

#[test]
fn eviction_applies_to_all_caches_of_the_store() {
    counted!(evicted);
    let _alone = alone();
    let (values, calls) = (MemoryValues::new(), MemoryCalls::new());
    let caches = [(); 2].map(|()| Cache::new(values.clone(), calls.clone()));
    let ask = || caches.each_ref().map(|cache| cache.scope(|| evicted(1, "a")));
    ask();
    assert_eq!(RUNS.take(), 1);
    assert!(caches[0].evict(&evicted::key(1, "a")).unwrap());
    ask();
    assert_eq!(RUNS.take(), 1);
    assert_eq!(caches[1].evict_all(&evicted::query()).unwrap(), 1);
    ask();
    assert_eq!(RUNS.take(), 1);
    assert_eq!(thread::scope(|scope| scope.spawn(|| caches[0].scope(|| evicted(1, "a"))).join().unwrap()), "1a");
    assert_eq!(RUNS.take(), 0);
}

#[test]
fn rerun_replaces_the_hot_result() {
    static RUNS: Runs = Runs::new();
    #[fleche]
    fn changing(x: u64) -> u64 {
        RUNS.count();
        x + if active_is_second() { 100 } else { 0 }
    }
    fn active_is_second() -> bool {
        SECOND.load(std::sync::atomic::Ordering::SeqCst)
    }
    static SECOND: std::sync::atomic::AtomicBool = std::sync::atomic::AtomicBool::new(false);
    let _alone = alone();
    let cache = memory();
    let _active = cache.enter();
    assert_eq!([changing(1), changing(1)], [1, 1]);
    SECOND.store(true, std::sync::atomic::Ordering::SeqCst);
    assert_eq!(changing(1), 1);
    assert_eq!(changing::rerun(1), 101);
    assert_eq!([changing(1), changing(1)], [101, 101]);
    assert_eq!(thread::scope(|scope| scope.spawn(|| cache.scope(|| changing(1))).join().unwrap()), 101);
    assert_eq!(RUNS.take(), 2);
}

#[test]
fn drop_of_an_evicted_result_may_call_memoized_functions() {
    #[fleche]
    fn inner(x: u64) -> u64 {
        x
    }
    #[derive(Clone, serde::Serialize, serde::Deserialize)]
    struct Calls(u64, Vec<u8>);
    impl Drop for Calls {
        fn drop(&mut self) {
            inner(self.0);
        }
    }
    #[fleche]
    fn outer(x: u64, size: usize) -> Calls {
        Calls(x, vec![0; size])
    }
    let _alone = alone();
    let cache = memory().to_builder().hot_tier(HotTier::new(40_000)).build();
    let _active = cache.enter();
    for x in 0..200 {
        // Many small results, and then one that evicts them.
        outer(x, if x % 20 == 19 { 9_000 } else { 100 });
    }
    assert!(cache.stats().hits > 0);
}

#[test]
fn results_older_than_max_age_are_looked_up_again() {
    counted!(aging);
    let _alone = alone();
    let cache = memory().to_builder().hot_tier(HotTier::DEFAULT.max_age(Duration::ZERO)).build();
    let _active = cache.enter();
    aging(1, "a");
    forget_in_stores(&cache, aging::key(1, "a"));
    aging(1, "a");
    assert_eq!(RUNS.take(), 2);
    let cache = cache.to_builder().hot_tier(HotTier::DEFAULT.max_age(Duration::from_hours(1))).build();
    let _active = cache.enter();
    aging(1, "a");
    forget_in_stores(&cache, aging::key(1, "a"));
    aging(1, "a");
    assert_eq!(RUNS.take(), 0);
}

#[test]
fn results_that_the_stores_refuse_are_not_kept() {
    counted!(refused);
    let _alone = alone();
    let cache = Cache::new(ReadOnly(MemoryValues::new()), ReadOnly(MemoryCalls::new()));
    cache.scope(|| [refused(1, "a"), refused(1, "a")]);
    assert_eq!((RUNS.take(), cache.stats().hits), (2, 0));
    let cache = Cache::new(fleche_core::layer::Void, fleche_core::layer::Void);
    cache.scope(|| [refused(1, "a"), refused(1, "a")]);
    assert_eq!(RUNS.take(), 2, "nothing is kept if the stores discard it");
}

#[test]
fn functions_and_caches_can_disable_the_hot_tier() {
    counted!(cold, hot = false);
    let _alone = alone();
    let cache = memory();
    let _active = cache.enter();
    cold(1, "a");
    forget_in_stores(&cache, cold::key(1, "a"));
    cold(1, "a");
    assert_eq!(RUNS.take(), 2);
    let values: Arc<dyn ValueStore> = cache.values().clone();
    let off = Cache::builder().values(values).calls(cache.calls().clone()).hot_tier(HotTier::new(0)).build();
    forget_in_stores(&off, cold::key(1, "a"));
    off.scope(|| cold(1, "a"));
    assert_eq!(RUNS.take(), 1);
}

#[test]
fn large_results_are_evicted_and_long_arguments_distinguished() {
    static RUNS: Runs = Runs::new();
    #[fleche]
    fn long(bytes: Vec<u8>, more: u8) -> Vec<u8> {
        RUNS.count();
        bytes.iter().map(|byte| byte + more).collect()
    }
    let _alone = alone();
    let arguments = [vec![1; 10_000], vec![2; 10_000]];
    let ask = |cache: &Cache| {
        cache.scope(|| {
            for (argument, more) in [(0, 0), (0, 1), (1, 0), (0, 0), (1, 0)] {
                let expected = vec![u8::try_from(argument).unwrap() + 1 + more; 10_000];
                assert!(long(arguments[argument].clone(), more) == expected);
            }
        });
    };
    let roomy = memory();
    ask(&roomy);
    assert_eq!(RUNS.take(), 3);
    roomy.scope(|| forget_in_stores(&roomy, long::key(arguments[0].clone(), 1)));
    ask(&roomy);
    assert_eq!(RUNS.take(), 0, "long arguments must be found by their digest");
    let narrow = memory().to_builder().hot_tier(HotTier::new(20_000)).build();
    ask(&narrow);
    narrow.scope(|| forget_in_stores(&narrow, long::key(arguments[0].clone(), 1)));
    ask(&narrow);
    assert_eq!(RUNS.take(), 4, "a result of half the tier's size must not be kept");
}

/// A `Copy` type with its own `Clone` implementation.
#[derive(Copy, Debug, PartialEq, Serialize, Deserialize)]
struct Fussy(u64);

static FUSSY: AtomicBool = AtomicBool::new(false);

#[allow(clippy::expl_impl_clone_on_copy, clippy::non_canonical_clone_impl)] // This is what the test needs.
impl Clone for Fussy {
    fn clone(&self) -> Self {
        assert!(!FUSSY.load(SeqCst), "tried");
        Self(self.0)
    }
}

#[fleche]
fn fussy(x: u64) -> Fussy {
    Fussy(x)
}

#[test]
fn panicking_clone_fails_no_call() {
    let _alone = alone();
    let cache = memory();
    let _active = cache.enter();
    assert_eq!([fussy(1), fussy(1)].map(|fussy| fussy.0), [1, 1]);
    FUSSY.store(true, SeqCst);
    assert_eq!(fussy(1).0, 1);
}

#[test]
fn thread_does_not_keep_large_results_of_a_dropped_cache() {
    static FREED: AtomicUsize = AtomicUsize::new(0);

    #[derive(Clone, Serialize, Deserialize)]
    struct Large(Arc<Vec<u8>>, u32);

    impl Drop for Large {
        fn drop(&mut self) {
            // The copies that the cache returns share their vector.
            if Arc::strong_count(&self.0) == 1 {
                FREED.fetch_add(1, SeqCst);
            }
        }
    }

    #[fleche]
    fn large(x: u32) -> Large {
        Large(Arc::new(vec![7; 100_000]), x)
    }

    let _alone = alone();
    let cache = memory();
    for _ in 0..2 {
        cache.scope(|| drop(large(1)));
    }
    let first = cache.scope(|| large(1));
    assert!(Arc::ptr_eq(&first.0, &cache.scope(|| large(1)).0), "the result must be kept");
    drop(first);
    let before = FREED.load(SeqCst);
    drop(cache);
    assert_eq!(FREED.load(SeqCst), before + 1);
}

#[test]
fn total_size_of_hot_results_is_bounded() {
    static RUNS: Runs = Runs::new();
    #[fleche]
    fn page(x: u64) -> Vec<u8> {
        RUNS.count();
        vec![u8::try_from(x % 251).unwrap(); 8_000]
    }
    let _alone = alone();
    let cache = memory().to_builder().hot_tier(HotTier::new(100_000)).build();
    let _active = cache.enter();
    (0..100).for_each(|x| drop(page(x)));
    assert_eq!(RUNS.take(), 100);
    (0..100).for_each(|x| forget_in_stores(&cache, page::key(x)));
    (0..100).for_each(|x| drop(page(x)));
    assert!(RUNS.take() >= 100 - 100_000 / 8_000, "at most twelve of a hundred pages fit");
}

#[test]
fn every_call_runs_if_the_first_store_keeps_nothing() {
    counted!(unkept);
    let _alone = alone();
    let values = [Arc::new(Void) as Arc<dyn ValueStore>, Arc::new(MemoryValues::new())];
    let calls = [Arc::new(Void) as Arc<dyn CallStore>, Arc::new(MemoryCalls::new())];
    let stack = Cache::new(Stack::values(values.clone()).unwrap(), Stack::calls(calls.clone()).unwrap());
    let half = Cache::new(MemoryValues::new(), Stack::calls(calls).unwrap());
    for cache in [stack, half, Cache::new(MemoryValues::new(), Box::new(Void) as Box<dyn CallStore>)] {
        let _active = cache.enter();
        (0..3).for_each(|_| drop(unkept(1, "a")));
        assert_eq!((RUNS.take(), unkept::contains(1, "a").unwrap()), (3, false));
    }
}

#[test]
fn hot_tier_is_read_from_configuration() {
    let _alone = alone();
    let with = |hot: &str| -> Result<CacheConfig, toml::de::Error> {
        toml::from_str(&format!("values.type = \"void\"\ncalls.type = \"void\"\n{hot}"))
    };
    for (text, expected) in [
        ("", HotTier::DEFAULT),
        ("hot = 0", HotTier::OFF),
        ("hot = \"16 MiB\"", HotTier::new(16 << 20)),
        ("hot = { size = \"64 MiB\", max_age = \"10s\" }", HotTier::DEFAULT.max_age(Duration::from_secs(10))),
        ("hot = { size = 1000, max_age = \"5min\" }", HotTier::new(1000).max_age(Duration::from_mins(5))),
    ] {
        let config = with(text).unwrap();
        assert_eq!(config.hot, expected, "{text}");
        let back: CacheConfig = toml::from_str(&toml::to_string(&config).unwrap()).unwrap();
        assert!(back == config, "{text}");
    }
    for (wrong, says) in [
        ("hot = \"much\"", "`much` is not a size"),
        ("hot = { size = 1, max_age = \"old\" }", "`old` is not a duration"),
    ] {
        let error = with(wrong).unwrap_err().to_string();
        assert!(error.contains(says), "{error}");
    }
}
