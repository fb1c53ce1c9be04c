//! Cases of calls on executors: hits and misses, bound and nested calls, errors and panics, large and many calls.

use std::{collections::BTreeMap, ffi::CString, process, time::Duration};

use fleche_core::{Bound, ExecutorExt, JobError, Resources, executor::ExecutorConfig, job, metadata::TAGS, tag};

use super::fixture::{
    ExecutorFixture, lines, next, panics, refuses, result, reversed, square, starts_then_waits, sum_of_squares,
    wait_for, writes,
};

pub(super) fn miss(fixture: &ExecutorFixture) {
    fixture.each_cache(|cache, name| {
        let (log, pool) = (fixture.path(&format!("{name}.log")), fixture.wrapped());
        for x in 0..8 {
            assert_eq!(result(pool.submit(square, (log.clone(), x))), Ok(x * x));
            assert!(square::contains(log.clone(), x).unwrap(), "{name}: the result is available before its record");
        }
        assert_eq!((lines(&log), pool.inner().tasks()), (8, 8), "{name}: bodies and tasks of eight misses");
        assert_eq!(cache.query(&square::query()).unwrap().count(), 8, "{name}: records of eight misses");
    });
}

pub(super) fn hit(fixture: &ExecutorFixture) {
    fixture.each_cache(|_, name| {
        let log = fixture.path(&format!("{name}.log"));
        for x in 0..8 {
            square(log.clone(), x);
        }
        let pool = fixture.wrapped();
        let occupied = fixture.occupy_workers();
        for x in 0..8 {
            let job = pool.submit(square, (log.clone(), x));
            assert!(job.is_done(), "{name}: a hit waits for the busy executor");
            assert_eq!(job.result(), Ok(x * x));
        }
        let mapped: Vec<_> = pool.map(square, (0..8).map(|x| (log.clone(), x))).map(Result::unwrap).collect();
        assert!(mapped.into_iter().eq((0..8).map(|x| x * x)));
        assert_eq!((lines(&log), pool.inner().tasks()), (8, 0), "{name}: bodies and tasks of eight hits");
        occupied.release();
        std::fs::remove_file(fixture.path("gate")).unwrap_or_default();
    });
}

pub(super) fn coalesced(fixture: &ExecutorFixture) {
    fixture.each_cache(|_, name| {
        let (log, pool) = (fixture.path(&format!("{name}.log")), fixture.wrapped());
        let occupied = fixture.occupy_workers();
        let jobs: Vec<_> = (0..5).map(|_| pool.submit(square, (log.clone(), 3))).collect();
        occupied.release();
        std::fs::remove_file(fixture.path("gate")).unwrap_or_default();
        for job in jobs {
            assert_eq!(result(job), Ok(9));
        }
        assert_eq!(
            (lines(&log), pool.inner().tasks()),
            (1, 1),
            "{name}: bodies and tasks of five submissions of one call"
        );
    });
}

pub(super) fn bound(fixture: &ExecutorFixture) {
    fixture.each_cache(|cache, name| {
        let log = fixture.path(&format!("{name}.log"));
        let (function, call) = (Bound::bind(square), square::bind(log.clone(), 4));
        // The cache that is active at the submission must not matter.
        fleche_core::Cache::void().scope(|| {
            assert_eq!(result(fixture.executor.submit(function, (log.clone(), 3))), Ok(9));
            assert_eq!(result(fixture.executor.run(call.clone())), Ok(16));
            assert_eq!(result(fixture.executor.run(call)), Ok(16));
        });
        for x in [3, 4] {
            assert!(cache.contains(&square::key(log.clone(), x)).unwrap(), "{name}: the call with {x} is not recorded");
        }
        assert_eq!(lines(&log), 2, "{name}: bodies of two calls, one of them made twice");
    });
}

pub(super) fn nested(fixture: &ExecutorFixture) {
    fixture.each_cache(|cache, name| {
        let (log, pool) = (fixture.path(&format!("{name}.log")), fixture.wrapped());
        let _tag = tag("project", name).enter();
        assert_eq!(result(pool.submit(sum_of_squares, (log.clone(), 3, 4))), Ok(25));
        for x in [3, 4] {
            let record = cache.record(&square::key(log.clone(), x)).unwrap();
            let record = record.unwrap_or_else(|| panic!("{name}: the nested call is not recorded"));
            let tags: BTreeMap<String, String> = record.metadata.get(TAGS).unwrap().unwrap_or_default();
            assert_eq!(tags.get("project").map(String::as_str), Some(name), "{name}: the tag of the nested call");
            let here = record.writer.process == process::id();
            assert_ne!(here, fixture.is_elsewhere(), "{name}: whether the nested call ran in another process");
        }
        assert_eq!(lines(&log), 2);
    });
}

pub(super) fn error(fixture: &ExecutorFixture) {
    fixture.each_cache(|_, name| {
        let (log, pool) = (fixture.path(&format!("{name}.log")), fixture.wrapped());
        for _ in 0..2 {
            let outcome = result(pool.submit(refuses, (log.clone(), 7)));
            assert_eq!(outcome, Ok(Err("7 is refused".to_owned())), "{name}");
        }
        assert!(!refuses::contains(log.clone(), 7).unwrap(), "{name}: an error was recorded");
        assert_eq!(lines(&log), 2, "{name}: bodies of two calls that fail");
    });
}

pub(super) fn panic(fixture: &ExecutorFixture) {
    fixture.each_cache(|_, name| {
        let (log, pool) = (fixture.path(&format!("{name}.log")), fixture.wrapped());
        for _ in 0..2 {
            match result(pool.submit(panics, (log.clone(), 7))) {
                Err(JobError::Panicked { message, location }) => {
                    assert_eq!(message, "7 is too much");
                    assert!(
                        location.is_some_and(|location| location.contains("fixture.rs")),
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

pub(super) fn cancel(fixture: &ExecutorFixture) {
    let log = fixture.path("log");
    let occupied = fixture.occupy_workers();
    let jobs: Vec<_> = (0..4).map(|_| fixture.executor.submit(writes, (log.clone(),))).collect();
    let cancelled: Vec<_> = jobs.iter().map(fleche_core::Job::cancel).collect();
    // A call that runs in fixture has ended before it can be cancelled.
    let expected = !fixture.runs_in_place();
    assert!(cancelled.iter().all(|cancelled| *cancelled == expected), "whether calls were cancelled: {cancelled:?}");
    occupied.release();
    for job in jobs {
        assert_eq!(result(job), if expected { Err(JobError::Cancelled) } else { Ok(()) });
    }
    // A task that was submitted later has ended, so a cancelled one would have run by now.
    result(fixture.executor.submit(next, (1,))).unwrap();
    assert_eq!(lines(&log), if expected { 0 } else { 4 }, "bodies of cancelled calls");
}

pub(super) fn unknown_option(fixture: &ExecutorFixture) {
    let log = fixture.path("log");
    let unknown = fixture.executor.with(Resources::new().option("an-unknown-option", "1"));
    match result(unknown.submit(writes, (log.clone(),))) {
        Err(JobError::Rejected { why }) => {
            assert!(why.contains("`an-unknown-option`"), "the refusal does not name the option: {why}");
        }
        other => panic!("a task with an unknown option was not rejected: {other:?}"),
    }
    result(fixture.executor.submit(next, (1,))).unwrap();
    assert_eq!(lines(&log), 0, "bodies of refused calls");
}

pub(super) fn large_values(fixture: &ExecutorFixture) {
    fixture.each_cache(|_, name| {
        let pool = fixture.wrapped();
        let mut bytes = vec![b'x'; 8 << 20];
        bytes[0] = b'y';
        let text = CString::new(bytes.clone()).unwrap();
        bytes.reverse();
        let outcome = result(pool.submit(reversed, (text.clone(),))).unwrap();
        assert!(outcome.as_bytes() == bytes, "{name}: the result");
        assert!(reversed::load(text.clone()).unwrap().is_some_and(|stored| stored == outcome), "{name}: its record");
        assert!(pool.submit(reversed, (text,)).is_done(), "{name}: a hit");
    });
}

pub(super) fn many_calls(fixture: &ExecutorFixture) {
    let calls = u64::try_from(fixture.info.calls).unwrap();
    let mapped = fixture.executor.map(next, (0..calls).map(|x| (x,))).map(Result::unwrap);
    assert!(mapped.eq(1..=calls), "the results of a map");
    let jobs: Vec<_> = (0..calls.div_ceil(10)).map(|x| fixture.executor.submit(next, (x,))).collect();
    let joined = job::join_all(jobs).unwrap();
    assert!(joined.into_iter().eq(1..=calls.div_ceil(10)), "the results of calls submitted at once");
}

pub(super) fn in_parallel(fixture: &ExecutorFixture) {
    let (gate, count) = (fixture.path("gate"), fixture.info.at_once);
    if fixture.runs_in_place() {
        std::fs::write(&gate, "").unwrap();
        let job = fixture.executor.submit(starts_then_waits, (fixture.path("started"), gate));
        assert!(job.is_done(), "a call that should run in fixture was not done at submission");
        return;
    }
    let started: Vec<_> = (0..=count).map(|at| fixture.path(&at.to_string())).collect();
    let jobs: Vec<_> = started
        .iter()
        .map(|started| fixture.executor.submit(starts_then_waits, (started.clone(), gate.clone())))
        .collect();
    // This returns only if the calls run at the same time.
    started.iter().take(count).cloned().for_each(wait_for);
    assert!(
        !jobs[count].wait_timeout(Duration::from_millis(20)) && !started[count].exists(),
        "more than {count} calls run at the same time"
    );
    std::fs::write(gate, "").unwrap();
    for job in jobs {
        result(job).unwrap();
    }
}

pub(super) fn config(fixture: &ExecutorFixture) {
    let config = fixture.executor.config();
    let text = serde_json::to_string(&config).unwrap();
    let value: serde_json::Value = serde_json::from_str(&text).unwrap();
    assert_eq!(value["type"], fixture.info.name, "the `type` in {text}");
    let back: Box<dyn ExecutorConfig> = serde_json::from_str(&text).unwrap();
    assert!(*back == *config, "{text} reads back as {back:?}");
    assert_eq!(fixture.executor.reach(), fixture.info.reach, "the reach of the executor");
}
