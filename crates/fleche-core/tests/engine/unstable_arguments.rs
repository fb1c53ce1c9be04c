//! Tests that arguments without a stable encoding are detected, with a warning that names the fix.

use std::collections::{BTreeSet, HashSet};

use fleche_core::{SkipReason, fleche};
use indexmap::IndexMap;
use serde::{Deserialize, Serialize};

use crate::support::{Runs, logged, memory};

#[test]
fn hash_set_is_not_recorded_and_the_warning_names_the_fix() {
    static RUNS: Runs = Runs::new();
    #[fleche]
    fn of_set(set: &HashSet<u32>, _x: i64) -> usize {
        RUNS.count();
        set.len()
    }
    let cache = memory();
    let _active = cache.enter();
    let set: HashSet<u32> = (0..100).collect();
    let (result, log) = logged(|| (of_set(&set, 1), of_set(&set, 1)));
    assert_eq!(result, (100, 100));
    assert_eq!(RUNS.take(), 2);
    assert_eq!(cache.stats().skipped[&SkipReason::ArgumentNotStable], 2);
    assert!(log.contains("argument `set`") && log.contains("BTreeSet") && log.contains("unordered"), "{log}");
    assert_eq!(log.lines().count(), 1, "one warning: {log}");
}

#[test]
fn index_map_is_not_recorded_since_its_order_would_be_lost() {
    static RUNS: Runs = Runs::new();
    #[fleche]
    fn of_ordered(map: &IndexMap<String, i64>) -> Option<i64> {
        RUNS.count();
        map.values().next().copied()
    }
    let cache = memory();
    let _active = cache.enter();
    let ab = IndexMap::from([("a".to_owned(), 1), ("b".to_owned(), 2)]);
    let ba = IndexMap::from([("b".to_owned(), 2), ("a".to_owned(), 1)]);
    let (results, log) = logged(|| (of_ordered(&ab), of_ordered(&ba)));
    assert_eq!(results, (Some(1), Some(2)));
    assert_eq!(cache.stats().skipped[&SkipReason::ArgumentNotStable], 2);
    assert!(log.contains("fleche_core::ordered"), "{log}");
}

#[test]
fn unstable_argument_disables_hits_and_records() {
    static RUNS: Runs = Runs::new();
    #[fleche]
    fn of_first(map: &IndexMap<String, i64>) -> Option<i64> {
        RUNS.count();
        map.values().next().copied()
    }
    let cache = memory();
    let _active = cache.enter();
    for n in 0..8 {
        let [a, b] = [(format!("a{n}"), 1), (format!("b{n}"), 2)];
        assert_eq!(of_first(&IndexMap::from([a.clone(), b.clone()])), Some(1));
        assert_eq!(of_first(&IndexMap::from([b, a])), Some(2));
    }
    assert_eq!(RUNS.take(), 16);
    assert_eq!(cache.query(&of_first::query()).unwrap().count(), 0);
}

#[test]
fn suggested_fixes_make_arguments_stable() {
    #[derive(Clone, Serialize, Deserialize)]
    struct Cured {
        #[serde(with = "fleche_core::unordered")]
        set: HashSet<u32>,
        #[serde(with = "fleche_core::ordered")]
        map: IndexMap<String, i64>,
        sorted: BTreeSet<u32>,
    }
    static RUNS: Runs = Runs::new();
    #[fleche]
    fn of_cured(cured: &Cured) -> Option<String> {
        RUNS.count();
        cured.map.keys().next().cloned()
    }
    let cache = memory();
    let _active = cache.enter();
    let cured = |names: [&str; 2]| Cured {
        set: (0..100).collect(),
        map: names.into_iter().map(|name| (name.to_owned(), 1)).collect(),
        sorted: (0..100).collect(),
    };
    for _ in 0..3 {
        assert_eq!(of_cured(&cured(["a", "b"])).as_deref(), Some("a"));
        assert_eq!(of_cured(&cured(["b", "a"])).as_deref(), Some("b"));
    }
    assert_eq!(RUNS.take(), 2);
    assert!(cache.stats().skipped.is_empty());
}

#[test]
fn field_that_is_compared_but_not_encoded_is_detected() {
    #[derive(Clone, PartialEq, Serialize, Deserialize)]
    struct Skipping {
        x: i64,
        #[serde(skip)]
        hidden: i64,
    }
    #[fleche]
    fn of_skipping(value: &Skipping) -> i64 {
        value.x + value.hidden
    }
    let cache = memory();
    let _active = cache.enter();
    let (results, log) = logged(|| [1, 2].map(|hidden| of_skipping(&Skipping { x: 1, hidden })));
    assert_eq!(results, [2, 3]);
    assert!(log.contains("not equal"), "{log}");
}

#[test]
fn nan_argument_equals_itself() {
    static RUNS: Runs = Runs::new();
    #[fleche]
    fn of_nan(x: f64) -> bool {
        RUNS.count();
        x.is_nan()
    }
    let _active = memory().enter();
    assert!(of_nan(f64::NAN) && of_nan(f64::NAN));
    assert_eq!(RUNS.take(), 1);
}

#[test]
fn zero_and_negative_zero_are_different_arguments() {
    static RUNS: Runs = Runs::new();
    #[fleche]
    fn of_zero(x: f64) -> f64 {
        RUNS.count();
        1.0 / x
    }
    let _active = memory().enter();
    assert_eq!((of_zero(0.0), of_zero(-0.0)), (f64::INFINITY, f64::NEG_INFINITY));
    assert_eq!((of_zero(0.0), of_zero(-0.0)), (f64::INFINITY, f64::NEG_INFINITY));
    assert_eq!(RUNS.take(), 2);
}

#[test]
fn argument_that_cannot_be_decoded_is_not_recorded() {
    #[derive(Serialize, Deserialize)]
    #[serde(untagged)]
    enum Buffered {
        Wide(i128),
    }
    #[fleche]
    fn of_wide(value: &Buffered) -> bool {
        matches!(value, Buffered::Wide(1))
    }
    let cache = memory();
    let _active = cache.enter();
    of_wide(&Buffered::Wide(i128::MAX));
    assert_eq!(cache.stats().skipped[&SkipReason::ArgumentNotStable], 1);
}
