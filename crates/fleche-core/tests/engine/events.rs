//! Tests of the events about hits, misses and skips, each with its function, key and reason.

use fleche_core::fleche;

use crate::support::{Runs, logged_with_calls, memory};

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
    let other = cache.hot_tier(fleche_core::cache::HotTier::OFF);
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
