//! Single flight for calls of an `async fn`: waiters are suspended and block no thread.

use std::{
    future::{Future, poll_fn},
    pin::Pin,
    task::{Context, Poll, Waker},
    time::Instant,
};

use super::{
    events::Missing,
    off_thread::{ask_off_thread, fetch_off_thread, hit_of_replaced_off_thread},
    single_flight::{Asked, ComputePermit, Decision, Found, PendingCall, arriving, claim, deadline},
    wait::{Wait, WaitOutcome},
};
use crate::{
    cache::Operation,
    claim::{CallEnd, InFlightCall, InFlightCalls, Leader, Role, join_call, tracking_waker},
    runtime::timer::{self, Timer},
};

/// Like [`single_flight`](super::single_flight::single_flight), from within the bodies of these in-flight calls.
pub(super) async fn single_flight_async<T: Send + Sync + 'static>(
    wanted: PendingCall<'_, T>,
    from: &InFlightCalls,
) -> Decision<T> {
    let Some(until) = deadline(wanted.function) else { return Decision::Unclaimed };
    let mut has_waited = false;
    loop {
        match join_call(wanted.call_id(), from) {
            Role::Leads(leader) => {
                let flight = leader.flight().clone();
                return polled(&flight, lead(wanted, leader, from, until, has_waited)).await;
            }
            Role::Cycle => {
                wanted.cache.counters().circle();
                return Decision::Unclaimed;
            }
            Role::Waits(flight) => {
                let mut current_wait = Wait::begin(wanted.function, wanted.cache, wanted.call_id(), from, until);
                current_wait.for_flight(flight.flight());
                has_waited = true;
                match keep(&mut current_wait, |context| flight.poll(context.waker()).map_or(Poll::Pending, Poll::Ready))
                    .await
                {
                    WaitOutcome::Ready(CallEnd::Completed(result)) => {
                        if let Some(value) = wanted.shared_result(&result) {
                            return Decision::Ready(value, false);
                        }
                    }
                    WaitOutcome::Ready(CallEnd::Abandoned) => {}
                    WaitOutcome::Proceed => return Decision::Unclaimed,
                }
            }
        }
    }
}

async fn lead<T: Send + Sync + 'static>(
    wanted: PendingCall<'_, T>,
    mut leader: Leader,
    from: &InFlightCalls,
    until: Option<Instant>,
    mut has_waited: bool,
) -> Decision<T> {
    let key = wanted.key;
    let claim = ask_off_thread(wanted.cache, Operation::Claim, move |cache| claim(cache, &key)).await;
    let others = match wanted.asked(&leader, claim) {
        Asked::Settled(others) => others,
        Asked::Taken(taken) => {
            let mut current_wait = Wait::begin(wanted.function, wanted.cache, wanted.call_id(), from, until);
            current_wait.for_claim();
            has_waited = true;
            let mut arriving = arriving(taken);
            leader.set_awaiting_claim(true);
            match keep(&mut current_wait, |context| Pin::new(&mut arriving).poll(context)).await {
                WaitOutcome::Ready(arrived) => wanted.arrived(&leader, arrived),
                WaitOutcome::Proceed => leader.proceed_unclaimed(),
            }
            leader.set_awaiting_claim(false);
            true
        }
    };
    let mut missing = wanted.missing;
    if wanted.may_be_there(others) {
        let PendingCall { function, codec, cache, .. } = wanted;
        let fetched = fetch_off_thread(function, cache, key).await;
        (leader, missing) = match wanted.find(leader, fetched) {
            Found::Value(value) => return Decision::Ready(value, true),
            Found::Missing(leader, unfit @ Missing::Unfit(_)) => {
                let replaced = match wanted.rerun {
                    Some(_) => None,
                    None => hit_of_replaced_off_thread(function, codec, cache, key).await,
                };
                match wanted.find_replaced(leader, replaced) {
                    Ok(value) => return Decision::Ready(value, true),
                    Err(leader) => (leader, unfit),
                }
            }
            Found::Missing(leader, missing) => (leader, missing),
        };
    }
    if has_waited {
        wanted.cache.counters().takeover();
    }
    Decision::Compute(ComputePermit(leader), missing)
}

/// Wraps the future that leads the in-flight call, so that waiters see whether it is polled.
pub(super) async fn polled<F: Future>(flight: &InFlightCall, future: F) -> F::Output {
    let polls = flight.polls_of_future();
    let mut future = Box::pin(future);
    let mut wakers: Option<(Waker, Waker)> = None;
    let output = poll_fn(|context| {
        let task = context.waker();
        polls.begin(task);
        let (_, waker) = match wakers.take() {
            Some(known) if known.0.will_wake(task) => wakers.insert(known),
            _ => wakers.insert((task.clone(), tracking_waker(polls, task))),
        };
        future.as_mut().poll(&mut Context::from_waker(waker))
    });
    let output = output.await;
    polls.end();
    output
}

fn timer_at(at: Instant, context: &Context<'_>) -> (Instant, Waker, Timer) {
    (at, context.waker().clone(), timer::set(at, context.waker()))
}

/// Like [`Wait::keep`], for a wait that is polled.
async fn keep<R>(current_wait: &mut Wait<'_>, mut poll: impl FnMut(&mut Context<'_>) -> Poll<R>) -> WaitOutcome<R> {
    let mut next: Option<(Instant, Waker, Timer)> = None;
    poll_fn(|context| {
        if let Poll::Ready(come) = poll(context) {
            return Poll::Ready(WaitOutcome::Ready(come));
        }
        if current_wait.is_held_by(context.waker()) {
            return Poll::Ready(WaitOutcome::Proceed);
        }
        loop {
            match &next {
                Some((at, ..)) if *at <= Instant::now() => {
                    if current_wait.is_over() {
                        return Poll::Ready(WaitOutcome::Proceed);
                    }
                    next = None;
                }
                Some((at, waker, _)) => {
                    // The future may have moved to another task.
                    if !waker.will_wake(context.waker()) {
                        next = Some(timer_at(*at, context));
                    }
                    return Poll::Pending;
                }
                None => match current_wait.next_look() {
                    Some(at) => next = Some(timer_at(at, context)),
                    None => return Poll::Pending,
                },
            }
        }
    })
    .await
}
