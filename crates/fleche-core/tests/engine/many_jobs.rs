//! Tests of combinators over many jobs: results as they complete, all results, or the first error.

use std::{
    sync::{Arc, mpsc},
    task::{Context, Wake},
    thread,
};

use fleche_core::{
    Job, JobError,
    job::{self, Completer},
};

/// Creates this many jobs with their completers.
fn jobs(count: usize) -> (Vec<Completer<usize>>, Vec<Job<usize>>) {
    (0..count).map(|_| job::channel()).unzip()
}

#[test]
fn results_arrive_in_order_of_completion() {
    let (completers, jobs) = jobs(3);
    let mut results = job::as_completed(jobs);
    let mut seen = Vec::new();
    for (at, completer) in completers.into_iter().enumerate().rev() {
        completer.complete(10 * at);
        seen.extend(results.next());
    }
    assert_eq!(seen, [(2, Ok(20)), (1, Ok(10)), (0, Ok(0))]);
    assert_eq!(results.next(), None);
}

#[test]
fn finished_results_arrive_in_order_of_the_jobs() {
    let results: Vec<_> = job::as_completed([5, 6, 7].map(Job::ready)).collect();
    assert_eq!(results, [(0, Ok(5)), (1, Ok(6)), (2, Ok(7))]);
    assert_eq!(job::as_completed(Vec::<Job<u8>>::new()).next(), None);
}

#[test]
fn waiting_thread_is_woken_by_the_next_result() {
    let (completers, jobs) = jobs(2);
    let mut results = job::as_completed(jobs);
    let (tell, told) = mpsc::channel();
    let waiting = thread::spawn(move || {
        for result in results.by_ref() {
            tell.send(result).unwrap();
        }
    });
    for (at, completer) in completers.into_iter().enumerate() {
        completer.complete(at);
        assert_eq!(told.recv(), Ok((at, Ok(at))));
    }
    waiting.join().unwrap();
}

#[test]
fn errors_arrive_among_the_results() {
    let (mut completers, jobs) = jobs(2);
    let results = job::as_completed(jobs);
    completers.pop().unwrap().fail(JobError::TimedOut);
    drop(completers);
    let results: Vec<_> = results.collect();
    assert_eq!(results[0], (1, Err(JobError::TimedOut)));
    assert!(matches!(results[1], (0, Err(JobError::Rejected { .. }))));
}

#[test]
fn dropping_the_iterator_does_not_cancel_the_jobs() {
    let (completers, jobs) = jobs(2);
    drop(job::as_completed(jobs));
    assert!(completers.iter().all(Completer::start));
}

#[test]
fn join_all_returns_results_in_order_of_the_jobs() {
    let (completers, jobs) = jobs(3);
    for (at, completer) in completers.into_iter().enumerate().rev() {
        completer.complete(at);
    }
    assert_eq!(job::join_all(jobs), Ok(vec![0, 1, 2]));
    assert_eq!(job::join_all(Vec::<Job<u8>>::new()), Ok(vec![]));
}

#[test]
fn join_all_returns_the_first_error_and_cancels_pending_jobs() {
    let (mut completers, jobs) = jobs(4);
    let (failing, started, waiting) = (completers.remove(2), completers.remove(1), completers.remove(1));
    assert!(started.start());
    failing.fail(JobError::TimedOut);
    assert_eq!(job::join_all(jobs), Err(JobError::TimedOut));
    assert!(started.start() && !waiting.start() && !completers[0].start());
}

#[test]
fn join_all_results_returns_every_outcome() {
    let (mut completers, jobs) = jobs(3);
    completers.pop().unwrap().complete(2);
    completers.pop().unwrap().fail(JobError::TimedOut);
    completers.pop().unwrap().complete(0);
    assert_eq!(job::join_all_results(jobs), [Ok(0), Err(JobError::TimedOut), Ok(2)]);
}

#[test]
fn polled_job_can_still_be_waited_for() {
    struct Ignored;
    impl Wake for Ignored {
        fn wake(self: Arc<Self>) {}
    }
    let (completer, mut job) = job::channel();
    let waker = Arc::new(Ignored).into();
    assert!(std::pin::Pin::new(&mut job).poll(&mut Context::from_waker(&waker)).is_pending());
    let mut results = job::as_completed([job]);
    completer.complete(1);
    assert_eq!(results.next(), Some((0, Ok(1))));
}
