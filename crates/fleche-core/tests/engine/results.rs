//! Tests of results of every kind, and of those that are not recorded.

use std::panic::{AssertUnwindSafe, catch_unwind};

use fleche_core::{SkipReason, fleche};

use crate::support::{Runs, logged_with_calls, memory};

#[test]
fn second_call_is_a_hit_and_its_body_does_not_run() {
    static RUNS: Runs = Runs::new();
    #[fleche]
    fn double(x: i64) -> i64 {
        RUNS.count();
        x * 2
    }
    let cache = memory();
    let _active = cache.enter();
    assert_eq!((double(4), double(4), double(5)), (8, 8, 10));
    assert_eq!(RUNS.take(), 2);
    let stats = cache.stats();
    assert_eq!((stats.hits, stats.misses, stats.computed, stats.faults), (1, 2, 2, 0));
    assert!(stats.skipped.is_empty());
}

#[test]
fn none_is_recorded() {
    static RUNS: Runs = Runs::new();
    #[fleche]
    fn nothing_found(_x: i64) -> Option<i64> {
        RUNS.count();
        None
    }
    let _active = memory().enter();
    assert_eq!((nothing_found(1), nothing_found(1)), (None, None));
    assert_eq!(RUNS.take(), 1);
}

#[test]
fn nested_options_round_trip() {
    static RUNS: Runs = Runs::new();
    #[fleche]
    fn options(_x: i64) -> Vec<Option<Option<()>>> {
        RUNS.count();
        vec![None, Some(None), Some(Some(()))]
    }
    let _active = memory().enter();
    assert_eq!(options(1), options(1));
    assert_eq!(options(1), [None, Some(None), Some(Some(()))]);
    assert_eq!(RUNS.take(), 1);
}

#[test]
fn function_that_returns_unit_runs_once() {
    static RUNS: Runs = Runs::new();
    #[fleche]
    fn effect() {
        RUNS.count();
    }
    let _active = memory().enter();
    effect();
    effect();
    assert_eq!(RUNS.take(), 1);
}

type Checked<T> = Result<T, String>;

#[test]
fn result_alias_records_only_ok() {
    static RUNS: Runs = Runs::new();
    #[fleche]
    fn checked(x: i64) -> Checked<i64> {
        RUNS.count();
        if x < 0 { Err("negative".to_owned()) } else { Ok(x) }
    }
    let cache = memory();
    let _active = cache.enter();
    assert_eq!((checked(1), checked(1)), (Ok(1), Ok(1)));
    assert_eq!(RUNS.take(), 1);
    assert_eq!((checked(-1), checked(-1)), (Err("negative".to_owned()), Err("negative".to_owned())));
    assert_eq!(RUNS.take(), 2);
    assert_eq!(cache.stats().skipped[&SkipReason::Failed], 2);
}

#[test]
fn err_is_recorded_with_cache_errors() {
    static RUNS: Runs = Runs::new();
    #[fleche(cache_errors)]
    fn checked_and_kept(x: i64) -> Result<i64, String> {
        RUNS.count();
        Err(format!("{x} is wrong"))
    }
    let _active = memory().enter();
    assert_eq!(checked_and_kept(1), checked_and_kept(1));
    assert_eq!(RUNS.take(), 1);
}

#[test]
fn error_type_needs_no_serde_implementation() {
    static RUNS: Runs = Runs::new();
    #[fleche]
    fn parsed(text: &str) -> Result<i64, Box<dyn std::error::Error>> {
        RUNS.count();
        Ok(text.parse()?)
    }
    let _active = memory().enter();
    assert_eq!((parsed("7").unwrap(), parsed("7").unwrap()), (7, 7));
    assert_eq!(RUNS.take(), 1);
    assert!(parsed("x").is_err());
}

#[test]
fn panic_propagates_to_the_caller_and_records_nothing() {
    static RUNS: Runs = Runs::new();
    #[fleche]
    fn fragile(x: i64) -> i64 {
        RUNS.count();
        assert!(x > 0, "not positive");
        x
    }
    let cache = memory();
    let _active = cache.enter();
    for _ in 0..2 {
        assert!(catch_unwind(AssertUnwindSafe(|| fragile(0))).is_err());
    }
    assert_eq!(RUNS.take(), 2);
    assert!(!fragile::contains(0).unwrap());
    assert_eq!(cache.stats().computed, 0);
}

#[test]
fn large_results_and_arguments_round_trip() {
    static RUNS: Runs = Runs::new();
    #[fleche]
    fn scaled(values: &[f64], by: f64) -> Vec<f64> {
        RUNS.count();
        values.iter().map(|value| value * by).collect()
    }
    let _active = memory().enter();
    let values: Vec<f64> = (0..1_000_000).map(f64::from).collect();
    let first = scaled(&values, 0.5);
    assert_eq!(first, scaled(&values, 0.5));
    assert_eq!(first[999_999], 499_999.5);
    assert_eq!(RUNS.take(), 1);
}

#[test]
fn result_that_does_not_decode_is_returned_but_not_recorded() {
    #[derive(Clone, serde::Serialize, serde::Deserialize)]
    struct Lossy(#[serde(deserialize_with = "refuse")] i64);
    fn refuse<'de, D: serde::Deserializer<'de>>(_: D) -> Result<i64, D::Error> {
        Err(serde::de::Error::custom("cannot be read"))
    }
    static RUNS: Runs = Runs::new();
    #[fleche]
    fn lossy(x: i64) -> Lossy {
        RUNS.count();
        Lossy(x)
    }
    let cache = memory();
    let _active = cache.enter();
    assert_eq!((lossy(3).0, lossy(3).0), (3, 3));
    assert_eq!(RUNS.take(), 2);
    assert_eq!(cache.stats().skipped[&SkipReason::ResultNotStorable], 2);
}

/// Returns the log lines about this function, from the message on.
fn lines(log: &str, function: &str) -> Vec<String> {
    let about = |line: &&str| line.contains("fleche_core::calls") && line.contains(function);
    log.lines().filter(about).map(|line| line.split("calls: ").last().unwrap().to_owned()).collect()
}

#[test]
fn every_look_up_emits_an_event() {
    static RUNS: Runs = Runs::new();
    #[fleche]
    fn told_simple(x: i64) -> i64 {
        RUNS.count();
        x
    }
    #[fleche]
    fn told_encoded(x: Vec<i64>) -> i64 {
        RUNS.count();
        x[0]
    }
    let cache = memory();
    let other = cache.to_builder().hot_tier(fleche_core::cache::HotTier::OFF).build();
    let ((), log) = logged_with_calls(|| {
        for _ in 0..2 {
            cache.scope(|| (told_simple(1), told_encoded(vec![1])));
        }
        other.scope(|| told_simple(1));
        cache.scope(|| told_simple::rerun(1));
    });
    assert_eq!(RUNS.take(), 3);
    let key = told_simple::key(1);
    let told = lines(&log, "told_simple");
    let wanted = [
        ("miss", "reason=\"not recorded\""),
        ("hit", "from=\"thread-local tier\""),
        ("hit", "from=\"store\""),
        ("miss", "reason=\"rerun\""),
    ];
    assert_eq!(told.len(), wanted.len(), "{log}");
    for (line, (message, field)) in told.iter().zip(wanted) {
        assert!(line.starts_with(message) && line.contains(field) && line.contains(&format!("key={key}")), "{line}");
    }
    let key = told_encoded::key(vec![1]);
    let told = lines(&log, "told_encoded");
    assert!(told[1].starts_with("hit") && told[1].contains(&format!("key={key}")), "{log}");
}

#[test]
fn skip_event_has_a_reason() {
    #[fleche]
    fn told_failing(x: i64) -> Result<i64, String> {
        Err(x.to_string())
    }
    let (_, log) = logged_with_calls(|| memory().scope(|| told_failing(1)));
    let told = lines(&log, "told_failing");
    let key = told_failing::key(1);
    assert!(told[1].starts_with("skip") && told[1].contains("reason=the function returned an error"), "{log}");
    assert!(told[1].contains(&format!("key={key}")), "{log}");
}

#[test]
fn async_calls_emit_events() {
    #[fleche]
    async fn told_later(x: i64) -> i64 {
        x
    }
    let cache = memory();
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let ((), log) = logged_with_calls(|| {
        for _ in 0..2 {
            runtime.block_on(cache.scope(|| told_later(1)));
        }
    });
    let told = lines(&log, "told_later");
    assert!(told[0].starts_with("miss") && told[1].starts_with("hit"), "{log}");
}
