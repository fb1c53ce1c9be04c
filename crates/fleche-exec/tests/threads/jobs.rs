//! Jobs of a pool: cancelling, awaiting, being told.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering::SeqCst},
    mpsc,
};

use fleche_core::{ExecutorExt, JobError};

use super::common::{Gate, block_on, occupy, pool};

#[test]
fn a_job_cancelled_before_its_start_never_runs() {
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
fn a_job_that_has_started_cannot_be_cancelled() {
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
fn a_dropped_job_runs_on() {
    let pool = pool(1);
    let ran = Arc::new(AtomicBool::new(false));
    let within = ran.clone();
    drop(pool.spawn(move || within.store(true, SeqCst)));
    pool.shutdown();
    assert!(ran.load(SeqCst));
}

#[test]
fn a_job_can_be_awaited() {
    let pool = pool(1);
    let gate = occupy(&pool);
    let job = pool.submit(|x: i64| x + 1, (1,));
    let waiting = std::thread::spawn(|| block_on(job));
    gate.open();
    assert_eq!(waiting.join().unwrap(), Ok(2));
}

#[test]
fn a_panic_comes_out_of_an_awaited_job() {
    let pool = pool(1);
    let job = pool.spawn(|| -> i64 { panic!("not today") });
    assert!(matches!(block_on(job), Err(JobError::Panicked { message, .. }) if message == "not today"));
}

#[test]
fn a_job_tells_when_it_is_done() {
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
fn a_job_that_is_done_tells_at_once() {
    let pool = pool(1);
    let job = pool.spawn(|| 5);
    job.wait();
    let (tell, told) = mpsc::channel();
    job.on_done(move || tell.send(()).unwrap());
    told.try_recv().unwrap();
}
