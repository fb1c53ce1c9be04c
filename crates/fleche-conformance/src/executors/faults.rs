//! Cases of errors, panics, cancelled calls and refused options.

use fleche_core::{ExecutorExt, JobError, Resources};

use super::{
    bodies::{next, panics, refuses, writes},
    workplace::{ExecutorFixture, lines, result},
};

pub(super) fn error(place: &ExecutorFixture) {
    place.each_cache(|_, name| {
        let (log, pool) = (place.path(&format!("{name}.log")), place.wrapped());
        for _ in 0..2 {
            let outcome = result(pool.submit(refuses, (log.clone(), 7)));
            assert_eq!(outcome, Ok(Err("7 is refused".to_owned())), "{name}");
        }
        assert!(!refuses::contains(log.clone(), 7).unwrap(), "{name}: an error was recorded");
        assert_eq!(lines(&log), 2, "{name}: bodies of two calls that fail");
    });
}

pub(super) fn panic(place: &ExecutorFixture) {
    place.each_cache(|_, name| {
        let (log, pool) = (place.path(&format!("{name}.log")), place.wrapped());
        for _ in 0..2 {
            match result(pool.submit(panics, (log.clone(), 7))) {
                Err(JobError::Panicked { message, location }) => {
                    assert_eq!(message, "7 is too much");
                    assert!(
                        location.is_some_and(|location| location.contains("bodies.rs")),
                        "{name}: the location of the panic"
                    );
                }
                other => panic!("{name}: a panic was returned as {other:?}"),
            }
        }
        assert!(!panics::contains(log.clone(), 7).unwrap(), "{name}: a panic was recorded");
        assert_eq!(lines(&log), 2, "{name}: bodies of two calls that panic");
        assert_eq!(result(pool.submit(next, (1,))), Ok(2), "{name}: the executor after a panic");
    });
}

pub(super) fn cancel(place: &ExecutorFixture) {
    let log = place.path("log");
    let occupied = place.occupied();
    let jobs: Vec<_> = (0..4).map(|_| place.executor.submit(writes, (log.clone(),))).collect();
    let cancelled: Vec<_> = jobs.iter().map(fleche_core::Job::cancel).collect();
    // A call that runs in place has ended before it can be cancelled.
    let expected = !place.runs_in_place();
    assert!(cancelled.iter().all(|cancelled| *cancelled == expected), "whether calls were cancelled: {cancelled:?}");
    occupied.release();
    for job in jobs {
        assert_eq!(result(job), if expected { Err(JobError::Cancelled) } else { Ok(()) });
    }
    // A task that was submitted later has ended, so a cancelled one would have run by now.
    result(place.executor.submit(next, (1,))).unwrap();
    assert_eq!(lines(&log), if expected { 0 } else { 4 }, "bodies of cancelled calls");
}

pub(super) fn unknown_option(place: &ExecutorFixture) {
    let log = place.path("log");
    let unknown = place.executor.with(Resources::new().option("an-unknown-option", "1"));
    match result(unknown.submit(writes, (log.clone(),))) {
        Err(JobError::Rejected { why }) => {
            assert!(why.contains("`an-unknown-option`"), "the refusal does not name the option: {why}");
        }
        other => panic!("a task with an unknown option was not rejected: {other:?}"),
    }
    result(place.executor.submit(next, (1,))).unwrap();
    assert_eq!(lines(&log), 0, "bodies of refused calls");
}
