//! Jobs of a pool: cancelling, awaiting, callbacks.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering::SeqCst},
    mpsc,
};

use fleche_core::{ExecutorExt, JobError};

use super::common::{Gate, block_on, occupy, pool};

#[test]
fn job_cancelled_before_its_start_never_runs() {
    let pool = pool(1);
    let gate = occupy(&pool);
    let ran = Arc::new(AtomicBool::new(false));
    let within = ran.clone();
    let job = pool.spawn(move || within.store(true, SeqCst));
    assert!(job.cancel());
    gate.open();
    pool.shutdown();
    assert_eq!(job.result(), Err(JobError::Cancelled));
    assert!(!ran.load(SeqCst));
}

#[test]
fn started_job_cannot_be_cancelled() {
    let pool = pool(1);
    let (started, gate) = (Arc::new(Gate::new()), Arc::new(Gate::new()));
    let within = (started.clone(), gate.clone());
    let job = pool.spawn(move || {
        within.0.open();
        within.1.wait();
        7
    });
    started.wait();
    assert!(!job.cancel());
    gate.open();
    assert_eq!(job.result(), Ok(7));
}

#[test]
fn task_of_a_dropped_job_still_runs() {
    let pool = pool(1);
    let ran = Arc::new(AtomicBool::new(false));
    let within = ran.clone();
    drop(pool.spawn(move || within.store(true, SeqCst)));
    pool.shutdown();
    assert!(ran.load(SeqCst));
}

#[test]
fn job_can_be_awaited() {
    let pool = pool(1);
    let gate = occupy(&pool);
    let job = pool.submit(|x: i64| x + 1, (1,));
    let waiting = std::thread::spawn(|| block_on(job));
    gate.open();
    assert_eq!(waiting.join().unwrap(), Ok(2));
}

#[test]
fn panic_is_returned_from_an_awaited_job() {
    let pool = pool(1);
    let job = pool.spawn(|| -> i64 { panic!("not today") });
    assert!(matches!(block_on(job), Err(JobError::Panicked { message, .. }) if message == "not today"));
}

#[test]
fn callback_runs_when_the_job_is_done() {
    let pool = pool(1);
    let gate = occupy(&pool);
    let job = pool.spawn(|| 5);
    let (tell, told) = mpsc::channel();
    job.on_done(move || tell.send(()).unwrap());
    assert!(told.try_recv().is_err());
    gate.open();
    told.recv().unwrap();
    assert!(job.is_done());
}

#[test]
fn callback_of_a_finished_job_runs_at_once() {
    let pool = pool(1);
    let job = pool.spawn(|| 5);
    job.wait();
    let (tell, told) = mpsc::channel();
    job.on_done(move || tell.send(()).unwrap());
    told.try_recv().unwrap();
}
