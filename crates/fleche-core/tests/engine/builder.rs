//! The settings of a cache, and caches that differ from another one in some of them.

use std::{sync::Arc, time::Duration};

use fleche_core::{
    Cache, CallStore, Digest, Query, ValueRef, ValueStore,
    cache::{Gc, HotTier, StalePolicy},
    call::{FunctionId, Timestamp},
    fleche,
    store::Reach,
};
use fleche_store_memory::{MemoryCalls, MemoryValues};

#[fleche]
fn double(x: u64) -> u64 {
    2 * x
}

#[test]
fn built_cache_has_defaults_or_given_settings() {
    let plain = Cache::new(MemoryValues::new(), MemoryCalls::new());
    assert_eq!((plain.hot_tier(), plain.stores_arguments(), plain.stale_policy()), (HotTier::DEFAULT, true, None));
    let builder = Cache::builder().hot_tier(HotTier::OFF).store_arguments(false).stale(StalePolicy::Serve);
    let cache = builder.values(MemoryValues::new()).calls(MemoryCalls::new()).build();
    let settings = (cache.hot_tier(), cache.stores_arguments(), cache.stale_policy());
    assert_eq!(settings, (HotTier::OFF, false, Some(StalePolicy::Serve)));
    let changed = cache.to_builder().stale(None).build();
    assert_eq!((changed.hot_tier(), changed.stores_arguments(), changed.stale_policy()), (HotTier::OFF, false, None));
}

#[test]
fn cache_from_to_builder_shares_stores_and_counts_from_zero() {
    let cache = Cache::new(MemoryValues::new(), MemoryCalls::new());
    assert_eq!(cache.scope(|| double(1)), 2);
    let other = cache.to_builder().hot_tier(HotTier::OFF).build();
    assert_eq!(other.stats().computed, 0);
    assert_eq!(other.scope(|| double(1)), 2);
    assert_eq!((other.stats().hits, other.stats().computed), (1, 0));
    assert_eq!((cache.stats().hits, cache.stats().computed), (0, 1));
}

#[test]
fn shared_stores_are_used_without_another_pointer() {
    let values: Arc<dyn ValueStore> = Arc::new(MemoryValues::new());
    let calls: Arc<dyn CallStore> = Arc::new(MemoryCalls::new());
    let cache = Cache::new(values.clone(), calls.clone());
    assert!(Arc::ptr_eq(cache.values(), &values) && Arc::ptr_eq(cache.calls(), &calls));
}

#[test]
fn void_cache_with_stores_records() {
    let void = Cache::void().to_builder().build();
    assert_eq!(void.scope(|| double(2)), 4);
    assert!(!void.scope(|| double::contains(2)).unwrap());
    assert_eq!(void.hot_tier(), HotTier::OFF);
    let cache = Cache::void().to_builder().values(MemoryValues::new()).calls(MemoryCalls::new()).build();
    assert_eq!((cache.hot_tier(), cache.stores_arguments()), (HotTier::DEFAULT, true));
    assert_eq!(cache.scope(|| double(2)), 4);
    assert!(cache.scope(|| double::contains(2)).unwrap());
}

#[test]
fn settings_are_read_from_text() {
    assert_eq!("16 MiB".parse::<HotTier>().unwrap(), HotTier::from(16 << 20));
    assert_eq!("0".parse::<HotTier>().unwrap(), HotTier::OFF);
    let error = "16 elephants".parse::<HotTier>().unwrap_err().to_string();
    assert!(error.starts_with("hot tier: `16 elephants`"), "{error}");
    for policy in [StalePolicy::Rerun, StalePolicy::Warn, StalePolicy::Serve] {
        assert_eq!(policy.to_string().parse::<StalePolicy>().unwrap(), policy);
        assert_eq!(serde_json::to_string(&policy).unwrap(), format!("\"{policy}\""));
    }
    assert!("never".parse::<StalePolicy>().unwrap_err().to_string().contains("`serve`"));
}

#[test]
fn counts_are_printed_on_one_line() {
    let cache = Cache::new(MemoryValues::new(), MemoryCalls::new());
    assert_eq!(cache.stats().to_string(), "0 hits, 0 misses");
    cache.scope(|| (double(1), double(1), double(2)));
    assert_eq!(cache.stats().to_string(), "1 hit, 2 misses, 2 computed");
    assert!(cache.scope(|| double::evict(2)).unwrap());
    assert_eq!(cache.stats().to_string(), "1 hit, 2 misses, 2 computed, 1 invalidation");
    cache.scope(|| double(2));
    let collected = cache.gc(&Gc::new()).unwrap().to_string();
    assert_eq!(collected, "0 values removed, 0 kept; 2 records read, 0 damaged");
    let verified = cache.verify(|_| ()).unwrap().to_string();
    assert_eq!(verified, "2 records and 0 values are intact, 0 damaged, 0 without a result");
    let copied = cache.transfer(&Cache::new(MemoryValues::new(), MemoryCalls::new()), &Query::new(), |_| ());
    assert!(copied.unwrap().to_string().starts_with("2 records and 0 values copied, 0 records already there"));
}

#[test]
fn settings_queries_and_records_are_printed_for_people() {
    assert_eq!(
        [Reach::Process, Reach::Exclusive, Reach::Shared].map(|reach| reach.to_string()),
        ["process", "exclusive", "shared"]
    );
    let tiers = [HotTier::OFF, HotTier::DEFAULT, HotTier::new(1 << 20).max_age(Duration::from_secs(90))];
    assert_eq!(tiers.map(|tier| tier.to_string()), ["off", "64.0 MiB", "1.0 MiB, at most 1m 30s old"]);
    assert_eq!(Query::new().to_string(), "all calls");
    assert_eq!(Query::new().function("f").to_string(), "calls of f");
    let recent = Query::new().since(Timestamp(1_777_636_800_000_000_000));
    assert_eq!(recent.to_string(), "all calls, written since 2026-05-01T12:00:00Z");
    let query = Query::new().function("f").version(2).argument("x", "text").unwrap().tag("project", "alloys");
    let query = query.since(Timestamp(1_777_636_800_000_000_000));
    assert_eq!(
        query.to_string(),
        r#"calls of f with version 2, x = "text", tags project = "alloys", written since 2026-05-01T12:00:00Z"#
    );
    let digest = Digest::hash(&[1; 100]);
    assert_eq!(ValueRef::new(&[1; 100]).to_string(), digest.to_string());
    let function = |version| FunctionId { name: "f".into(), version, code: digest, hash_code: false };
    assert_eq!([0, 2].map(|version| function(version).to_string()), ["f", "f (version 2)"]);
}
