//! Tests of the active cache: guards, closures, nesting and threads.
//!
//! The process-wide default and the search for `fleche.toml` are tested in separate processes, by `tests/process_wide.rs`.

use std::thread;

use fleche_core::{Cache, active_cache, fleche, tag};

use crate::support::{Runs, memory};

#[test]
fn leaving_a_cache_restores_the_one_entered_before() {
    static RUNS: Runs = Runs::new();
    #[fleche]
    fn nested(x: i64) -> i64 {
        RUNS.count();
        x
    }
    let (outer, inner) = (memory(), memory());
    let guard = outer.enter();
    nested(1);
    inner.scope(|| {
        nested(1);
        nested(2);
    });
    nested(2);
    drop(guard);
    assert_eq!(RUNS.take(), 4);
    assert_eq!((outer.stats().misses, inner.stats().misses), (2, 2));
    assert!(inner.contains(&nested::key(2)).unwrap());
}

#[test]
fn guards_may_end_in_any_order() {
    #[fleche]
    fn unordered_guards(x: i64) -> i64 {
        x
    }
    let (first, second) = (memory(), memory());
    let first_guard = first.enter();
    let second_guard = second.enter();
    drop(first_guard);
    unordered_guards(1);
    assert_eq!((first.stats().misses, second.stats().misses), (0, 1));
    drop(second_guard);
}

#[test]
fn threads_do_not_inherit_what_is_entered() {
    #[fleche]
    fn on_a_thread(x: i64) -> i64 {
        x
    }
    let cache = memory();
    let _active = cache.enter();
    on_a_thread(1);
    thread::spawn(|| on_a_thread(1)).join().unwrap();
    let stats = cache.stats();
    assert_eq!((stats.hits, stats.misses), (0, 1));
}

#[test]
fn cache_is_shared_between_threads_that_enter_it() {
    static RUNS: Runs = Runs::new();
    #[fleche]
    fn shared(x: i64) -> i64 {
        RUNS.count();
        x
    }
    let cache = memory();
    for _ in 0..2 {
        thread::scope(|scope| {
            for x in 0..8 {
                let cache = cache.clone();
                scope.spawn(move || cache.scope(|| shared(x)));
            }
        });
    }
    assert_eq!(RUNS.take(), 8);
    let stats = cache.stats();
    assert_eq!((stats.hits, stats.misses, stats.computed), (8, 8, 8));
}

#[test]
fn nested_calls_use_the_same_cache() {
    #[fleche]
    fn within(x: i64) -> i64 {
        x
    }
    #[fleche]
    fn around(x: i64) -> i64 {
        within(x) + 1
    }
    let cache = memory();
    assert_eq!(cache.scope(|| around(1)), 2);
    assert!(cache.contains(&within::key(1)).unwrap() && cache.contains(&around::key(1)).unwrap());
}

#[test]
fn void_cache_stores_nothing() {
    static RUNS: Runs = Runs::new();
    #[fleche]
    fn forgotten(x: i64) -> i64 {
        RUNS.count();
        x
    }
    let void = Cache::void();
    let _active = void.enter();
    assert_eq!((forgotten(1), forgotten(1)), (1, 1));
    assert_eq!(RUNS.take(), 2);
    assert!(!forgotten::contains(1).unwrap());
}

#[test]
fn tags_are_recorded_while_they_are_entered() {
    #[fleche]
    fn tagged(x: i64) -> i64 {
        x
    }
    let cache = memory();
    let _active = cache.enter();
    let outer = tag("project", "alloy").enter();
    {
        let _inner = (tag("project", "steel").enter(), tag("step", "1").enter());
        tagged(1);
    }
    tagged(2);
    drop(outer);
    tagged(3);
    let tags = |x| {
        let metadata = &cache.record(&tagged::key(x)).unwrap().unwrap().metadata;
        metadata.get::<std::collections::BTreeMap<String, String>>(fleche_core::metadata::TAGS).unwrap()
    };
    let pairs = |pairs: &[(&str, &str)]| Some(pairs.iter().map(|(k, v)| ((*k).into(), (*v).into())).collect());
    assert_eq!(tags(1), pairs(&[("project", "steel"), ("step", "1")]));
    assert_eq!(tags(2), pairs(&[("project", "alloy")]));
    assert_eq!(tags(3), None);
}

#[test]
fn active_cache_returns_a_handle_to_the_entered_one() {
    #[fleche]
    fn handled(x: i64) -> i64 {
        x
    }
    let cache = memory();
    let handle = cache.scope(active_cache);
    handle.scope(|| handled(1));
    assert_eq!(cache.stats().misses, 1);
}
