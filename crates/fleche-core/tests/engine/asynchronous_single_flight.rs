//! Tests of single flight among futures: waiters block no thread, and may be dropped.

use std::{
    future::{Future, pending, poll_fn},
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst},
    },
    task::{Context, Poll, Wake, Waker},
};

use fleche_core::{active_cache, fleche};

use crate::{
    fixtures::{block_on, tokio},
    support::{Runs, memory},
};

/// Yields until this number of calls have waited.
async fn until_waiting(calls: u64) {
    let cache = active_cache();
    poll_fn(|context| {
        if cache.stats().waits >= calls {
            return Poll::Ready(());
        }
        context.waker().wake_by_ref();
        Poll::Pending
    })
    .await;
}

#[test]
fn concurrent_tasks_on_one_thread_share_one_computation() {
    static RUNS: Runs = Runs::new();
    #[fleche]
    async fn shared(x: i64) -> i64 {
        RUNS.count();
        until_waiting(63).await;
        x + 1
    }
    // A task that blocked the only thread would block it forever.
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    for _ in 0..50 {
        let cache = memory();
        let results = runtime.block_on(async {
            let calls: Vec<_> = (0..64).map(|_| tokio::spawn(cache.scope(|| shared(1)))).collect();
            let mut results = Vec::new();
            for call in calls {
                results.push(call.await.unwrap());
            }
            results
        });
        assert_eq!((results, RUNS.take(), cache.stats().computed), (vec![2; 64], 1, 1));
    }
}

#[test]
fn concurrent_tasks_on_many_threads_share_ten_computations() {
    static RUNS: Runs = Runs::new();
    #[fleche]
    async fn ten(x: i64) -> i64 {
        RUNS.count();
        until_waiting(1).await;
        x
    }
    let runtime = tokio();
    for _ in 0..50 {
        let cache = memory();
        let calls: Vec<_> = (0..200).map(|at| runtime.spawn(cache.scope(|| ten(at % 10)))).collect();
        let sum: i64 = calls.into_iter().map(|call| runtime.block_on(call).unwrap()).sum();
        assert_eq!((sum, RUNS.take()), (20 * 45, 10));
    }
}

/// Counts how often it is woken.
#[derive(Default)]
struct Woken(AtomicUsize);

impl Wake for Woken {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, SeqCst);
    }
}

fn poll<F: Future + ?Sized>(future: &mut Pin<Box<F>>, waker: &Waker) -> Poll<F::Output> {
    future.as_mut().poll(&mut Context::from_waker(waker))
}

#[test]
fn waiter_takes_over_when_the_leader_is_dropped() {
    static RUNS: Runs = Runs::new();
    static STUCK: AtomicBool = AtomicBool::new(true);
    #[fleche]
    async fn handed_on(x: i64) -> i64 {
        RUNS.count();
        if STUCK.load(SeqCst) {
            pending::<()>().await;
        }
        x
    }
    let cache = memory();
    let (nobody, woken) = (Waker::noop(), Arc::new(Woken::default()));
    let call = || cache.scope(|| Box::pin(handed_on(1)));
    let (mut leader, mut waiter, mut next) = (call(), call(), call());
    assert!(poll(&mut leader, nobody).is_pending());
    assert!(poll(&mut waiter, nobody).is_pending());
    assert!(poll(&mut next, &woken.clone().into()).is_pending());
    drop(waiter);
    assert!(poll(&mut next, &woken.clone().into()).is_pending());
    assert_eq!((RUNS.take(), woken.0.load(SeqCst)), (1, 0));
    STUCK.store(false, SeqCst);
    drop(leader);
    assert_eq!(woken.0.load(SeqCst), 1);
    assert_eq!(poll(&mut next, nobody), Poll::Ready(1));
    assert_eq!((RUNS.take(), cache.stats().takeovers), (1, 1));
}

#[test]
fn task_computes_when_its_wait_times_out() {
    static STUCK: AtomicBool = AtomicBool::new(true);
    #[fleche(wait_timeout = "5ms")]
    async fn patient(x: i64) -> i64 {
        if STUCK.swap(false, SeqCst) {
            pending::<()>().await;
        }
        x
    }
    let cache = memory();
    let mut leader = cache.scope(|| Box::pin(patient(1)));
    assert!(poll(&mut leader, Waker::noop()).is_pending());
    // Only a timer can wake it.
    assert_eq!(block_on(cache.scope(|| patient(1))), 1);
    assert_eq!(cache.stats().waits, 1);
}

#[test]
fn body_that_awaits_its_own_call_computes_directly() {
    #[fleche]
    async fn itself(x: i64, #[ignore] depth: u32) -> i64 {
        if depth == 0 { x } else { Box::pin(itself(x, depth - 1)).await }
    }
    let cache = memory();
    assert_eq!(block_on(cache.scope(|| itself(3, 4))), 3);
    assert_eq!((cache.stats().computed, cache.stats().waits), (5, 0));
}

#[test]
fn cycle_of_tasks_is_broken_by_one_that_computes() {
    static RUNS: Runs = Runs::new();
    #[fleche]
    async fn one_way(x: i64, #[ignore] first: bool) -> i64 {
        RUNS.count();
        if first {
            yielded().await;
            Box::pin(other_way(x, false)).await;
        }
        x
    }
    #[fleche]
    async fn other_way(x: i64, #[ignore] first: bool) -> i64 {
        RUNS.count();
        if first {
            yielded().await;
            Box::pin(one_way(x, false)).await;
        }
        x
    }
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let cache = memory();
    runtime.block_on(async {
        let both = cache.scope(|| (tokio::spawn(one_way(1, true)), tokio::spawn(other_way(1, true))));
        assert_eq!((both.0.await.unwrap(), both.1.await.unwrap()), (1, 1));
    });
    assert_eq!(RUNS.take(), 3, "two bodies, and one computed directly");
}

/// Yields several times, so that every other task of the thread is polled.
pub(crate) async fn yielded() {
    let mut turns = 8;
    poll_fn(move |context| {
        turns -= 1;
        if turns == 0 {
            return Poll::Ready(());
        }
        context.waker().wake_by_ref();
        Poll::Pending
    })
    .await;
}

/// Completes when it is opened, and wakes its waiter then.
#[derive(Default)]
struct Gate {
    open: AtomicBool,
    waits: std::sync::Mutex<Option<Waker>>,
}

impl Gate {
    async fn passed(&self) {
        poll_fn(|context| {
            *self.waits.lock().unwrap() = Some(context.waker().clone());
            if self.open.load(SeqCst) { Poll::Ready(()) } else { Poll::Pending }
        })
        .await;
    }

    fn open(&self) {
        self.open.store(true, SeqCst);
        if let Some(waker) = self.waits.lock().unwrap().take() {
            waker.wake();
        }
    }
}

/// Polls the future as often as it is woken, like a task of a runtime.
fn run_task<R>(mut future: Pin<Box<dyn Future<Output = R> + '_>>, woken: &Arc<Woken>) -> Poll<R> {
    let waker = Waker::from(woken.clone());
    loop {
        let before = woken.0.load(SeqCst);
        match poll(&mut future, &waker) {
            Poll::Pending if woken.0.load(SeqCst) > before => {}
            ended => return ended,
        }
    }
}

#[test]
fn waiter_computes_if_its_task_does_not_poll_the_leader() {
    static RUNS: Runs = Runs::new();
    static GATE: std::sync::LazyLock<Gate> = std::sync::LazyLock::new(Gate::default);
    #[fleche]
    async fn held(x: i64) -> i64 {
        RUNS.count();
        GATE.passed().await;
        x
    }
    let (cache, woken) = (memory(), Arc::<Woken>::default());
    let mut leader: Pin<Box<dyn Future<Output = i64>>> = Box::pin(cache.scope(|| held(1)));
    assert!(poll(&mut leader, &Waker::from(woken.clone())).is_pending());
    let mut waiter: Pin<Box<dyn Future<Output = i64>>> = Box::pin(cache.scope(|| held(1)));
    // A leader that nothing has woken may be waiting for a timer or a socket.
    for _ in 0..10 {
        assert!(run_task(Box::pin(poll_fn(|context| waiter.as_mut().poll(context))), &woken).is_pending());
    }
    assert_eq!((RUNS.take(), cache.stats().cycles_broken), (1, 0));
    GATE.open();
    assert_eq!(run_task(Box::pin(poll_fn(|context| waiter.as_mut().poll(context))), &woken), Poll::Ready(1));
    assert_eq!((RUNS.take(), cache.stats().cycles_broken), (1, 1));
    drop((leader, waiter));
}

#[test]
fn waiter_waits_if_its_task_polls_the_leader_too() {
    static RUNS: Runs = Runs::new();
    #[fleche]
    async fn beside(x: i64) -> i64 {
        RUNS.count();
        for _ in 0..10 {
            let mut again = true;
            poll_fn(|context| {
                context.waker().wake_by_ref();
                if std::mem::take(&mut again) { Poll::Pending } else { Poll::Ready(()) }
            })
            .await;
        }
        x
    }
    let (cache, woken) = (memory(), Arc::<Woken>::default());
    for waiter_first in [true, false] {
        let mut both = [0, 1].map(|_| Some(Box::pin(cache.scope(|| beside(i64::from(waiter_first))))));
        let mut results = Vec::new();
        let task = poll_fn(|context| {
            for at in if waiter_first { [1, 0] } else { [0, 1] } {
                if let Some(call) = &mut both[at]
                    && let Poll::Ready(result) = call.as_mut().poll(context)
                {
                    both[at] = None;
                    results.push(result);
                }
            }
            if both.iter().all(Option::is_none) { Poll::Ready(()) } else { Poll::Pending }
        });
        assert_eq!(run_task(Box::pin(task), &woken), Poll::Ready(()));
        assert_eq!((results, RUNS.take()), (vec![i64::from(waiter_first); 2], 1));
    }
    assert_eq!(cache.stats().cycles_broken, 0);
}

#[test]
fn finished_wait_drops_its_timer() {
    static GATE: std::sync::LazyLock<Gate> = std::sync::LazyLock::new(Gate::default);
    #[fleche(wait_timeout = "1h")]
    async fn timed(x: i64) -> i64 {
        GATE.passed().await;
        x
    }
    let (cache, woken) = (memory(), Arc::<Woken>::default());
    let (mut leader, mut waiter) = (Box::pin(cache.scope(|| timed(1))), Box::pin(cache.scope(|| timed(1))));
    assert!(poll(&mut leader, Waker::noop()).is_pending());
    let waker = Waker::from(woken.clone());
    assert!(poll(&mut waiter, &waker).is_pending());
    GATE.open();
    assert_eq!(poll(&mut leader, Waker::noop()), Poll::Ready(1));
    assert_eq!(poll(&mut waiter, &waker), Poll::Ready(1));
    drop((leader, waiter, waker));
    assert_eq!(Arc::strong_count(&woken), 1);
}
