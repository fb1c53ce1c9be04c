//! Tests of the state that is passed to the thread of an isolated body, and back.

use std::{collections::BTreeMap, fs, panic, thread};

use fleche_core::{
    Cache, ExecutorExt, JobError, Resources,
    executor::assigned_gpus,
    fleche,
    metadata::{RuntimeReport, TAGS},
    tag, wrap_executor,
};
use fleche_exec::{Budget, ThreadPool};

use super::{directories::panic_payload, own_process::run_alone};
use crate::support::{Runs, logged, memory};

static RUNS: Runs = Runs::new();

#[fleche]
fn within(x: i64) -> i64 {
    RUNS.count();
    tracing::info!("within");
    x
}

#[fleche(isolate)]
fn around(x: i64) -> i64 {
    RUNS.count();
    within(x) + 1
}

#[test]
fn calls_inside_the_body_use_the_callers_cache_and_tags() {
    run_alone("passed_context::calls_inside_the_body_use_the_callers_cache_and_tags", || {
        let cache = memory();
        let _active = cache.enter();
        let _tag = tag("project", "alloy").enter();
        assert_eq!(around(1), 2);
        for key in [within::key(1), around::key(1)] {
            let record = cache.record(&key).unwrap().unwrap();
            let tags: BTreeMap<String, String> = record.metadata.get(TAGS).unwrap().unwrap();
            assert_eq!(tags["project"], "alloy");
        }
        assert_eq!(RUNS.take(), 2);
    });
}

#[test]
fn rerun_also_reruns_calls_inside_the_body() {
    run_alone("passed_context::rerun_also_reruns_calls_inside_the_body", || {
        let _active = memory().enter();
        around(1);
        around::rerun(1);
        assert_eq!(RUNS.take(), 4);
    });
}

#[test]
fn events_of_the_body_go_to_the_callers_subscriber() {
    run_alone("passed_context::events_of_the_body_go_to_the_callers_subscriber", || {
        let (_, log) = logged(|| memory().scope(|| around(1)));
        assert!(log.contains("within"), "{log}");
    });
}

#[test]
fn processor_time_of_the_body_counts_for_the_call() {
    #[fleche(isolate)]
    fn spins(x: i64) -> i64 {
        // Tens of milliseconds of work, compared to a fraction of one for starting the thread.
        (0..10_000_000_i64).fold(x, |sum, term| std::hint::black_box(sum ^ term))
    }
    run_alone("passed_context::processor_time_of_the_body_counts_for_the_call", || {
        let cache = memory();
        cache.scope(|| spins(1));
        let record = cache.record(&cache.scope(|| spins::key(1))).unwrap().unwrap();
        let report: RuntimeReport = record.metadata.get("runtime").unwrap().unwrap();
        assert!(report.cpu_seconds.unwrap() > 0.002, "{report:?}");
    });
}

#[test]
fn isolated_body_has_the_gpus_of_its_task() {
    #[fleche(isolate)]
    fn asks(x: i64) -> (i64, Vec<u32>) {
        (x, assigned_gpus().to_vec())
    }
    run_alone("passed_context::isolated_body_has_the_gpus_of_its_task", || {
        let _active = memory().enter();
        let budget = Budget { gpus: vec![4], ..Budget::default() };
        let pool = wrap_executor(ThreadPool::with_budget(1, budget).unwrap());
        assert_eq!(pool.with(Resources::new().gpus(1)).submit(asks, (1,)).result(), Ok((1, vec![4])));
    });
}

#[test]
fn arguments_may_be_borrowed() {
    #[fleche(isolate)]
    fn borrows(text: &str, numbers: &[i64]) -> usize {
        text.len() + numbers.len()
    }
    run_alone("passed_context::arguments_may_be_borrowed", || {
        let text = String::from("abc");
        assert_eq!(memory().scope(|| borrows(&text, &[1, 2])), 5);
    });
}

#[test]
fn generic_functions_and_patterns_can_be_isolated() {
    #[fleche(isolate)]
    fn generic<T: serde::Serialize + serde::de::DeserializeOwned + Send + Clone + Sync + 'static>(
        (mut first, _): (Vec<T>, bool),
        more: impl Into<u8> + serde::Serialize + serde::de::DeserializeOwned + Send + 'static,
    ) -> (Vec<T>, u8) {
        first.pop();
        (first, more.into())
    }
    run_alone("passed_context::generic_functions_and_patterns_can_be_isolated", || {
        assert_eq!(memory().scope(|| generic((vec![1, 2], true), 3_u8)), (vec![1], 3));
    });
}

#[test]
fn panic_reaches_the_caller_with_its_payload_and_records_nothing() {
    #[fleche(isolate)]
    fn throws(x: i64) -> i64 {
        panic::panic_any(x)
    }
    run_alone("passed_context::panic_reaches_the_caller_with_its_payload_and_records_nothing", || {
        let cache = memory();
        let payload = panic_payload(|| cache.scope(|| throws(7)));
        assert_eq!(*payload.downcast::<i64>().unwrap(), 7);
        assert!(!cache.contains(&throws::key(7)).unwrap());
    });
}

#[test]
fn job_error_has_the_location_of_the_bodys_panic() {
    #[fleche(isolate)]
    fn fails(x: i64) -> i64 {
        panic!("no {x}")
    }
    run_alone("passed_context::job_error_has_the_location_of_the_bodys_panic", || {
        let _active = memory().enter();
        let error = wrap_executor(ThreadPool::new(1).unwrap()).submit(fails, (1,)).result().unwrap_err();
        let JobError::Panicked { message, location } = error else { panic!("{error}") };
        assert_eq!(message, "no 1");
        assert!(location.unwrap().contains("passed_context.rs"));
    });
}

#[test]
fn stack_has_the_requested_size() {
    #[inline(never)]
    fn deep(levels: u64) -> u64 {
        let frame = std::hint::black_box([levels; 128]);
        if levels == 0 { frame[0] } else { 1 + deep(levels - 1) + frame[1] - frame[2] }
    }
    #[fleche(isolate(stack = "64 MiB"))]
    fn recurses(levels: u64) -> u64 {
        deep(levels)
    }
    run_alone("passed_context::stack_has_the_requested_size", || {
        // At least 1 KiB a level: more than the default stack of a thread or of the main thread.
        assert_eq!(memory().scope(|| recurses(16_000)), 16_000);
    });
}

#[test]
fn private_directory_is_never_searched_for_configuration() {
    #[fleche(isolate)]
    fn looks(x: i64) -> (i64, bool, bool) {
        fs::write("fleche.toml", "root = true\n").unwrap();
        // The second thread has entered no cache and is the first to need the default.
        let default = thread::spawn(|| fleche_core::active_cache().config()).join().unwrap();
        let mine = Cache::named("mine").unwrap();
        (x, default == mine.config(), default == Cache::void().config())
    }
    run_alone("passed_context::private_directory_is_never_searched_for_configuration", || {
        let text = "root = true\n[cache.mine]\nvalues = { type = \"memory\", id = \"v\" }\n\
                    calls = { type = \"memory\", id = \"c\" }\n";
        fs::write("fleche.toml", text).unwrap();
        assert_eq!(memory().scope(|| looks(1)), (1, true, false));
    });
}

#[test]
fn store_with_relative_path_stays_where_it_was_opened() {
    run_alone("passed_context::store_with_relative_path_stays_where_it_was_opened", || {
        use fleche_store_file::{FileCalls, FileValues};
        let cache = Cache::new(FileValues::open("values").unwrap(), FileCalls::open("calls").unwrap());
        assert_eq!(cache.scope(|| around(1)), 2);
        let reopened = Cache::new(FileValues::open("values").unwrap(), FileCalls::open("calls").unwrap());
        assert!(reopened.contains(&within::key(1)).unwrap() && reopened.contains(&around::key(1)).unwrap());
        assert_eq!(reopened.scope(|| around(1)), 2);
        assert_eq!(RUNS.take(), 2);
    });
}
