//! Tests of results whose type has gained fields since they were recorded.

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    fmt::Debug,
};

use fleche_core::{
    Cache, CallKey,
    cache::{HotTier, StalePolicy},
    fleche,
};
use serde::{Deserialize, Serialize, de::DeserializeOwned};

use crate::support::{Runs, logged, memory};

/// Copies the record of one call to the key of another, with the code digest of the latter.
fn hand_on(cache: &Cache, from: CallKey, to: CallKey) {
    let code = cache.record(&to).unwrap().unwrap().function.clone();
    let mut record = (*cache.record(&from).unwrap().unwrap()).clone();
    record.function = code;
    cache.calls().put(&to, &fleche_core::Record::new(record)).unwrap();
}

/// Serves a result of the earlier type to a function that returns the present type, as if the same code had recorded
/// it. Evaluates to the numbers of reruns, warnings and preserved records.
macro_rules! gained {
    ($before:ident: $old:ty = $written:expr, $now:ident: $new:ty = $computed:expr) => {{
        static RUNS: Runs = Runs::new();
        #[fleche]
        fn $before(x: u64) -> $old {
            let _ = x;
            $written
        }
        #[fleche]
        fn $now(x: u64) -> $new {
            RUNS.count();
            let _ = x;
            $computed
        }
        let cache = memory().to_builder().hot_tier(HotTier::OFF).build();
        let active = cache.enter();
        let _ = ($before(1), $now(1));
        hand_on(&cache, $before::key(1), $now::key(1));
        let before = RUNS.take();
        assert_eq!(before, 1);
        let (results, log) = logged(|| ($now(1), $now(1)));
        assert_eq!(results, ($computed, $computed));
        drop(active);
        let kept = cache.calls().keys(&fleche_core::DigestPrefix::all()).unwrap().count() - 2;
        (RUNS.take(), log.matches("lack fields").count(), kept)
    }};
}

#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
struct Fit {
    slope: f64,
}

#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
struct FitWithError {
    slope: f64,
    #[serde(default)]
    error: f64,
}

#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
struct Around<T> {
    name: u8,
    #[serde(flatten)]
    fit: T,
}

#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(untagged)]
enum Either<T> {
    Fit(T),
    Failed(String),
}

#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
struct Open {
    name: u8,
    #[serde(flatten)]
    rest: BTreeMap<String, u8>,
}

const FIT: Fit = Fit { slope: 1.0 };
const WITH_ERROR: FitWithError = FitWithError { slope: 1.0, error: 0.5 };

/// The expected numbers of runs, warnings and preserved records.
const RUNS_AGAIN: (usize, usize, usize) = (1, 1, 1);
const IS_SERVED: (usize, usize, usize) = (0, 0, 0);

#[test]
fn result_that_gained_a_default_field_is_computed_again() {
    assert_eq!(gained!(plain_before: Fit = FIT, plain_now: FitWithError = WITH_ERROR), RUNS_AGAIN);
    assert_eq!(
        gained!(list_before: Vec<Fit> = vec![FIT; 3], list_now: Vec<FitWithError> = vec![WITH_ERROR; 3]),
        RUNS_AGAIN
    );
    assert_eq!(
        gained!(map_before: HashMap<u8, Option<Fit>> = HashMap::from([(1, Some(FIT))]),
                map_now: HashMap<u8, Option<FitWithError>> = HashMap::from([(1, Some(WITH_ERROR))])),
        RUNS_AGAIN
    );
}

#[test]
fn missing_option_counts_as_a_gained_field() {
    #[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
    struct WithOption {
        slope: f64,
        error: Option<f64>,
    }
    assert_eq!(
        gained!(option_before: Fit = FIT, option_now: WithOption = WithOption { slope: 1.0, error: Some(0.5) }),
        RUNS_AGAIN
    );
}

#[test]
fn renamed_field_counts_as_a_gained_field() {
    #[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
    struct Renamed {
        #[serde(default)]
        gradient: f64,
    }
    assert_eq!(gained!(renamed_before: Fit = FIT, renamed_now: Renamed = Renamed { gradient: 1.0 }), RUNS_AGAIN);
}

#[test]
fn fields_gained_in_nested_types_are_detected() {
    #[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
    enum Old {
        Line { slope: f64 },
        Pair(f64, String),
    }
    #[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
    enum New {
        Line {
            slope: f64,
            #[serde(default)]
            error: f64,
        },
        Pair(f64, String, #[serde(default)] u8),
    }
    assert_eq!(
        gained!(line_before: Old = Old::Line { slope: 1.0 }, line_now: New = New::Line { slope: 1.0, error: 0.5 }),
        RUNS_AGAIN
    );
    assert_eq!(
        gained!(pair_before: Old = Old::Pair(1.0, "a".into()), pair_now: New = New::Pair(1.0, "a".into(), 3)),
        RUNS_AGAIN
    );

    assert_eq!(
        gained!(flat_before: Around<Fit> = Around { name: 1, fit: FIT },
                flat_now: Around<FitWithError> = Around { name: 1, fit: WITH_ERROR }),
        RUNS_AGAIN
    );

    assert_eq!(
        gained!(untagged_before: Either<Fit> = Either::Fit(FIT),
                untagged_now: Either<FitWithError> = Either::Fit(WITH_ERROR)),
        RUNS_AGAIN
    );
    let _ = Either::<Fit>::Failed(String::new());
}

/// Asserts that a recorded value is served.
fn is_served<T>(value: T, call: fn(u64) -> T, runs: &Runs)
where
    T: Clone + PartialEq + Debug + Serialize + DeserializeOwned,
{
    let _active = memory().to_builder().hot_tier(HotTier::OFF).build().enter();
    let (results, log) = logged(|| [call(1), call(1), call(1)]);
    assert_eq!((results, runs.take()), ([value.clone(), value.clone(), value], 1));
    assert!(!log.contains("lack fields"), "{log}");
}

macro_rules! served {
    ($name:ident: $type:ty = $value:expr) => {{
        static RUNS: Runs = Runs::new();
        #[fleche]
        fn $name(x: u64) -> $type {
            RUNS.count();
            let _ = x;
            $value
        }
        is_served($value, $name, &RUNS);
    }};
}

#[test]
fn result_without_skipped_fields_is_served() {
    #[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
    struct Sparse {
        #[serde(default, skip_serializing_if = "Option::is_none")]
        note: Option<String>,
        #[serde(default, skip_serializing)]
        unwritten: u8,
        #[serde(alias = "colour")]
        color: u8,
        seen: HashSet<u32>,
    }
    served!(sparse: Sparse = Sparse { note: None, unwritten: 0, color: 1, seen: (0..50).collect() });
    served!(sparse_list: Vec<Sparse> = vec![
        Sparse { note: None, unwritten: 0, color: 1, seen: HashSet::new() },
        Sparse { note: Some("a".into()), unwritten: 0, color: 1, seen: HashSet::new() },
    ]);
    served!(json: serde_json::Value = serde_json::json!({ "a": [1, { "b": null }] }));
    served!(open: Open = Open { name: 1, rest: BTreeMap::from([("other".to_owned(), 2)]) });
    assert_eq!(gained!(same_before: Fit = FIT, same_now: Fit = FIT), IS_SERVED);
    // A recorded field that the type no longer has is ignored.
    assert_eq!(gained!(lost_before: FitWithError = WITH_ERROR, lost_now: Fit = FIT), IS_SERVED);
}

#[test]
fn type_that_never_round_trips_is_eventually_served() {
    static RUNS: Runs = Runs::new();
    fn one() -> u8 {
        1
    }
    // The value does not round-trip, which only its author can fix.
    #[derive(Clone, Debug, Serialize, Deserialize)]
    struct Odd {
        #[serde(default = "one", skip_serializing_if = "is_zero")]
        value: u8,
    }
    #[allow(clippy::trivially_copy_pass_by_ref)] // Serde requires this signature.
    fn is_zero(value: &u8) -> bool {
        *value == 0
    }
    #[fleche]
    fn odd(x: u64) -> Odd {
        RUNS.count();
        let _ = x;
        Odd { value: 0 }
    }
    let _active = memory().to_builder().hot_tier(HotTier::OFF).build().enter();
    for _ in 0..5 {
        odd(1);
    }
    assert_eq!(RUNS.take(), 2);
}

#[test]
fn stale_policy_decides_whether_defaults_are_filled_in() {
    static RUNS: Runs = Runs::new();
    #[fleche]
    fn policy_before(x: u64) -> Fit {
        let _ = x;
        FIT
    }
    #[fleche]
    fn policy_now(x: u64) -> FitWithError {
        RUNS.count();
        let _ = x;
        WITH_ERROR
    }
    let cache = memory().to_builder().hot_tier(HotTier::OFF).build();
    cache.scope(|| (policy_before(1), policy_now(1)));
    hand_on(&cache, policy_before::key(1), policy_now::key(1));
    RUNS.take();
    let filled = FitWithError { slope: 1.0, error: 0.0 };
    let (result, log) = logged(|| cache.to_builder().stale(StalePolicy::Serve).build().scope(|| policy_now(1)));
    assert_eq!((result, log.contains("lack fields"), RUNS.take()), (filled.clone(), false, 0));
    let (result, log) = logged(|| cache.to_builder().stale(StalePolicy::Warn).build().scope(|| policy_now(1)));
    assert_eq!((result, log.contains("lack fields"), RUNS.take()), (filled, true, 0));
    cache.scope(|| assert_eq!(policy_now::load(1).unwrap(), None));
    assert_eq!((cache.scope(|| policy_now(1)), RUNS.take()), (WITH_ERROR, 1));
}
