//! Progress bars over `map`.

use std::sync::{Arc, mpsc};

use fleche_core::{ExecutorExt, fleche, wrap_executor};
use fleche_exec::{MapProgress, SerialExecutor, ThreadPool};
use indicatif::{ProgressBar, ProgressFinish};

use super::shared::memory;

#[test]
fn bar_advances_as_calls_end_and_not_as_results_are_taken() {
    let pool = ThreadPool::new(1).unwrap();
    let bar = ProgressBar::no_length();
    let (tell, told) = mpsc::channel();
    let tell = Arc::new(std::sync::Mutex::new(tell));
    let function = move |x: i64| {
        tell.lock().unwrap().send(x).unwrap();
        x
    };
    let mut results = pool.map(function, (0..4).map(|x| (x,))).ahead(4).progress(bar.clone());
    assert_eq!(results.next(), Some(Ok(0)));
    assert_eq!(told.iter().take(4).count(), 4);
    // After the shutdown, all jobs are done.
    pool.shutdown();
    assert_eq!((bar.position(), bar.length()), (4, Some(4)));
    assert_eq!(results.count(), 3);
}

#[test]
fn hits_and_failures_count() {
    #[fleche]
    fn fragile(x: i64) -> i64 {
        assert!(x > 0, "not positive");
        x
    }
    let _active = memory().enter();
    fragile(2);
    let bar = ProgressBar::no_length();
    let pool = wrap_executor(SerialExecutor);
    let results: Vec<_> = pool.map(fragile, (0..3).map(|x| (x,))).progress(bar.clone()).map(|r| r.is_ok()).collect();
    assert_eq!((results, bar.position()), (vec![false, true, true], 3));
}

#[test]
fn length_that_was_set_is_kept_and_the_bar_finishes_in_its_style() {
    let bar = ProgressBar::new(10).with_finish(ProgressFinish::AndLeave);
    let mut results = SerialExecutor.map(|x: i64| x, (0..).map(|x| (x,)).take(10)).progress(bar.clone());
    assert_eq!(results.by_ref().flatten().count(), 10);
    assert!(bar.is_finished() && results.next().is_none());
    assert_eq!(bar.length(), Some(10));
}
