//! Bodies that panic, and bodies that kill their worker.

use std::{hint::black_box, process};

use fleche_core::{ExecutorExt, Job, JobError, Resources, fleche, job::LossCause, wrap_executor};
use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};

use super::common::{memory, pool, result, whoami};

fn panics(x: i64) -> i64 {
    assert!(x < 0, "{x} is not negative");
    x
}

fn next(x: i64) -> i64 {
    x + 1
}

fn aborts() {
    process::abort()
}

fn is_killed() {
    kill(Pid::this(), Signal::SIGKILL).unwrap();
}

fn exits() {
    process::exit(3)
}

fn overflows(depth: u64) -> u64 {
    let large = black_box([depth; 1024]);
    if depth == u64::MAX { 0 } else { overflows(depth + 1) + black_box(large)[1] }
}

#[test]
fn panic_is_returned_with_its_location_and_the_worker_survives() {
    let pool = pool(1);
    let before = result(pool.submit(whoami, ())).unwrap();
    match result(pool.submit(panics, (5,))) {
        Err(JobError::Panicked { message, location }) => {
            assert_eq!(message, "5 is not negative");
            assert!(location.unwrap().contains("worker_loss.rs"));
        }
        other => panic!("{other:?}"),
    }
    assert_eq!(result(pool.submit(whoami, ())).unwrap(), before);
}

/// Checks that the submitted task is lost to the signal or the exit, and that the tasks around it are not.
fn loses<T: std::fmt::Debug + PartialEq>(
    submit: impl FnOnce(&fleche_exec::ProcessPool) -> Job<T>,
    signals: &[Option<i32>],
    code_of_exit: Option<i32>,
) {
    let pool = pool(1);
    // Short tasks, so that others are on their way to the worker when it dies.
    let before: Vec<_> = (0..100).map(|x| pool.submit(next, (x,))).collect();
    let lost = submit(&pool);
    let after: Vec<_> = (0..100).map(|x| pool.submit(next, (x,))).collect();
    match result(lost) {
        Err(JobError::WorkerLost(why)) => {
            assert!(why.cause == LossCause::Died && signals.contains(&why.signal), "{why:?}");
            assert_eq!(why.code, code_of_exit);
        }
        other => panic!("{other:?}"),
    }
    for jobs in [before, after] {
        for (x, job) in (0..).zip(jobs) {
            assert_eq!(result(job), Ok(x + 1));
        }
    }
    assert_eq!((pool.stats().workers, pool.stats().lost), (2, 1));
}

#[test]
fn aborting_body_loses_only_its_own_task() {
    loses(|pool| pool.submit(aborts, ()), &[Some(Signal::SIGABRT as i32)], None);
}

#[test]
fn killed_worker_loses_only_its_running_task() {
    loses(|pool| pool.submit(is_killed, ()), &[Some(Signal::SIGKILL as i32)], None);
}

#[test]
fn stack_overflow_loses_only_its_own_task() {
    loses(|pool| pool.submit(overflows, (1,)), &[Some(Signal::SIGABRT as i32), Some(Signal::SIGSEGV as i32)], None);
}

#[test]
fn exiting_body_loses_only_its_own_task() {
    loses(|pool| pool.submit(exits, ()), &[None], Some(3));
}

#[test]
fn workers_killed_at_any_time_lose_no_task_that_may_be_retried() {
    let _active = memory().enter();
    let pool = wrap_executor(pool(2));
    let stubborn = pool.with(Resources::new().retries(1000));
    let (mut jobs, mut workers) = (Vec::new(), Vec::new());
    for x in 0..4000 {
        jobs.push(stubborn.submit(squares, (x,)));
        if x % 100 == 0 {
            jobs.push(stubborn.submit(long, (x,)));
            workers.push(stubborn.submit(whoami, ()));
        }
    }
    for worker in workers {
        // Killed as soon as its process id is known, in the middle of the tasks that follow.
        let worker = result(worker).unwrap();
        let _ = kill(Pid::from_raw(i32::try_from(worker).unwrap()), Signal::SIGKILL);
    }
    for job in jobs {
        let value = result(job).unwrap();
        let root = value.isqrt();
        assert_eq!(root * root, value);
        assert!(squares::contains(root).unwrap() || long::contains(root).unwrap());
    }
    assert!(pool.inner().stats().lost > 1);
}

#[fleche]
fn squares(x: i64) -> i64 {
    x * x
}

/// Takes long enough that tasks behind it have to wait.
#[fleche]
fn long(x: i64) -> i64 {
    let mut sum = 0_u64;
    for y in 0..3_000_000 {
        sum = black_box(sum.wrapping_add(y));
    }
    x * x
}
