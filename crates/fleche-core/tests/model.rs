//! Tests every order of events among few threads that request a call: the single flight of `src/claim/`, built with the
//! primitives of a model checker.

/// Replaces the module of the same name in the crate.
mod call {
    pub(crate) use fleche_core::CallKey;
}

#[path = "model/claim.rs"]
mod claim;

use std::sync::Arc;

use claim::{
    in_flight::{CallEnd, CallId, InFlightCalls},
    leader::{Epoch, Role, join_call},
};
use fleche_core::{CallKey, Digest};
use loom::{
    model::Builder,
    sync::atomic::{AtomicUsize, Ordering::SeqCst},
    thread,
};

fn call_id(number: u8) -> CallId {
    CallId { store: 1, key: CallKey::from(Digest::from_bytes([number; 32])) }
}

fn nowhere() -> InFlightCalls {
    InFlightCalls::default()
}

/// The state of the bodies as seen by an outside observer.
#[derive(Default)]
struct World {
    /// Whether the call is recorded.
    recorded: AtomicUsize,
    running: AtomicUsize,
    bodies: AtomicUsize,
}

/// Requests the call as the engine does. The first `failing` bodies fail.
fn call(world: &World, failing: usize) -> usize {
    let before = Epoch::now(call_id(1));
    if world.recorded.load(SeqCst) > 0 {
        return 7;
    }
    loop {
        match join_call(call_id(1), &nowhere()) {
            Role::Leads(leader) => {
                if before.is_past() && world.recorded.load(SeqCst) > 0 {
                    leader.complete(|| Some(Arc::new(7_usize)));
                    return 7;
                }
                assert_eq!(world.running.fetch_add(1, SeqCst), 0, "two bodies must not run at once");
                let number = world.bodies.fetch_add(1, SeqCst);
                world.running.fetch_sub(1, SeqCst);
                if number < failing {
                    drop(leader);
                    return 0;
                }
                world.recorded.store(1, SeqCst);
                leader.complete(|| Some(Arc::new(7_usize)));
                return 7;
            }
            Role::Waits(waiting) => match waiting.wait(None) {
                Some(CallEnd::Completed(result)) => {
                    return *result.downcast_ref::<usize>().expect("the result is a number");
                }
                Some(CallEnd::Abandoned) => {}
                None => unreachable!("a wait without a deadline ends with the call"),
            },
            Role::Cycle => unreachable!("no call is requested within a body"),
        }
    }
}

/// Explores every order with at most this number of preemptions.
fn check(interruptions: usize, model: impl Fn() + Send + Sync + 'static) {
    let mut builder = Builder::new();
    builder.preemption_bound = Some(interruptions);
    builder.check(model);
}

fn three_ask(failing: usize) {
    check(2, move || {
        let world = Arc::new(World::default());
        let threads: Vec<_> = (0..2)
            .map(|_| {
                let world = world.clone();
                thread::spawn(move || call(&world, failing))
            })
            .collect();
        let mut results = vec![call(&world, failing)];
        results.extend(threads.into_iter().map(|thread| thread.join().unwrap()));
        let failed = results.iter().filter(|result| **result == 0).count();
        assert_eq!(failed, failing.min(3));
        assert_eq!(world.bodies.load(SeqCst), (failing + 1).min(3));
    });
}

#[test]
fn one_body_runs_and_all_callers_get_its_result() {
    three_ask(0);
}

#[test]
fn exactly_one_more_body_runs_after_a_failure() {
    three_ask(1);
}

#[test]
fn each_caller_runs_once_if_all_bodies_fail() {
    three_ask(3);
}

#[test]
fn bodies_that_request_each_other_end() {
    check(3, || {
        let circles = Arc::new(AtomicUsize::new(0));
        let side = |mine: u8, other: u8, circles: Arc<AtomicUsize>| {
            move || {
                // A thread that is too late to lead leaves the call to the other thread's body.
                let Role::Leads(leader) = join_call(call_id(mine), &nowhere()) else { return };
                let within: InFlightCalls = [leader.flight().clone()].into_iter().collect();
                match join_call(call_id(other), &within) {
                    Role::Leads(inner) => inner.complete(|| Some(Arc::new(0_usize))),
                    Role::Waits(waiting) => drop(waiting.wait(None)),
                    Role::Cycle => {
                        circles.fetch_add(1, SeqCst);
                    }
                }
                leader.complete(|| Some(Arc::new(0_usize)));
            }
        };
        let thread = thread::spawn(side(1, 2, circles.clone()));
        side(2, 1, circles.clone())();
        thread.join().unwrap();
        assert!(circles.load(SeqCst) <= 1, "at most one of the two computes directly");
    });
}

#[test]
fn dropped_wait_does_not_affect_the_call() {
    check(2, || {
        let world = Arc::new(World::default());
        let there = world.clone();
        let caller = thread::spawn(move || call(&there, 0));
        if let Role::Waits(waiting) = join_call(call_id(1), &nowhere()) {
            drop(waiting);
        }
        assert_eq!(caller.join().unwrap(), 7);
        assert_eq!(call(&world, 0), 7);
        assert_eq!(world.bodies.load(SeqCst), 1);
    });
}

#[test]
fn waker_is_woken_when_the_call_ends() {
    use std::task::{Wake, Waker};
    struct Woken(AtomicUsize);
    impl Wake for Woken {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, SeqCst);
        }
    }
    check(3, || {
        let Role::Leads(leader) = join_call(call_id(1), &nowhere()) else {
            unreachable!("no other thread requests the call")
        };
        let Role::Waits(waiting) = join_call(call_id(1), &nowhere()) else { unreachable!("the call has a leader") };
        let thread = thread::spawn(move || leader.complete(|| Some(Arc::new(7_usize))));
        let woken = Arc::new(Woken(AtomicUsize::new(0)));
        let ended = waiting.poll(&Waker::from(woken.clone())).is_some();
        thread.join().unwrap();
        assert!(ended || woken.0.load(SeqCst) == 1, "the waiter was not woken");
        assert!(waiting.poll(Waker::noop()).is_some());
    });
}
