//! Tests of the companion of a memoized function.

use fleche_core::fleche;

use crate::support::{Runs, memory};

#[test]
fn contains_load_and_evict_see_what_calls_recorded() {
    static RUNS: Runs = Runs::new();
    #[fleche]
    fn watched(x: i64, label: &str) -> i64 {
        RUNS.count();
        x + i64::try_from(label.len()).unwrap()
    }
    let _active = memory().enter();
    assert!(!watched::contains(3, "a").unwrap());
    assert_eq!(watched::load(3, "a").unwrap(), None);
    assert!(!watched::evict(3, "a").unwrap());
    watched(3, "a");
    assert!(watched::contains(3, "a").unwrap());
    assert_eq!(watched::load(3, "a").unwrap(), Some(4));
    assert!(watched::evict(3, "a").unwrap());
    assert!(!watched::contains(3, "a").unwrap());
    watched(3, "a");
    assert_eq!(RUNS.take(), 2);
}

#[test]
fn load_returns_the_declared_return_type() {
    #[fleche]
    fn fallible(x: i64) -> Result<i64, String> {
        if x < 0 { Err("negative".to_owned()) } else { Ok(x) }
    }
    let _active = memory().enter();
    fallible(1).unwrap();
    fallible(-1).unwrap_err();
    assert_eq!(fallible::load(1).unwrap(), Some(Ok(1)));
    assert_eq!(fallible::load(-1).unwrap(), None);
}

#[test]
fn uncached_runs_the_body_and_records_nothing() {
    static RUNS: Runs = Runs::new();
    #[fleche]
    fn bare(x: i64) -> i64 {
        RUNS.count();
        x
    }
    let cache = memory();
    let _active = cache.enter();
    assert_eq!((bare::uncached(1), bare::uncached(1)), (1, 1));
    assert_eq!(RUNS.take(), 2);
    assert_eq!(cache.stats(), fleche_core::Stats::default());
    assert!(!bare::contains(1).unwrap());
}

#[test]
fn rerun_repeats_and_records_the_call_and_its_nested_calls() {
    static INNER: Runs = Runs::new();
    static OUTER: Runs = Runs::new();
    static OFFSET: std::sync::atomic::AtomicI64 = std::sync::atomic::AtomicI64::new(0);
    #[fleche]
    fn rerun_inner(x: i64) -> i64 {
        INNER.count();
        x + OFFSET.load(std::sync::atomic::Ordering::SeqCst)
    }
    #[fleche]
    fn rerun_outer(x: i64) -> i64 {
        OUTER.count();
        rerun_inner(x) * 10
    }
    let _active = memory().enter();
    assert_eq!(rerun_outer(1), 10);
    assert_eq!((INNER.take(), OUTER.take()), (1, 1));
    OFFSET.store(1, std::sync::atomic::Ordering::SeqCst);
    assert_eq!(rerun_outer(1), 10);
    assert_eq!(rerun_outer::rerun(1), 20);
    assert_eq!((INNER.take(), OUTER.take()), (1, 1));
    assert_eq!((rerun_outer(1), rerun_inner(1)), (20, 2));
    assert_eq!((INNER.take(), OUTER.take()), (0, 0));
}

#[test]
fn query_finds_records_by_argument() {
    #[fleche]
    fn asked(x: i64, label: &str) -> i64 {
        x + i64::try_from(label.len()).unwrap()
    }
    #[fleche]
    fn not_asked(x: i64) -> i64 {
        x
    }
    let cache = memory();
    let _active = cache.enter();
    for x in 0..3 {
        asked(x, "a");
        asked(x, "bb");
        not_asked(x);
    }
    let count = |query: &fleche_core::Query| cache.query(query).unwrap().map(Result::unwrap).count();
    assert_eq!(count(&asked::query()), 6);
    let query = asked::query().argument("x", &2_i64).unwrap();
    assert_eq!(count(&query), 2);
    let query = query.argument("label", "bb").unwrap();
    let found: Vec<_> = cache.query(&query).unwrap().map(Result::unwrap).collect();
    assert_eq!(found.len(), 1);
    assert_eq!(found[0].0, asked::key(2, "bb"));
    assert_eq!(cache.decode::<i64>(&found[0].1.result).unwrap(), Some(4));
    assert_eq!(count(&fleche_core::Query::new()), 9);
}

#[test]
fn companion_can_have_another_name() {
    #[allow(dead_code)]
    mod energy {}
    #[fleche(companion = "energy_call")]
    fn energy(x: i64) -> i64 {
        x + 1
    }
    let _active = memory().enter();
    assert_eq!(energy(1), 2);
    assert!(energy_call::contains(1).unwrap());
}

mod elsewhere {
    use fleche_core::fleche;

    #[fleche]
    pub(crate) fn exported(x: i64) -> i64 {
        x + 1
    }
}

#[test]
fn one_import_covers_the_function_and_its_companion() {
    use elsewhere::exported;
    let _active = memory().enter();
    assert_eq!(exported(1), 2);
    assert!(exported::contains(1).unwrap());
    assert_eq!(exported::query().function_name(), Some("fleche-core::engine::companion::elsewhere::exported"));
}

#[test]
fn memoized_function_can_be_recursive() {
    static RUNS: Runs = Runs::new();
    #[fleche]
    fn fibonacci(n: u64) -> u64 {
        RUNS.count();
        if n < 2 { n } else { fibonacci(n - 1) + fibonacci(n - 2) }
    }
    let _active = memory().enter();
    assert_eq!(fibonacci(50), 12_586_269_025);
    assert_eq!(RUNS.take(), 51);
}
