//! Bound functions and calls, without any pool.

use std::{collections::BTreeMap, thread};

use fleche_core::{Bound, JobError, fleche, metadata::TAGS, tag};

use crate::support::{Runs, memory};

#[test]
fn a_bound_function_uses_the_cache_it_was_bound_under() {
    static RUNS: Runs = Runs::new();
    #[fleche]
    fn bound_step(x: i64) -> i64 {
        RUNS.count();
        x + 1
    }
    fn pipeline(x: i64) -> i64 {
        bound_step(x) * 3
    }
    let (bound_to, elsewhere) = (memory(), memory());
    let bound = bound_to.scope(|| {
        let _tag = tag("project", "alloy").enter();
        Bound::bind(pipeline)
    });
    let result = thread::spawn({
        let elsewhere = elsewhere.clone();
        move || {
            let _active = elsewhere.enter();
            let _tag = tag("project", "other").enter();
            let result = bound.call((10,));
            assert_eq!(bound_step(10), 11);
            result
        }
    });
    assert_eq!(result.join().unwrap(), 33);
    assert_eq!(RUNS.take(), 2);
    let tags = |cache: &fleche_core::Cache| {
        let record = cache.record(&bound_step::key(10)).unwrap().unwrap();
        record.metadata.get::<BTreeMap<String, String>>(TAGS).unwrap().unwrap()["project"].clone()
    };
    assert_eq!((tags(&bound_to), tags(&elsewhere)), ("alloy".to_owned(), "other".to_owned()));
}

#[test]
fn a_bound_call_carries_arguments_of_every_kind() {
    static RUNS: Runs = Runs::new();
    #[fleche(ignore(verbose))]
    fn carried(x: i64, label: &str, values: &[f64], pair: &(u8, String), verbose: bool) -> String {
        RUNS.count();
        format!("{x} {label} {values:?} {pair:?} {verbose}")
    }
    let cache = memory();
    let call = cache.scope(|| carried::bind(1, "a", &[0.5], &(2, "b".to_owned()), true));
    assert_eq!(call.key(), Some(carried::key(1, "a", &[0.5], &(2, "b".to_owned()), false)));
    let again = call.clone();
    let result = thread::spawn(move || call.call()).join().unwrap().unwrap();
    assert_eq!(result, "1 a [0.5] (2, \"b\") true");
    assert_eq!(again.call().unwrap(), result);
    assert_eq!(RUNS.take(), 1);
    assert!(cache.contains(&again.key().unwrap()).unwrap());
}

#[test]
fn a_call_that_cannot_be_bound_says_so_when_it_runs() {
    #[fleche]
    fn unbindable(file: &fleche_core::FileContent) -> bool {
        file.exists()
    }
    let call = memory().scope(|| unbindable::bind(&fleche_core::FileContent::new("no/such/file")));
    assert_eq!(call.key(), None);
    let error = call.call().unwrap_err();
    assert!(matches!(&error, JobError::Rejected { why } if why.contains("argument `file`")), "{error}");
}

#[test]
fn a_rerun_reaches_calls_bound_inside_it() {
    static RUNS: Runs = Runs::new();
    #[fleche]
    fn far(x: i64) -> i64 {
        RUNS.count();
        x
    }
    #[fleche]
    fn near(x: i64) -> i64 {
        let call = far::bind(x);
        thread::spawn(move || call.call().unwrap()).join().unwrap()
    }
    let _active = memory().enter();
    near(1);
    near::rerun(1);
    assert_eq!(RUNS.take(), 2);
}
