//! Tests of functions that return a job, whose result is recorded when the job is done.

use std::{
    future::Future,
    pin::pin,
    sync::Mutex,
    task::{Context, Waker},
    thread,
};

use fleche_core::{
    Job, JobError, SkipReason, fleche,
    job::{self, Completer},
    metadata::RuntimeReport,
};

use crate::support::{Runs, memory};

/// The completer of the job that a body has created last.
struct Made<T>(Mutex<Option<Completer<T>>>);

impl<T: Send + 'static> Made<T> {
    const fn new() -> Self {
        Self(Mutex::new(None))
    }

    fn job(&self) -> Job<T> {
        let (completer, job) = job::channel();
        *self.0.lock().unwrap() = Some(completer);
        job
    }

    fn take(&self) -> Completer<T> {
        self.0.lock().unwrap().take().expect("no body has created a job")
    }
}

#[test]
fn miss_returns_the_job_and_hit_returns_a_finished_job() {
    static RUNS: Runs = Runs::new();
    static MADE: Made<i64> = Made::new();
    #[fleche]
    fn submitted(_x: i64) -> Job<i64> {
        RUNS.count();
        MADE.job()
    }
    let cache = memory();
    let _active = cache.enter();
    let job = submitted(1);
    assert!(!job.is_done() && !submitted::contains(1).unwrap());
    MADE.take().complete(7);
    assert_eq!(job.result(), Ok(7));
    let hit = submitted(1);
    assert!(hit.is_done());
    assert_eq!(hit.result(), Ok(7));
    assert_eq!(RUNS.take(), 1);
    let stats = cache.stats();
    assert_eq!((stats.hits, stats.misses, stats.computed), (1, 1, 1));
}

#[test]
fn record_exists_before_the_result_is_visible() {
    static MADE: Made<String> = Made::new();
    #[fleche]
    fn seen(_x: i64) -> Job<String> {
        MADE.job()
    }
    let cache = memory();
    let key = seen::key(1);
    let job = cache.scope(|| seen(1));
    let (tell, told) = std::sync::mpsc::channel();
    job.on_done({
        let cache = cache.clone();
        move || tell.send(cache.contains(&key).unwrap()).unwrap()
    });
    let waiting = thread::spawn(move || job.result().map(|result| (result.len(), cache.contains(&key).unwrap())));
    MADE.take().complete("y".repeat(200));
    assert_eq!(told.recv(), Ok(true));
    assert_eq!(waiting.join().unwrap(), Ok((200, true)));
}

#[test]
fn finished_job_is_recorded_at_once() {
    #[fleche]
    fn instant(x: i64) -> Job<i64> {
        Job::ready(x + 1)
    }
    let _active = memory().enter();
    let job = instant(1);
    assert!(job.is_done() && instant::contains(1).unwrap());
    assert_eq!(job.result(), Ok(2));
}

#[test]
fn failed_job_records_nothing() {
    static RUNS: Runs = Runs::new();
    static MADE: Made<i64> = Made::new();
    #[fleche]
    fn failing(_x: i64) -> Job<i64> {
        RUNS.count();
        MADE.job()
    }
    let cache = memory();
    let _active = cache.enter();
    let lost = failing(1);
    MADE.take().fail(JobError::worker_died(Some(9), None));
    assert_eq!(lost.result(), Err(JobError::worker_died(Some(9), None)));
    let dropped = failing(1);
    drop(MADE.take());
    assert!(matches!(dropped.result(), Err(JobError::Rejected { .. })));
    assert!(!failing::contains(1).unwrap());
    assert_eq!((RUNS.take(), cache.stats().computed), (2, 0));
}

#[test]
fn returned_job_can_be_cancelled() {
    static MADE: Made<i64> = Made::new();
    #[fleche]
    fn cancelled(_x: i64) -> Job<i64> {
        MADE.job()
    }
    let _active = memory().enter();
    let job = cancelled(1);
    let completer = MADE.take();
    assert!(job.cancel());
    assert!(!completer.start());
    completer.complete(1);
    assert_eq!(job.result(), Err(JobError::Cancelled));
    assert!(!cancelled::contains(1).unwrap());
}

#[test]
fn dropping_the_job_does_not_lose_the_record() {
    static MADE: Made<i64> = Made::new();
    #[fleche]
    fn let_go(_x: i64) -> Job<i64> {
        MADE.job()
    }
    let _active = memory().enter();
    drop(let_go(1));
    MADE.take().complete(7);
    assert_eq!(let_go(1).result(), Ok(7));
}

#[test]
fn load_returns_a_finished_job() {
    #[fleche]
    fn loaded(x: i64) -> Job<i64> {
        Job::ready(x)
    }
    let _active = memory().enter();
    assert!(loaded::load(3).unwrap().is_none());
    drop(loaded(3));
    let job = loaded::load(3).unwrap().unwrap();
    assert!(job.is_done());
    assert_eq!(job.result(), Ok(3));
}

type Submitted<T> = Job<Result<T, String>>;

#[test]
fn job_of_a_result_alias_records_only_ok() {
    static RUNS: Runs = Runs::new();
    #[fleche]
    fn checked(x: i64) -> Submitted<i64> {
        RUNS.count();
        Job::ready(if x < 0 { Err("negative".to_owned()) } else { Ok(x) })
    }
    let cache = memory();
    let _active = cache.enter();
    for _ in 0..2 {
        assert_eq!(checked(1).result(), Ok(Ok(1)));
        assert_eq!(checked(-1).result(), Ok(Err("negative".to_owned())));
    }
    assert_eq!((RUNS.take(), cache.stats().skipped[&SkipReason::Failed]), (3, 2));
}

#[test]
fn job_of_an_err_is_recorded_with_cache_errors() {
    static RUNS: Runs = Runs::new();
    #[fleche(cache_errors)]
    fn kept(x: i64) -> Submitted<i64> {
        RUNS.count();
        Job::ready(Err(format!("{x} is wrong")))
    }
    let _active = memory().enter();
    assert_eq!(kept(1).result(), kept(1).result());
    assert_eq!(RUNS.take(), 1);
}

#[test]
fn returned_job_can_be_polled() {
    static MADE: Made<i64> = Made::new();
    #[fleche]
    fn polled(_x: i64) -> Job<i64> {
        MADE.job()
    }
    let _active = memory().enter();
    let mut job = pin!(polled(1));
    let mut context = Context::from_waker(Waker::noop());
    assert!(job.as_mut().poll(&mut context).is_pending());
    MADE.take().complete(7);
    assert_eq!(job.as_mut().poll(&mut context), std::task::Poll::Ready(Ok(7)));
}

#[test]
fn panic_while_recording_affects_neither_job_nor_completer() {
    #[derive(Clone, serde::Deserialize)]
    struct Explosive;
    impl serde::Serialize for Explosive {
        fn serialize<S: serde::Serializer>(&self, _: S) -> Result<S::Ok, S::Error> {
            panic!("not to be written")
        }
    }
    static MADE: Made<Explosive> = Made::new();
    #[fleche]
    fn explosive(_x: i64) -> Job<Explosive> {
        MADE.job()
    }
    let cache = memory();
    let _active = cache.enter();
    let job = explosive(1);
    MADE.take().complete(Explosive);
    assert!(job.result().is_ok());
    assert_eq!(cache.stats().skipped[&SkipReason::ResultNotStorable], 1);
}

#[test]
fn runtime_of_a_job_ends_with_it_and_has_no_processor_time() {
    static MADE: Made<i64> = Made::new();
    #[fleche]
    fn measured(_x: i64) -> Job<i64> {
        MADE.job()
    }
    let cache = memory();
    let _active = cache.enter();
    drop(measured(1));
    let completed = fleche_core::metadata::Timestamp::now();
    MADE.take().complete(7);
    let record = cache.record(&measured::key(1)).unwrap().unwrap();
    let runtime: RuntimeReport = record.metadata.get("runtime").unwrap().unwrap();
    assert_eq!(runtime.cpu_seconds, None);
    assert!(runtime.stop >= completed);
}
