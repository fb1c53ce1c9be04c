//! Tests of results that other code of a function computed: when they are served, replaced and kept.

use std::thread;

use fleche_core::{
    Cache, CacheConfig, CallStore, DigestPrefix, Query, SkipReason, ValueStore,
    cache::{Gc, HotTier, StalePolicy},
    fleche,
    layer::ReadOnly,
};
use fleche_store_memory::{MemoryCalls, MemoryValues};

use crate::{
    fixtures::{Programs, SameName, block_on, edited, programs},
    support::{Runs, logged, memory},
};

#[test]
fn edited_code_reruns_with_one_warning() {
    edited!(runs_before, runs_now);
    let Programs { before, now, .. } = programs!(runs_before, runs_now);
    assert_eq!(before.scope(|| runs_before(1)), [1; 20]);
    let (results, log) = logged(|| now.scope(|| (runs_now(1), runs_now(1))));
    assert_eq!(results, (vec![2; 20], vec![2; 20]));
    assert_eq!((BEFORE.take(), NOW.take()), (1, 1));
    assert_eq!((now.stats().stale, now.stats().misses, now.stats().hits), (1, 1, 1));
    assert_eq!(log.matches("has changed").count(), 1, "{log}");
    // The hot tier serves the new result too.
    let hot = now.to_builder().hot_tier(HotTier::DEFAULT).build();
    let _active = hot.enter();
    assert_eq!((runs_now(1), runs_now(1), NOW.take()), (vec![2; 20], vec![2; 20], 0));
}

#[test]
fn programs_with_different_code_keep_both_results() {
    edited!(turns_before, turns_now);
    let Programs { before, now, calls, .. } = programs!(turns_before, turns_now);
    for _ in 0..3 {
        assert_eq!(before.scope(|| turns_before(1)), [1; 20]);
        assert_eq!(now.scope(|| turns_now(1)), [2; 20]);
    }
    assert_eq!((BEFORE.take(), NOW.take()), (1, 1));
    assert_eq!(calls.keys(&DigestPrefix::all()).unwrap().count(), 2);
    before.scope(|| {
        assert!(turns_before::contains(1).unwrap());
        assert_eq!(turns_before::load(1).unwrap(), Some(vec![1; 20]));
    });
    now.scope(|| assert_eq!(turns_now::load(1).unwrap(), Some(vec![2; 20])));
}

#[test]
fn async_fn_finds_the_result_of_its_own_code() {
    static BEFORE: Runs = Runs::new();
    static NOW: Runs = Runs::new();
    #[fleche]
    async fn async_before(x: u64) -> Vec<u64> {
        BEFORE.count();
        vec![x; 20]
    }
    #[fleche]
    async fn async_now(x: u64) -> Vec<u64> {
        NOW.count();
        vec![x + 1; 20]
    }
    let before = (async_before::key(1), (|| drop(block_on(async_before(1)))) as fn());
    let now = (async_now::key(1), (|| drop(block_on(async_now(1)))) as fn());
    let Programs { before, now, .. } = Programs::new(before, now);
    assert_eq!((BEFORE.take(), NOW.take()), (1, 1));
    for _ in 0..3 {
        assert_eq!(before.scope(|| block_on(async_before(1))), [1; 20]);
        assert_eq!(now.scope(|| block_on(async_now(1))), [2; 20]);
    }
    assert_eq!((BEFORE.take(), NOW.take(), now.stats().stale), (1, 1, 1));
    // A rerun replaces the record of its own code, and preserves that of other code.
    assert_eq!(before.scope(|| block_on(async_before::rerun(1))), [1; 20]);
    assert_eq!(
        (before.scope(|| block_on(async_before(1))), now.scope(|| block_on(async_now(1)))),
        (vec![1; 20], vec![2; 20])
    );
    assert_eq!((BEFORE.take(), NOW.take()), (1, 0));
}

#[test]
fn rerun_preserves_the_record_of_other_code() {
    edited!(rerun_before, rerun_now);
    let Programs { before, now, kept, .. } = programs!(rerun_before, rerun_now);
    before.scope(|| rerun_before(1));
    assert_eq!(now.scope(|| rerun_now::rerun(1)), [2; 20]);
    assert!(now.record(&kept).unwrap().is_some());
    assert_eq!(before.scope(|| rerun_before(1)), [1; 20]);
    assert_eq!((BEFORE.take(), NOW.take()), (1, 1));
}

#[test]
fn stale_policy_is_read_from_configuration() {
    let text = |stale: &str| format!("values.type = \"void\"\ncalls.type = \"void\"\n{stale}");
    for (stale, policy) in [
        ("", None),
        ("stale = \"rerun\"", Some(StalePolicy::Rerun)),
        ("stale = \"warn\"", Some(StalePolicy::Warn)),
        ("stale = \"serve\"", Some(StalePolicy::Serve)),
    ] {
        let config: CacheConfig = toml::from_str(&text(stale)).unwrap();
        assert_eq!(config.stale, policy);
        let cache = Cache::from_config(&config).unwrap();
        let derived = cache.to_builder().store_arguments(true).hot_tier(HotTier::OFF).build();
        assert_eq!([cache.config().stale, derived.config().stale], [policy; 2]);
        // An unset policy is not written, so existing configurations stay the same.
        assert_eq!(toml::to_string(&config).unwrap().contains("stale"), policy.is_some());
    }
    assert!(toml::from_str::<CacheConfig>(&text("stale = \"maybe\"")).is_err());
}

#[test]
fn stated_version_serves_results_of_other_code_with_a_warning() {
    edited!(version_before, version_now, version = 3);
    let Programs { before, now, .. } = programs!(version_before, version_now);
    before.scope(|| version_before(1));
    let (results, log) = logged(|| now.scope(|| (version_now(1), version_now(1))));
    assert_eq!((results, NOW.take()), ((vec![1; 20], vec![1; 20]), 0));
    assert_eq!((now.stats().hits, now.stats().stale), (2, 2));
    assert_eq!(log.matches("version = 4").count(), 1, "one warning: {log}");
    // A policy of the cache overrides the version.
    assert_eq!(now.to_builder().stale(StalePolicy::Rerun).build().scope(|| version_now(1)), [2; 20]);
    assert_eq!(NOW.take(), 1);
}

#[test]
fn cache_policy_applies_if_the_function_has_none() {
    edited!(cache_before, cache_now);
    let Programs { before, now, .. } = programs!(cache_before, cache_now);
    before.scope(|| cache_before(1));
    let (served, log) = logged(|| now.to_builder().stale(StalePolicy::Serve).build().scope(|| cache_now(1)));
    assert_eq!((served, NOW.take()), (vec![1; 20], 0));
    assert!(!log.contains("other code"), "{log}");
    let (served, log) = logged(|| now.to_builder().stale(StalePolicy::Warn).build().scope(|| cache_now(1)));
    assert_eq!((served, NOW.take()), (vec![1; 20], 0));
    assert!(log.contains("other code"), "{log}");
    assert_eq!((now.scope(|| cache_now(1)), NOW.take()), (vec![2; 20], 1));
}

#[test]
fn function_policy_overrides_the_cache_policy() {
    edited!(own_before, own_now, stale = "serve", version = 1);
    let Programs { before, now, .. } = programs!(own_before, own_now);
    before.scope(|| own_before(1));
    let (served, log) = logged(|| now.to_builder().stale(StalePolicy::Rerun).build().scope(|| own_now(1)));
    assert_eq!((served, NOW.take()), (vec![1; 20], 0));
    assert!(!log.contains("other code"), "{log}");
}

#[test]
fn function_rerun_policy_overrides_a_cache_that_serves() {
    edited!(strict_before, strict_now, stale = "rerun", version = 1);
    let Programs { before, now, .. } = programs!(strict_before, strict_now);
    before.scope(|| strict_before(1));
    now.to_builder().stale(StalePolicy::Serve).build().scope(|| {
        assert!(!strict_now::contains(1).unwrap());
        assert_eq!(strict_now::load(1).unwrap(), None);
        assert_eq!((strict_now(1), NOW.take()), (vec![2; 20], 1));
    });
}

#[test]
fn concurrent_stale_calls_are_computed_once() {
    edited!(many_before, many_now);
    let Programs { before, now, .. } = programs!(many_before, many_now);
    before.scope(|| many_before(1));
    thread::scope(|scope| {
        let calls: Vec<_> = (0..8).map(|_| scope.spawn(|| now.scope(|| many_now(1)))).collect();
        for call in calls {
            assert_eq!(call.join().unwrap(), [2; 20]);
        }
    });
    assert_eq!(NOW.take(), 1);
}

#[test]
fn record_that_cannot_be_preserved_is_not_replaced() {
    edited!(full_before, full_now);
    let programs = programs!(full_before, full_now);
    programs.before.scope(|| full_before(1));
    let now = programs.with(Some(programs.kept));
    for _ in 0..2 {
        assert_eq!(now.scope(|| full_now(1)), [2; 20]);
    }
    assert_eq!((NOW.take(), now.stats().faults, now.stats().skipped[&SkipReason::StoreFailed]), (2, 2, 2));
    assert_eq!(programs.before.scope(|| full_before(1)), [1; 20]);
    assert_eq!(BEFORE.take(), 1);
}

#[test]
fn read_only_store_keeps_the_stale_record() {
    edited!(read_before, read_now);
    let Programs { before, values, calls, keys, .. } = programs!(read_before, read_now);
    before.scope(|| read_before(1));
    let now = Cache::new(ReadOnly(values), ReadOnly(SameName { store: calls, keys, full: None }));
    for _ in 0..2 {
        assert_eq!(now.scope(|| read_now(1)), [2; 20]);
    }
    assert_eq!((NOW.take(), now.stats().faults, now.stats().skipped[&SkipReason::StoreRefused]), (2, 0, 2));
    assert_eq!((before.scope(|| read_before(1)), BEFORE.take()), (vec![1; 20], 1));
}

#[test]
fn evicted_call_runs_again_despite_preserved_records() {
    edited!(evict_before, evict_now);
    let Programs { before, now, calls, .. } = programs!(evict_before, evict_now);
    let fill = || {
        before.scope(|| evict_before(1));
        now.scope(|| evict_now(1));
        (BEFORE.take(), NOW.take())
    };
    assert_eq!(fill(), (1, 1));
    before.scope(|| {
        assert!(evict_before::evict(1).unwrap());
        assert!(!evict_before::contains(1).unwrap());
        assert!(!evict_before::evict(1).unwrap());
    });
    assert_eq!((fill(), calls.keys(&DigestPrefix::all()).unwrap().count()), ((1, 1), 2));
    // Evicting by key alone also removes the preserved record of the same code.
    now.scope(|| evict_now::rerun(1));
    before.scope(|| evict_before::rerun(1));
    assert!(before.evict(&evict_before::key(1)).unwrap());
    assert_eq!((BEFORE.take(), NOW.take()), (1, 1));
    before.scope(|| evict_before(1));
    assert_eq!(BEFORE.take(), 1);
}

#[test]
fn preserved_records_are_maintained_like_others() {
    edited!(upkeep_before, upkeep_now);
    let programs = programs!(upkeep_before, upkeep_now);
    let Programs { before, now, values, keys, .. } = &programs;
    before.scope(|| upkeep_before(1));
    now.scope(|| upkeep_now(1));
    // Two results from two code versions; the argument is short and stored inline.
    let collected = before.gc(&Gc::new().grace(std::time::Duration::ZERO)).unwrap();
    assert_eq!((collected.records, collected.removed, values.ids(&DigestPrefix::all()).unwrap().count()), (2, 0, 2));
    assert_eq!(before.query(&upkeep_before::query()).unwrap().count(), 1);
    assert_eq!(before.query(&Query::new()).unwrap().count(), 2);
    let verified = before.verify(|_| ()).unwrap();
    assert!(verified.is_whole() && verified.records == 2);
    let (values, copied) = (MemoryValues::new(), MemoryCalls::new());
    let archive = Cache::builder().values(values.clone()).calls(copied.clone()).hot_tier(HotTier::OFF).build();
    assert_eq!(before.transfer(&archive, &Query::new(), |_| ()).unwrap().records, 2);
    assert_eq!(archive.scope(|| upkeep_before(1)), [1; 20]);
    let now = Cache::new(values, SameName { store: copied, keys: keys.clone(), full: None });
    assert_eq!(now.scope(|| upkeep_now(1)), [2; 20]);
    assert_eq!((BEFORE.take(), NOW.take()), (1, 1));
}

#[test]
fn transfer_copies_a_record_next_to_one_of_other_code() {
    edited!(beside_before, beside_now);
    let Programs { before, values, calls, keys, .. } = programs!(beside_before, beside_now);
    before.scope(|| beside_before(1));
    // The archive has the result of the other code under the same key.
    let (there, copied) = (MemoryValues::new(), MemoryCalls::new());
    let archive = Cache::new(there.clone(), SameName { store: copied.clone(), keys, full: None });
    let archive = archive.to_builder().hot_tier(HotTier::OFF).build();
    archive.scope(|| beside_now(1));
    let mine = Cache::new(values, calls);
    for copies in [1, 0] {
        let there = Cache::builder().values(there.clone()).calls(copied.clone()).hot_tier(HotTier::OFF).build();
        let done = mine.transfer(&there, &Query::new(), |_| ()).unwrap();
        assert_eq!((done.records, done.skipped), (copies, 1 - copies));
        assert_eq!(there.scope(|| beside_before(1)), [1; 20]);
    }
    assert_eq!(archive.scope(|| beside_now(1)), [2; 20]);
    assert_eq!((BEFORE.take(), NOW.take()), (1, 1));
}

#[test]
fn renamed_function_with_an_explicit_name_is_not_stale() {
    static RUNS: Runs = Runs::new();
    macro_rules! body {
        ($name:ident, $key:literal) => {
            /// Adds one.
            #[fleche(name = $key)]
            fn $name(x: u64) -> u64 {
                RUNS.count();
                x + 1
            }
        };
    }
    body!(first_name, "stale::name_of_first");
    body!(second_name, "stale::name_of_second");
    let cache = memory();
    let _active = cache.enter();
    first_name(1);
    let record = cache.record(&first_name::key(1)).unwrap().unwrap();
    cache.calls().put(&second_name::key(1), &record).unwrap();
    let (result, log) = logged(|| second_name(1));
    assert_eq!((result, RUNS.take(), cache.stats().stale), (2, 1, 0));
    assert_eq!(log, "");
}

#[test]
fn record_with_the_digest_of_an_earlier_release_is_not_stale() {
    macro_rules! body {
        ($module:ident $(, $option:ident)?) => {
            mod $module {
                #[fleche_core::fleche(version = 5 $(, $option)?)]
                pub(super) fn earlier(x: u64) -> u64 {
                    super::RUNS_EARLIER.count();
                    x + 1
                }
            }
        };
    }
    // Earlier versions recorded the digest that `hash_code` makes part of keys.
    body!(recorded, hash_code);
    body!(present);
    let cache = memory();
    let _active = cache.enter();
    recorded::earlier(1);
    let record = cache.record(&recorded::earlier::key(1)).unwrap().unwrap();
    cache.calls().put(&present::earlier::key(1), &record).unwrap();
    let (result, log) = logged(|| present::earlier(1));
    assert_eq!((result, RUNS_EARLIER.take(), cache.stats().stale), (2, 1, 0));
    assert_eq!(log, "");
    present::earlier::rerun(1);
    let written = cache.record(&present::earlier::key(1)).unwrap().unwrap();
    assert_ne!(written.function.code, record.function.code);
}

static RUNS_EARLIER: Runs = Runs::new();
