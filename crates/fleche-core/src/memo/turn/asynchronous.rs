//! Single flight for calls of an `async fn`: waiters are suspended and block no thread.

use std::{
    future::{Future, poll_fn},
    pin::Pin,
    task::{Context, Poll, Waker},
    time::Instant,
};

use super::{Asked, Found, Right, Turn, Verdict, Vigil, Wanted, arriving, claim, deadline};
use crate::{
    alarm::{self, Alarm},
    cache::Operation,
    claim::{Boarded, End, Flight, Flights, Leader, board, noting},
    memo::{
        asynchronous::{ask_off_thread, fetch_off_thread, hit_of_replaced_off_thread},
        events::Missing,
    },
};

/// Like [`take_turn`](super::take_turn), from within the bodies of these in-flight calls.
pub(in crate::memo) async fn take_turn_async<T: Send + Sync + 'static>(
    wanted: Wanted<'_, T>,
    from: &Flights,
) -> Turn<T> {
    let Some(until) = deadline(wanted.function) else { return Turn::Alone };
    let mut has_waited = false;
    loop {
        match board(wanted.route(), from) {
            Boarded::Leads(leader) => {
                let flight = leader.flight().clone();
                return polled(&flight, lead(wanted, leader, from, until, has_waited)).await;
            }
            Boarded::Circular => {
                wanted.cache.counters().circle();
                return Turn::Alone;
            }
            Boarded::Waits(flight) => {
                let mut vigil = Vigil::begin(wanted.function, wanted.cache, wanted.route(), from, until);
                vigil.for_flight(flight.flight());
                has_waited = true;
                match keep(&mut vigil, |context| flight.poll(context.waker()).map_or(Poll::Pending, Poll::Ready)).await
                {
                    Verdict::Came(End::Landed(cargo)) => {
                        if let Some(value) = wanted.unload(&cargo) {
                            return Turn::Theirs(value, false);
                        }
                    }
                    Verdict::Came(End::Abandoned) => {}
                    Verdict::GoAhead => return Turn::Alone,
                }
            }
        }
    }
}

async fn lead<T: Send + Sync + 'static>(
    wanted: Wanted<'_, T>,
    mut leader: Leader,
    from: &Flights,
    until: Option<Instant>,
    mut has_waited: bool,
) -> Turn<T> {
    let key = wanted.key;
    let claim = ask_off_thread(wanted.cache, Operation::Claim, move |cache| claim(cache, &key)).await;
    let others = match wanted.asked(&leader, claim) {
        Asked::Settled(others) => others,
        Asked::Taken(taken) => {
            let mut vigil = Vigil::begin(wanted.function, wanted.cache, wanted.route(), from, until);
            vigil.for_claim();
            has_waited = true;
            let mut arriving = arriving(taken);
            leader.seek(true);
            match keep(&mut vigil, |context| Pin::new(&mut arriving).poll(context)).await {
                Verdict::Came(arrived) => wanted.arrived(&leader, arrived),
                Verdict::GoAhead => leader.go_without(),
            }
            leader.seek(false);
            true
        }
    };
    let mut missing = wanted.missing;
    if wanted.may_be_there(others) {
        let Wanted { function, codec, cache, .. } = wanted;
        let fetched = fetch_off_thread(function, cache, key).await;
        (leader, missing) = match wanted.find(leader, fetched) {
            Found::Value(value) => return Turn::Theirs(value, true),
            Found::Missing(leader, unfit @ Missing::Unfit(_)) => {
                let replaced = match wanted.rerun {
                    Some(_) => None,
                    None => hit_of_replaced_off_thread(function, codec, cache, key).await,
                };
                match wanted.find_replaced(leader, replaced) {
                    Ok(value) => return Turn::Theirs(value, true),
                    Err(leader) => (leader, unfit),
                }
            }
            Found::Missing(leader, missing) => (leader, missing),
        };
    }
    if has_waited {
        wanted.cache.counters().takeover();
    }
    Turn::Mine(Right(leader), missing)
}

/// Wraps the future that leads the in-flight call, so that waiters see whether it is polled.
pub(in crate::memo) async fn polled<F: Future>(flight: &Flight, future: F) -> F::Output {
    let polls = flight.polls_of_future();
    let mut future = Box::pin(future);
    let mut wakers: Option<(Waker, Waker)> = None;
    let output = poll_fn(|context| {
        let task = context.waker();
        polls.begin(task);
        let (_, waker) = match wakers.take() {
            Some(known) if known.0.will_wake(task) => wakers.insert(known),
            _ => wakers.insert((task.clone(), noting(polls, task))),
        };
        future.as_mut().poll(&mut Context::from_waker(waker))
    });
    let output = output.await;
    polls.end();
    output
}

fn alarm_at(at: Instant, context: &Context<'_>) -> (Instant, Waker, Alarm) {
    (at, context.waker().clone(), alarm::set(at, context.waker()))
}

/// Like [`Vigil::keep`], for a wait that is polled.
async fn keep<R>(vigil: &mut Vigil<'_>, mut poll: impl FnMut(&mut Context<'_>) -> Poll<R>) -> Verdict<R> {
    let mut next: Option<(Instant, Waker, Alarm)> = None;
    poll_fn(|context| {
        if let Poll::Ready(come) = poll(context) {
            return Poll::Ready(Verdict::Came(come));
        }
        if vigil.is_held_by(context.waker()) {
            return Poll::Ready(Verdict::GoAhead);
        }
        loop {
            match &next {
                Some((at, ..)) if *at <= Instant::now() => {
                    if vigil.is_over() {
                        return Poll::Ready(Verdict::GoAhead);
                    }
                    next = None;
                }
                Some((at, waker, _)) => {
                    // The future may have moved to another task.
                    if !waker.will_wake(context.waker()) {
                        next = Some(alarm_at(*at, context));
                    }
                    return Poll::Pending;
                }
                None => match vigil.next_look() {
                    Some(at) => next = Some(alarm_at(at, context)),
                    None => return Poll::Pending,
                },
            }
        }
    })
    .await
}
