//! Tests of panics in users' types around tasks, jobs, bound calls and metadata.

use std::sync::Arc;

use fleche_conformance::faults::{Part, Tricky, defused, while_panics};
use fleche_core::{
    Executor, ExecutorExt, JobError, Task, collect,
    encoding::Encoded,
    executor::{ExecutorConfig, SubmitError},
    fleche, job,
    metadata::{Collector, MetadataKind},
    spi::catch_panic,
    store::Reach,
    wrap_executor,
};
use serde::{Deserialize, Serialize};

use super::support::{Runs, memory};

/// An executor that runs each task during its submission.
#[derive(Debug)]
struct AtOnce;

impl Executor for AtOnce {
    fn submit_task(&self, task: Task) -> Result<(), SubmitError> {
        task.run();
        Ok(())
    }

    fn config(&self) -> Box<dyn ExecutorConfig> {
        panic!("the test does not use the configuration")
    }

    fn reach(&self) -> Reach {
        Reach::Process
    }
}

#[test]
fn bound_call_whose_argument_panics_is_rejected_at_the_call() {
    static RUNS: Runs = Runs::new();
    #[fleche]
    fn bound(tricky: Tricky) -> u64 {
        RUNS.count();
        tricky.0
    }
    let _active = memory().enter();
    let unencodable = while_panics(Part::Serialize, || bound::bind(Tricky(1)));
    assert!(matches!(unencodable.call(), Err(JobError::Rejected { why }) if why.contains("tricky Serialize")));
    let call = bound::bind(Tricky(1));
    let unreadable = while_panics(Part::Deserialize, || call.call());
    assert!(matches!(unreadable, Err(JobError::Rejected { why }) if why.contains("tricky Deserialize")));
    assert_eq!(RUNS.take(), 0);
    assert_eq!(call.call(), Ok(1));
}

#[test]
fn submitted_call_whose_types_panic_runs() {
    static RUNS: Runs = Runs::new();
    #[fleche]
    fn submitted_call(tricky: Tricky) -> Tricky {
        RUNS.count();
        Tricky(tricky.0)
    }
    let wrapped = wrap_executor(AtOnce);
    for part in [Part::Serialize, Part::Deserialize, Part::Clone] {
        let _active = memory().enter();
        let result = while_panics(part, || wrapped.submit(submitted_call, (Tricky(1),)).result().map(defused));
        assert_eq!((result, RUNS.take()), (Ok(1), 1), "{part:?}");
    }
}

#[test]
fn submitted_hit_that_cannot_be_decoded_goes_to_the_executor() {
    static RUNS: Runs = Runs::new();
    #[fleche]
    fn submitted_hit(x: u64) -> Tricky {
        RUNS.count();
        Tricky(x)
    }
    let _active = memory().enter();
    submitted_hit(1);
    let wrapped = wrap_executor(AtOnce);
    let result = while_panics(Part::Deserialize, || wrapped.submit(submitted_hit, (1,)).result().map(defused));
    assert_eq!((result, RUNS.take()), (Ok(1), 1), "the hot tier must serve the hit without decoding");
}

#[test]
fn submitted_hit_whose_argument_panics_in_drop_is_a_hit() {
    static RUNS: Runs = Runs::new();
    #[fleche]
    fn submitted_with_drop(tricky: Tricky) -> u64 {
        RUNS.count();
        defused(tricky)
    }
    let _active = memory().enter();
    submitted_with_drop(Tricky(1));
    let result = while_panics(Part::Drop, || wrap_executor(AtOnce).submit(submitted_with_drop, (Tricky(1),)).result());
    assert_eq!((result, RUNS.take()), (Ok(1), 1));
}

#[test]
fn panic_in_a_drop_of_a_task_does_not_lose_its_result() {
    fn length(text: Tricky) -> u64 {
        defused(text)
    }
    let captured = Tricky(1);
    let done = while_panics(Part::Drop, || {
        let (task, spawned) = Task::from_closure(move || {
            let owned = captured;
            owned.0
        });
        task.run();
        // The result of this job is never taken.
        drop(AtOnce.submit(Tricky, (7,)));
        let (completer, cancelled) = job::channel();
        assert!(cancelled.cancel());
        completer.complete(Tricky(1));
        (spawned.result(), AtOnce.submit(length, (Tricky(3),)).result())
    });
    // Dropping the captured value is part of the body, which owns it.
    assert!(matches!(done.0, Err(JobError::Panicked { .. })), "{:?}", done.0);
    assert_eq!(done.1, Ok(3));
}

#[test]
fn panic_whose_payload_panics_in_drop_is_reported_as_a_panic() {
    struct Payload;
    impl Drop for Payload {
        fn drop(&mut self) {
            panic!("during the drop of a payload");
        }
    }
    let (task, ended) = Task::from_closure(|| -> u64 { std::panic::panic_any(Payload) });
    task.run();
    let ended = ended.result();
    assert!(
        matches!(ended, Err(JobError::Panicked { location: Some(ref at), .. }) if at.contains("task_panics.rs")),
        "{ended:?}"
    );
    assert!(matches!(catch_panic(|| -> u64 { std::panic::panic_any(Payload) }), Err(JobError::Panicked { .. })));
}

/// A kind of metadata that panics in one of its methods.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
enum TrickyKind {
    Begin,
    Name,
    Finish,
    Drop,
}

#[typetag::serde(name = "test-tricky-kind")]
impl MetadataKind for TrickyKind {
    fn name(&self) -> &'static str {
        assert!(*self != Self::Name, "tricky name");
        "tricky"
    }

    fn begin(&self) -> Box<dyn Collector> {
        assert!(*self != Self::Begin, "tricky begin");
        Box::new(TrickyCollector(self.clone()))
    }
}

struct TrickyCollector(TrickyKind);

impl Collector for TrickyCollector {
    fn finish(self: Box<Self>) -> fleche_core::Result<Encoded> {
        assert!(self.0 != TrickyKind::Finish, "tricky finish");
        Ok(Encoded::encode(&1)?)
    }
}

impl Drop for TrickyCollector {
    fn drop(&mut self) {
        assert!(self.0 != TrickyKind::Drop, "tricky drop");
    }
}

#[test]
fn panicking_metadata_kind_loses_only_its_report() {
    static RUNS: Runs = Runs::new();
    #[fleche]
    fn measured(x: u64) -> u64 {
        RUNS.count();
        x
    }
    for kind in [TrickyKind::Begin, TrickyKind::Name, TrickyKind::Finish, TrickyKind::Drop] {
        let cache = memory();
        let _active = cache.enter();
        let _kinds = collect([Arc::new(kind) as Arc<dyn MetadataKind>]).enter();
        assert_eq!((measured(1), measured(1), RUNS.take()), (1, 1, 1));
        let metadata = cache.record(&measured::key(1)).unwrap().unwrap().metadata.clone();
        assert_eq!(metadata.iter().count(), 0);
    }
}

#[test]
fn panicking_body_and_collector_drop_cause_one_panic() {
    #[fleche]
    fn fails(x: u64) -> u64 {
        assert!(x == 0, "the body");
        x
    }
    let _active = memory().enter();
    let _kinds = collect([Arc::new(TrickyKind::Drop) as Arc<dyn MetadataKind>]).enter();
    let panicked = catch_panic(|| fails(1));
    assert!(matches!(panicked, Err(JobError::Panicked { message, .. }) if message == "the body"));
}
