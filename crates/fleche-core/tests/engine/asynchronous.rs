//! Tests of memoized `async fn`s: the cache that they use, and the runtimes that they run on.

use std::{
    future::{Future, pending, poll_fn},
    pin::pin,
    rc::Rc,
    task::{Context, Poll, Waker},
    thread,
};

use fleche_core::{
    Cache, FutureExt, Job, SkipReason, active_cache, fleche, job,
    metadata::{RuntimeReport, TAGS},
    tag,
};

use crate::{
    fixtures::{block_on, tokio},
    support::{Runs, memory},
};

/// Yields to the runtime once.
async fn yielded() {
    let mut yielded = false;
    poll_fn(move |context| {
        if std::mem::replace(&mut yielded, true) {
            return Poll::Ready(());
        }
        context.waker().wake_by_ref();
        Poll::Pending
    })
    .await;
}

fn is_send<T: Send>(value: T) -> T {
    value
}

#[test]
fn second_call_is_a_hit_and_its_body_does_not_run() {
    static RUNS: Runs = Runs::new();
    #[fleche]
    async fn doubled(x: i64) -> i64 {
        yielded().await;
        RUNS.count();
        x * 2
    }
    let cache = memory();
    let _active = cache.enter();
    assert_eq!((block_on(doubled(4)), block_on(doubled(4)), block_on(doubled(5))), (8, 8, 10));
    assert_eq!(RUNS.take(), 2);
    let stats = cache.stats();
    assert_eq!((stats.hits, stats.misses, stats.computed), (1, 2, 2));
}

#[test]
fn cache_is_chosen_at_the_call_and_not_at_the_poll() {
    #[fleche]
    async fn bound_when_called(x: i64) -> i64 {
        yielded().await;
        x
    }
    let (called, polled) = (memory(), memory());
    let future = called.scope(|| bound_when_called(1));
    assert_eq!(polled.scope(|| block_on(future)), 1);
    assert_eq!((called.stats().misses, polled.stats().misses), (1, 0));
    assert!(called.contains(&bound_when_called::key(1)).unwrap());
}

#[test]
fn nested_calls_use_the_same_cache_after_an_await() {
    #[fleche]
    async fn inner_async(x: i64) -> i64 {
        yielded().await;
        x
    }
    #[fleche]
    fn inner_plain(x: i64) -> i64 {
        x
    }
    #[fleche]
    async fn around_both(x: i64) -> i64 {
        let first = inner_async(x).await;
        yielded().await;
        first + inner_plain(x) + inner_async(x + 1).await
    }
    let cache = memory();
    let future = is_send(cache.scope(|| around_both(1)));
    let result = thread::spawn(move || block_on(future)).join().unwrap();
    assert_eq!(result, 4);
    for key in [inner_async::key(1), inner_plain::key(1), inner_async::key(2), around_both::key(1)] {
        assert!(cache.contains(&key).unwrap());
    }
}

#[test]
fn cache_of_a_future_is_active_only_while_it_is_polled() {
    #[fleche]
    async fn waiting(_x: i64) -> i64 {
        pending().await
    }
    let (outer, inner) = (memory(), memory());
    let _active = outer.enter();
    let mut future = pin!(inner.scope(|| waiting(1)));
    assert!(future.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_pending());
    let mut carried = pin!(waiting(2).in_cache(inner.clone()));
    assert!(carried.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_pending());
    assert_eq!(active_cache().config(), outer.config());
}

#[test]
fn any_future_can_carry_a_cache() {
    static RUNS: Runs = Runs::new();
    #[fleche]
    fn step(x: i64) -> i64 {
        RUNS.count();
        x
    }
    async fn unmemoized() -> i64 {
        let first = step(1);
        yielded().await;
        first + step(1)
    }
    let cache = memory();
    assert_eq!(block_on(unmemoized().in_cache(cache.clone())), 2);
    assert_eq!(RUNS.take(), 1);
    assert_eq!((cache.stats().hits, cache.stats().misses), (1, 1));
}

#[test]
fn inner_of_two_carried_caches_is_used() {
    #[fleche]
    async fn carried_twice(x: i64) -> i64 {
        x
    }
    let (outer, inner) = (memory(), memory());
    let within = inner.clone();
    let future = async move {
        carried_twice(1).await;
        async { carried_twice(2).await }.in_cache(within).await;
        carried_twice(3).await;
    };
    block_on(future.in_cache(outer.clone()));
    assert_eq!((outer.stats().misses, inner.stats().misses), (2, 1));
}

/// Returns which of the caches have a record of the call.
fn recorded_in<const N: usize>(caches: [&fleche_core::Cache; N], key: &fleche_core::CallKey) -> [bool; N] {
    caches.map(|cache| cache.contains(key).unwrap())
}

#[test]
fn call_is_looked_up_in_the_cache_that_it_is_put_into() {
    static RUNS: Runs = Runs::new();
    #[fleche]
    async fn put_into(x: i64) -> i64 {
        RUNS.count();
        yielded().await;
        x
    }
    let (at_call, put) = (memory(), memory());
    let _active = at_call.enter();
    for _ in 0..2 {
        assert_eq!(block_on(put_into(1).in_cache(put.clone())), 1);
    }
    assert_eq!(RUNS.take(), 1);
    assert_eq!(recorded_in([&at_call, &put], &put_into::key(1)), [false, true]);
    // Within another future, boxed or not, on another thread.
    let held = put_into(2);
    let holds = Box::pin(async move { held.await + put_into(3).await }).in_cache(put.clone());
    assert_eq!(thread::spawn(move || block_on(holds)).join().unwrap(), 5);
    assert_eq!(recorded_in([&at_call, &put], &put_into::key(2)), [false, true]);
    assert_eq!(recorded_in([&at_call, &put], &put_into::key(3)), [false, true]);
}

#[test]
fn nested_calls_use_the_cache_that_the_outer_call_is_put_into() {
    #[fleche]
    async fn inner_put(x: i64) -> i64 {
        x
    }
    #[fleche]
    async fn outer_put(x: i64) -> i64 {
        yielded().await;
        inner_put(x).await
    }
    let (at_call, put) = (memory(), memory());
    let _active = at_call.enter();
    block_on(outer_put(1).in_cache(put.clone()));
    for key in [outer_put::key(1), inner_put::key(1)] {
        assert_eq!(recorded_in([&at_call, &put], &key), [false, true]);
    }
}

#[test]
fn innermost_cache_that_a_call_is_put_into_is_used() {
    #[fleche]
    async fn put_twice(x: i64) -> i64 {
        x
    }
    let (inner, outer) = (memory(), memory());
    block_on(put_twice(1).in_cache(inner.clone()).in_cache(outer.clone()));
    assert_eq!(recorded_in([&inner, &outer], &put_twice::key(1)), [true, false]);
    // A call made while a future is polled may name its own cache.
    let own = inner.clone();
    block_on(async move { own.scope(|| put_twice(2)).await }.in_cache(outer.clone()));
    assert_eq!(recorded_in([&inner, &outer], &put_twice::key(2)), [true, false]);
}

#[test]
fn call_that_is_put_into_a_cache_keeps_its_tags() {
    use std::collections::BTreeMap;
    #[fleche]
    async fn tagged(x: i64) -> i64 {
        x
    }
    let cache = memory();
    let call = {
        let _tag = fleche_core::tag("project", "at the call").enter();
        tagged(1)
    };
    let _tag = fleche_core::tag("project", "where it is put").enter();
    block_on(call.in_cache(cache.clone()));
    let record = cache.record(&tagged::key(1)).unwrap().unwrap();
    let tags = record.metadata.get::<BTreeMap<String, String>>(fleche_core::metadata::TAGS).unwrap().unwrap();
    assert_eq!(tags["project"], "at the call");
}

#[test]
fn spawned_call_keeps_the_cache_of_the_call() {
    #[fleche]
    async fn spawned_plainly(x: u64) -> u64 {
        yielded().await;
        x
    }
    let (at_call, other) = (memory(), memory());
    let runtime = tokio();
    let task = at_call.scope(|| runtime.spawn(spawned_plainly(1)));
    // Polls a future with another cache in between.
    let elsewhere = runtime.spawn(async { spawned_plainly(2).await }.in_cache(other.clone()));
    assert_eq!(runtime.block_on(async { task.await.unwrap() + elsewhere.await.unwrap() }), 3);
    assert_eq!(recorded_in([&at_call, &other], &spawned_plainly::key(1)), [true, false]);
    assert_eq!(recorded_in([&at_call, &other], &spawned_plainly::key(2)), [false, true]);
}

#[test]
fn spawned_tasks_carry_their_cache_between_threads() {
    static RUNS: Runs = Runs::new();
    #[fleche]
    async fn spawned(x: u64) -> u64 {
        RUNS.count();
        yielded().await;
        x
    }
    let cache = memory();
    let runtime = tokio();
    for _ in 0..2 {
        let tasks: Vec<_> = (0..16).map(|x| runtime.spawn(cache.scope(|| spawned(x)))).collect();
        for (x, task) in (0..).zip(tasks) {
            assert_eq!(runtime.block_on(task).unwrap(), x);
        }
    }
    assert_eq!(RUNS.take(), 16);
    assert_eq!((cache.stats().hits, cache.stats().misses), (16, 16));
}

#[test]
fn async_fn_may_have_borrowed_and_generic_parameters() {
    #[fleche]
    async fn of_every_kind<T: serde::Serialize + serde::de::DeserializeOwned + PartialEq + 'static>(
        text: &str,
        values: &[T],
        #[ignore] call: usize,
        more: impl Into<String> + serde::Serialize + serde::de::DeserializeOwned + 'static,
    ) -> String {
        yielded().await;
        format!("{text}{}{call}{}", values.len(), more.into())
    }
    let _active = memory().enter();
    let text = "a".to_owned();
    assert_eq!(block_on(of_every_kind(&text, &[1_u8], 7, "b".to_owned())), "a17b");
    assert_eq!(block_on(of_every_kind(&text, &[1_u8], 8, "b".to_owned())), "a17b");
}

#[test]
fn future_is_send_although_an_error_and_a_reference_are_not() {
    struct NotSend(#[allow(dead_code)] Rc<u8>);
    #[derive(Debug, Clone, PartialEq, serde::Serialize, serde::Deserialize)]
    struct NotSync(std::cell::Cell<i64>);
    #[fleche]
    async fn careful(x: NotSync) -> Result<i64, NotSend> {
        if x.0.get() < 0 { Err(NotSend(Rc::new(0))) } else { Ok(x.0.get()) }
    }
    let future = memory().scope(|| is_send(careful(NotSync(1.into()))));
    assert!(block_on(future).is_ok());
}

#[test]
fn only_ok_results_are_recorded_and_question_mark_works() {
    static RUNS: Runs = Runs::new();
    #[fleche]
    async fn parsed(text: &str) -> Result<i64, Box<dyn std::error::Error>> {
        RUNS.count();
        yielded().await;
        Ok(text.parse()?)
    }
    let cache = memory();
    let _active = cache.enter();
    for _ in 0..2 {
        assert_eq!(block_on(parsed("7")).unwrap(), 7);
        assert!(block_on(parsed("x")).is_err());
    }
    assert_eq!((RUNS.take(), cache.stats().skipped[&SkipReason::Failed]), (3, 2));
}

#[test]
fn dropped_or_panicking_body_records_nothing() {
    #[fleche]
    async fn unfinished(x: i64) -> i64 {
        assert!(x > 0, "not positive");
        pending().await
    }
    let cache = memory();
    let _active = cache.enter();
    {
        let mut future = pin!(unfinished(1));
        assert!(future.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_pending());
    }
    assert!(thread::spawn(|| block_on(unfinished(0))).join().is_err());
    assert!(!unfinished::contains(1).unwrap() && !unfinished::contains(0).unwrap());
    assert_eq!(cache.stats().computed, 0);
}

#[test]
fn companion_rerun_and_uncached_return_futures() {
    static RUNS: Runs = Runs::new();
    #[fleche]
    async fn within(x: i64) -> i64 {
        RUNS.count();
        x
    }
    #[fleche]
    async fn around(x: i64) -> i64 {
        yielded().await;
        within(x).await
    }
    let cache = memory();
    let _active = cache.enter();
    assert_eq!(block_on(around(1)), 1);
    assert_eq!(around::load(1).unwrap(), Some(1));
    let rerun = around::rerun(1);
    assert_eq!((block_on(rerun), RUNS.take()), (1, 2));
    assert_eq!((block_on(within::uncached(1)), RUNS.take()), (1, 1));
    assert!(around::evict(1).unwrap() && !around::contains(1).unwrap());
    assert_eq!(cache.query(&within::query()).unwrap().count(), 1);
}

#[test]
fn recursive_async_fn_can_box_its_own_calls() {
    static RUNS: Runs = Runs::new();
    #[fleche]
    async fn sum_to(x: u64) -> u64 {
        RUNS.count();
        if x == 0 { 0 } else { x + Box::pin(sum_to(x - 1)).await }
    }
    let _active = memory().enter();
    assert_eq!((block_on(sum_to(4)), block_on(sum_to(5))), (10, 15));
    assert_eq!(RUNS.take(), 6);
}

#[test]
fn async_fn_may_return_a_job_that_is_recorded_when_done() {
    #[fleche]
    async fn made(x: i64) -> Job<i64> {
        let (completer, job) = job::channel();
        thread::spawn(move || completer.complete(x));
        job
    }
    let _active = memory().enter();
    assert_eq!(block_on(async { made(3).await.await }), Ok(3));
    assert!(made::contains(3).unwrap() && block_on(made(3)).is_done());
}

#[test]
fn runtime_and_tags_of_the_call_are_recorded_without_processor_time() {
    #[fleche]
    async fn measured(x: i64) -> i64 {
        yielded().await;
        x
    }
    let cache = memory();
    let future = cache.scope(|| {
        let _tag = tag("project", "alloy").enter();
        measured(1)
    });
    let before = fleche_core::metadata::Timestamp::now();
    block_on(future);
    let metadata = &cache.record(&measured::key(1)).unwrap().unwrap().metadata;
    let runtime: RuntimeReport = metadata.get("runtime").unwrap().unwrap();
    assert!(runtime.start >= before && runtime.cpu_seconds.is_none());
    let tags: std::collections::BTreeMap<String, String> = metadata.get(TAGS).unwrap().unwrap();
    assert_eq!(tags["project"], "alloy");
}

#[test]
fn every_body_runs_with_the_void_cache() {
    static RUNS: Runs = Runs::new();
    #[fleche]
    async fn forgotten(x: i64) -> i64 {
        RUNS.count();
        x
    }
    let _active = Cache::void().enter();
    assert_eq!((block_on(forgotten(1)), block_on(forgotten(1)), RUNS.take()), (1, 1, 2));
}
