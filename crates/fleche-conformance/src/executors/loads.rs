//! Cases of large values, many calls, calls that run at the same time, and the configuration.

use std::{ffi::CString, time::Duration};

use fleche_core::{ExecutorExt, executor::ExecutorConfig, job};

use super::{
    bodies::{next, reversed, starts_then_waits, wait_for},
    workplace::{ExecutorFixture, result},
};

pub(super) fn large(place: &ExecutorFixture) {
    place.each_cache(|_, name| {
        let pool = place.wrapped();
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

pub(super) fn many(place: &ExecutorFixture) {
    let mapped = place.executor.map(next, (0..10_000).map(|x| (x,))).map(Result::unwrap);
    assert!(mapped.eq(1..=10_000), "the results of a map");
    let jobs: Vec<_> = (0..1000).map(|x| place.executor.submit(next, (x,))).collect();
    let joined = job::join_all(jobs).unwrap();
    assert!(joined.into_iter().eq(1..=1000), "the results of calls submitted at once");
}

pub(super) fn at_once(place: &ExecutorFixture) {
    let (gate, count) = (place.path("gate"), place.info.at_once);
    if place.runs_in_place() {
        std::fs::write(&gate, "").unwrap();
        let job = place.executor.submit(starts_then_waits, (place.path("started"), gate));
        assert!(job.is_done(), "a call that should run in place was not done at submission");
        return;
    }
    let started: Vec<_> = (0..=count).map(|at| place.path(&at.to_string())).collect();
    let jobs: Vec<_> = started
        .iter()
        .map(|started| place.executor.submit(starts_then_waits, (started.clone(), gate.clone())))
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

pub(super) fn config(place: &ExecutorFixture) {
    let config = place.executor.config();
    let text = serde_json::to_string(&config).unwrap();
    let value: serde_json::Value = serde_json::from_str(&text).unwrap();
    assert_eq!(value["type"], place.info.name, "the `type` in {text}");
    let back: Box<dyn ExecutorConfig> = serde_json::from_str(&text).unwrap();
    assert!(*back == *config, "{text} reads back as {back:?}");
    assert_eq!(place.executor.reach(), place.info.reach, "the reach of the executor");
}
