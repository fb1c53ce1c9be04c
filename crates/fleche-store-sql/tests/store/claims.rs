//! Tests of claims: one holder at a time, among threads and processes.

use std::{
    io::{BufRead, BufReader, Read},
    process::{self, Child},
    sync::mpsc,
};

use fleche_core::{
    CallStore,
    claim::{Claim, ContendedClaim},
};
use fleche_store_sql::SqlCalls;

use super::{
    common::{Scratch, child, key, on_both},
    processes::hold,
};

fn taken(calls: &SqlCalls) -> Box<dyn ContendedClaim> {
    match calls.claim(&key(1)).unwrap() {
        Claim::Taken(taken) => taken,
        claim => panic!("the claim is held, but the request returned {claim:?}"),
    }
}

/// Starts a child process that holds the claim.
fn holder(scratch: &Scratch) -> Child {
    let mut child = child("hold a claim", scratch);
    let mut output = BufReader::new(child.stdout.take().unwrap());
    assert!(
        output.by_ref().lines().map_while(Result::ok).any(|line| line == "held"),
        "the child process does not hold the claim"
    );
    child.stdout = Some(output.into_inner());
    child
}

fn claim_has_one_holder_until_it_is_dropped(scratch: &Scratch) {
    let calls = scratch.open_calls();
    assert_eq!(calls.claim_holder(&key(1)).unwrap(), None);
    let held = hold(&calls, 1);
    assert!(held.publishes() && !held.is_expired());
    let (sender, receiver) = mpsc::channel();
    taken(&calls).when_acquired(Box::new(move |held| sender.send(held.unwrap()).unwrap()));
    // Another call has another claim.
    drop(hold(&calls, 2));
    drop(held);
    let next = receiver.recv().unwrap();
    drop(taken(&calls));
    drop(next);
    drop(hold(&calls, 1));
    assert_eq!(calls.claim_holder(&key(1)).unwrap(), None);
}

fn holder_and_its_awaited_calls_are_published(scratch: &Scratch) {
    let calls = scratch.open_calls();
    let held = hold(&calls, 1);
    let owner = || calls.claim_holder(&key(1)).unwrap().expect("the claim is held");
    assert_eq!(owner().process, process::id());
    assert_eq!(owner().waiting_on, Some(vec![]));
    held.publish_waits(Some(&[key(2), key(3)]));
    assert_eq!(owner().waiting_on, Some(vec![key(2), key(3)]));
    held.publish_waits(None);
    assert_eq!(owner().waiting_on, None);
}

fn waiter_acquires_claim_when_the_holding_process_ends(scratch: &Scratch) {
    let mut child = holder(scratch);
    let calls = scratch.open_calls();
    drop(taken(&calls));
    assert_eq!(calls.claim_holder(&key(1)).unwrap().map(|owner| owner.process), Some(child.id()));
    drop(child.stdin.take());
    drop(hold(&calls, 1));
    child.wait().unwrap();
}

fn waiter_acquires_claim_of_a_killed_process_after_it_expires(scratch: &Scratch) {
    let mut child = holder(scratch);
    child.kill().unwrap();
    child.wait().unwrap();
    let calls = scratch.open_calls();
    let held = hold(&calls, 1);
    assert!(!held.is_expired());
    assert_eq!(calls.claim_holder(&key(1)).unwrap().map(|owner| owner.process), Some(process::id()));
}

fn processes_hold_the_claim_one_at_a_time(scratch: &Scratch) {
    let children: Vec<_> = (0..2).map(|_| child("claim in turn", scratch)).collect();
    for child in children {
        let done = child.wait_with_output().unwrap();
        assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stdout));
    }
}

on_both! {
    claim_has_one_holder_until_it_is_dropped
    holder_and_its_awaited_calls_are_published
    waiter_acquires_claim_when_the_holding_process_ends
    waiter_acquires_claim_of_a_killed_process_after_it_expires
    processes_hold_the_claim_one_at_a_time
}

#[test]
fn claim_with_an_end_too_far_ahead_counts_as_expired() {
    let scratch = Scratch::sqlite();
    let calls = scratch.open_calls();
    let first = hold(&calls, 1);
    // As if the clock of its holder had been ahead.
    scratch.execute("UPDATE fleche_leases SET until = until + 3600000");
    assert_eq!(calls.claim_holder(&key(1)).unwrap(), None);
    let Claim::Held(second) = calls.claim(&key(1)).unwrap() else { panic!("the claim must have expired") };
    assert!(calls.claim_holder(&key(1)).unwrap().is_some());
    drop((first, second));
    scratch.execute("INSERT INTO fleche_leases (key, until, host, process, since) VALUES (x'00', 1 << 62, x'', 1, 0)");
    drop(calls);
    scratch.open_calls();
    assert_eq!(scratch.number("SELECT count(*) FROM fleche_leases"), 0);
}

#[test]
fn expired_grant_cannot_change_the_claim_of_its_successor() {
    let scratch = Scratch::sqlite();
    let calls = scratch.open_calls();
    let first = hold(&calls, 1);
    // As if its holder had been suspended for long.
    scratch.execute("UPDATE fleche_leases SET until = 0");
    assert_eq!(calls.claim_holder(&key(1)).unwrap(), None);
    let second = hold(&calls, 1);
    first.publish_waits(Some(&[key(2)]));
    drop(first);
    assert_eq!(
        calls.claim_holder(&key(1)).unwrap().expect("the second holder must have the claim").waiting_on,
        Some(vec![])
    );
    drop(second);
    assert_eq!(scratch.number("SELECT count(*) FROM fleche_leases"), 0);
    drop(hold(&calls, 1));
    assert_eq!(scratch.number("SELECT seq FROM sqlite_sequence WHERE name = 'fleche_leases'"), 3);
}
