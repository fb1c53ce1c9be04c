//! Results whose type has got fields since they were recorded.

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

/// Puts the record of one call under the key of another, with the digest of that one's code.
fn hand_on(cache: &Cache, from: CallKey, to: CallKey) {
    let code = cache.record(&to).unwrap().unwrap().function.clone();
    let mut record = (*cache.record(&from).unwrap().unwrap()).clone();
    record.function = code;
    cache.calls().put(&to, &fleche_core::Record::new(record)).unwrap();
}

/// The earlier type, and the one that it became, recorded by the same code.
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
        let cache = memory().hot_tier(HotTier::OFF);
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

/// Runs, warnings and records that were kept.
const RUNS_AGAIN: (usize, usize, usize) = (1, 1, 1);
const IS_SERVED: (usize, usize, usize) = (0, 0, 0);

#[test]
fn a_result_that_gained_a_field_with_a_default_is_computed_again() {
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
fn an_option_that_was_not_recorded_is_a_field_that_was_gained() {
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
fn a_field_that_was_renamed_is_one_that_was_gained() {
    #[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
    struct Renamed {
        #[serde(default)]
        gradient: f64,
    }
    assert_eq!(gained!(renamed_before: Fit = FIT, renamed_now: Renamed = Renamed { gradient: 1.0 }), RUNS_AGAIN);
}

#[test]
fn variants_tuples_flattened_and_buffered_structs_gain_fields_too() {
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

/// Returns whether a recorded value is served.
fn is_served<T>(value: T, call: fn(u64) -> T, runs: &Runs)
where
    T: Clone + PartialEq + Debug + Serialize + DeserializeOwned,
{
    let _active = memory().hot_tier(HotTier::OFF).enter();
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
fn fields_that_are_rightly_absent_are_served() {
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
    // What the type has no field for any more is no field that it lacks.
    assert_eq!(gained!(lost_before: FitWithError = WITH_ERROR, lost_now: Fit = FIT), IS_SERVED);
}

#[test]
fn a_type_that_fills_in_what_it_has_written_is_not_computed_for_ever() {
    static RUNS: Runs = Runs::new();
    fn one() -> u8 {
        1
    }
    // It does not come back as it was, which only the author can mend.
    #[derive(Clone, Debug, Serialize, Deserialize)]
    struct Odd {
        #[serde(default = "one", skip_serializing_if = "is_zero")]
        value: u8,
    }
    #[allow(clippy::trivially_copy_pass_by_ref)] // As serde asks.
    fn is_zero(value: &u8) -> bool {
        *value == 0
    }
    #[fleche]
    fn odd(x: u64) -> Odd {
        RUNS.count();
        let _ = x;
        Odd { value: 0 }
    }
    let _active = memory().hot_tier(HotTier::OFF).enter();
    for _ in 0..5 {
        odd(1);
    }
    assert_eq!(RUNS.take(), 2);
}

#[test]
fn the_stale_policy_says_whether_fields_get_their_defaults() {
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
    let cache = memory().hot_tier(HotTier::OFF);
    cache.scope(|| (policy_before(1), policy_now(1)));
    hand_on(&cache, policy_before::key(1), policy_now::key(1));
    RUNS.take();
    let filled = FitWithError { slope: 1.0, error: 0.0 };
    let (result, log) = logged(|| cache.stale(StalePolicy::Serve).scope(|| policy_now(1)));
    assert_eq!((result, log.contains("lack fields"), RUNS.take()), (filled.clone(), false, 0));
    let (result, log) = logged(|| cache.stale(StalePolicy::Warn).scope(|| policy_now(1)));
    assert_eq!((result, log.contains("lack fields"), RUNS.take()), (filled, true, 0));
    cache.scope(|| assert_eq!(policy_now::load(1).unwrap(), None));
    assert_eq!((cache.scope(|| policy_now(1)), RUNS.take()), (WITH_ERROR, 1));
}
