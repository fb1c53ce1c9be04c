//! Cases of hits and misses, bound calls, and nested calls.

use std::{collections::BTreeMap, process};

use fleche_core::{Bound, ExecutorExt, metadata::TAGS, tag};

use super::{
    bodies::{square, sum_of_squares},
    workplace::{ExecutorFixture, lines, result},
};

pub(super) fn miss(place: &ExecutorFixture) {
    place.each_cache(|cache, name| {
        let (log, pool) = (place.path(&format!("{name}.log")), place.wrapped());
        for x in 0..8 {
            assert_eq!(result(pool.submit(square, (log.clone(), x))), Ok(x * x));
            assert!(square::contains(log.clone(), x).unwrap(), "{name}: the result is available before its record");
        }
        assert_eq!((lines(&log), pool.inner().tasks()), (8, 8), "{name}: bodies and tasks of eight misses");
        assert_eq!(cache.query(&square::query()).unwrap().count(), 8, "{name}: records of eight misses");
    });
}

pub(super) fn hit(place: &ExecutorFixture) {
    place.each_cache(|_, name| {
        let log = place.path(&format!("{name}.log"));
        for x in 0..8 {
            square(log.clone(), x);
        }
        let pool = place.wrapped();
        let occupied = place.occupied();
        for x in 0..8 {
            let job = pool.submit(square, (log.clone(), x));
            assert!(job.is_done(), "{name}: a hit waits for the busy executor");
            assert_eq!(job.result(), Ok(x * x));
        }
        let mapped: Vec<_> = pool.map(square, (0..8).map(|x| (log.clone(), x))).map(Result::unwrap).collect();
        assert!(mapped.into_iter().eq((0..8).map(|x| x * x)));
        assert_eq!((lines(&log), pool.inner().tasks()), (8, 0), "{name}: bodies and tasks of eight hits");
        occupied.release();
        std::fs::remove_file(place.path("gate")).unwrap_or_default();
    });
}

pub(super) fn shared(place: &ExecutorFixture) {
    place.each_cache(|_, name| {
        let (log, pool) = (place.path(&format!("{name}.log")), place.wrapped());
        let occupied = place.occupied();
        let jobs: Vec<_> = (0..5).map(|_| pool.submit(square, (log.clone(), 3))).collect();
        occupied.release();
        std::fs::remove_file(place.path("gate")).unwrap_or_default();
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

pub(super) fn bound(place: &ExecutorFixture) {
    place.each_cache(|cache, name| {
        let log = place.path(&format!("{name}.log"));
        let (function, call) = (Bound::bind(square), square::bind(log.clone(), 4));
        // The cache that is active at the submission must not matter.
        fleche_core::Cache::void().scope(|| {
            assert_eq!(result(place.executor.submit(function, (log.clone(), 3))), Ok(9));
            assert_eq!(result(place.executor.run(call.clone())), Ok(16));
            assert_eq!(result(place.executor.run(call)), Ok(16));
        });
        for x in [3, 4] {
            assert!(cache.contains(&square::key(log.clone(), x)).unwrap(), "{name}: the call with {x} is not recorded");
        }
        assert_eq!(lines(&log), 2, "{name}: bodies of two calls, one of them made twice");
    });
}

pub(super) fn nested(place: &ExecutorFixture) {
    place.each_cache(|cache, name| {
        let (log, pool) = (place.path(&format!("{name}.log")), place.wrapped());
        let _tag = tag("project", name).enter();
        assert_eq!(result(pool.submit(sum_of_squares, (log.clone(), 3, 4))), Ok(25));
        for x in [3, 4] {
            let record = cache.record(&square::key(log.clone(), x)).unwrap();
            let record = record.unwrap_or_else(|| panic!("{name}: the nested call is not recorded"));
            let tags: BTreeMap<String, String> = record.metadata.get(TAGS).unwrap().unwrap_or_default();
            assert_eq!(tags.get("project").map(String::as_str), Some(name), "{name}: the tag of the nested call");
            let here = record.writer.process == process::id();
            assert_ne!(here, place.is_elsewhere(), "{name}: whether the nested call ran in another process");
        }
        assert_eq!(lines(&log), 2);
    });
}
