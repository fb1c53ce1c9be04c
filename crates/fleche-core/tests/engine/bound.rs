//! Tests of bound functions and calls without an executor.

use std::{collections::BTreeMap, thread};

use fleche_core::{Bound, JobError, fleche, metadata::TAGS, tag};

use crate::support::{Runs, memory};

#[test]
fn bound_function_uses_the_cache_it_was_bound_under() {
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
fn bound_call_carries_arguments_of_every_kind() {
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
fn function_bound_twice_keeps_its_first_cache() {
    static RUNS: Runs = Runs::new();
    #[fleche]
    fn bound_twice(x: i64) -> i64 {
        RUNS.count();
        x
    }
    let (inner, outer) = (memory(), memory());
    let bound = inner.scope(|| Bound::bind(bound_twice));
    let bound = outer.scope(|| Bound::bind(bound));
    assert_eq!(bound.call((1,)), 1);
    assert!(inner.contains(&bound_twice::key(1)).unwrap() && !outer.contains(&bound_twice::key(1)).unwrap());
    let job = fleche_core::ExecutorExt::submit(&fleche_core::wrap_executor(Refusing), bound, (1,));
    assert!(job.is_done(), "the call must be a hit in its bound cache");
    assert_eq!((job.result().unwrap(), RUNS.take()), (1, 1));
}

/// An executor that refuses every task.
#[derive(Debug)]
struct Refusing;

impl fleche_core::Executor for Refusing {
    fn submit_task(&self, task: fleche_core::Task) -> Result<(), fleche_core::executor::SubmitError> {
        Err(task.refuse("nothing is accepted here"))
    }
    fn config(&self) -> Box<dyn fleche_core::executor::ExecutorConfig> {
        unreachable!("the test does not use the configuration")
    }
    fn reach(&self) -> fleche_core::store::Reach {
        fleche_core::store::Reach::Process
    }
}

#[test]
fn panic_while_encoding_an_argument_fails_only_the_job() {
    #[derive(serde::Deserialize)]
    struct Explosive;
    impl serde::Serialize for Explosive {
        fn serialize<S: serde::Serializer>(&self, _: S) -> Result<S::Ok, S::Error> {
            panic!("cannot be encoded")
        }
    }
    #[fleche]
    fn explosive(_thing: Explosive) -> i64 {
        1
    }
    let _active = memory().enter();
    let job = fleche_core::ExecutorExt::submit(&fleche_core::wrap_executor(Refusing), explosive, (Explosive,));
    assert!(matches!(job.result(), Err(JobError::Rejected { .. })));
}

#[test]
fn completer_dropped_by_a_panicking_thread_fails_the_job() {
    let (completer, job) = fleche_core::job::channel::<i64>();
    let (told, hears) = std::sync::mpsc::channel();
    job.on_done(move || told.send(()).unwrap());
    let ended = thread::spawn(move || {
        let _held = completer;
        panic!("on purpose");
    });
    assert!(ended.join().is_err());
    hears.recv().unwrap();
    assert!(matches!(job.result(), Err(JobError::Rejected { .. })));
}

#[test]
fn memoized_function_can_be_called_while_its_thread_ends() {
    static RUNS: Runs = Runs::new();
    #[fleche]
    fn late(x: i64) -> i64 {
        RUNS.count();
        x
    }
    struct CallsLate;
    impl Drop for CallsLate {
        fn drop(&mut self) {
            late(1);
        }
    }
    thread_local!(static LATE: CallsLate = const { CallsLate });
    let cache = memory();
    thread::spawn(move || {
        LATE.with(|_| ());
        cache.scope(|| late(2));
    })
    .join()
    .unwrap();
    assert_eq!(RUNS.take(), 2);
}

#[test]
fn call_that_cannot_be_bound_fails_when_it_runs() {
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
fn rerun_applies_to_calls_bound_within_it() {
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
