//! Tests of claims: one holder at a time, within this process and among several.

mod by_leases;
mod claimant;
#[cfg(target_os = "linux")]
mod dead_holders;
mod several_processes;
#[cfg(target_os = "linux")]
mod without_locks;

use std::{
    sync::{Arc, mpsc},
    time::Duration,
};

use super::common::{calls, files, key};
use fleche_core::{
    CallStore,
    claim::{Claim, ClaimGuard},
};
use fleche_store_file::FileCalls;

/// The time after which a wait counts as a hang.
const TIMEOUT: Duration = Duration::from_mins(2);

fn held(calls: &FileCalls, number: u32) -> Arc<dyn ClaimGuard> {
    match calls.claim(&key(number)).unwrap() {
        Claim::Held(held) => held,
        other => panic!("{other:?}"),
    }
}

fn is_taken(calls: &FileCalls, number: u32) -> bool {
    matches!(calls.claim(&key(number)).unwrap(), Claim::Taken(_))
}

/// Waits for the claim and sends it to this channel.
fn wait(calls: &FileCalls, number: u32, sender: &mpsc::Sender<Arc<dyn ClaimGuard>>) {
    let Claim::Taken(taken) = calls.claim(&key(number)).unwrap() else { panic!("the claim must be held") };
    let sender = sender.clone();
    taken.when_acquired(Box::new(move |held| sender.send(held.unwrap()).unwrap()));
}

#[test]
fn claim_is_exclusive_until_it_is_dropped() {
    let (root, calls) = calls();
    let again = FileCalls::open(root.path()).unwrap();
    let first = held(&calls, 1);
    assert!(is_taken(&calls, 1) && is_taken(&again, 1));
    let other = held(&again, 2);
    drop(first);
    drop(held(&again, 1));
    drop(other);
    assert!(!is_taken(&calls, 2));
}

#[test]
fn waiters_acquire_the_claim_one_after_another() {
    let (_root, calls) = calls();
    let (sender, receiver) = mpsc::channel();
    let mut owner = held(&calls, 1);
    for _ in 0..10 {
        wait(&calls, 1, &sender);
    }
    for _ in 0..10 {
        assert!(receiver.try_recv().is_err());
        drop(owner);
        owner = receiver.recv_timeout(TIMEOUT).unwrap();
        assert!(is_taken(&calls, 1));
    }
    drop(owner);
    drop(held(&calls, 1));
}

#[test]
fn waiter_that_drops_the_claim_leaves_it_to_the_next() {
    let (_root, calls) = calls();
    let (sender, receiver) = mpsc::channel();
    let owner = held(&calls, 1);
    for _ in 0..300 {
        let Claim::Taken(taken) = calls.claim(&key(1)).unwrap() else { panic!("the claim must be held") };
        taken.when_acquired(Box::new(drop));
    }
    wait(&calls, 1, &sender);
    drop(owner);
    drop(receiver.recv_timeout(TIMEOUT).unwrap());
    drop(held(&calls, 1));
}

#[test]
fn refused_request_holds_nothing() {
    let (_root, calls) = calls();
    let owner = held(&calls, 1);
    let taken = calls.claim(&key(1)).unwrap();
    drop(owner);
    drop(held(&calls, 1));
    drop(taken);
    drop(held(&calls, 1));
}

#[test]
fn waiter_acquires_claim_that_was_released_before_the_wait() {
    let (_root, calls) = calls();
    let (sender, receiver) = mpsc::channel();
    let owner = held(&calls, 1);
    let Claim::Taken(taken) = calls.claim(&key(1)).unwrap() else { panic!("the claim must be held") };
    drop(owner);
    taken.when_acquired(Box::new(move |held| sender.send(held.unwrap()).unwrap()));
    let held = receiver.recv_timeout(TIMEOUT).unwrap();
    assert!(is_taken(&calls, 1));
    drop(held);
}

#[test]
fn holder_of_a_claim_is_known_while_it_is_held() {
    let (root, calls) = calls();
    assert_eq!(calls.claim_holder(&key(1)).unwrap(), None);
    assert_eq!(files(root.path()), [""; 0]);
    let claim = held(&calls, 1);
    let owner = calls.claim_holder(&key(1)).unwrap().unwrap();
    assert_eq!(owner.process, std::process::id());
    assert_eq!(owner.waiting_on, Some(vec![]));
    claim.publish_waits(Some(&[key(2), key(3)]));
    let waiting = calls.claim_holder(&key(1)).unwrap().unwrap();
    assert_eq!(waiting.waiting_on, Some(vec![key(2), key(3)]));
    assert_eq!(waiting.since, owner.since);
    claim.publish_waits(None);
    assert_eq!(calls.claim_holder(&key(1)).unwrap().unwrap().waiting_on, None);
    claim.publish_waits(Some(&(0..9).map(key).collect::<Vec<_>>()));
    assert_eq!(calls.claim_holder(&key(1)).unwrap().unwrap().waiting_on, None);
    assert_eq!(calls.claim_holder(&key(2)).unwrap(), None);
    drop(claim);
    assert_eq!(calls.claim_holder(&key(1)).unwrap(), None);
}

#[test]
fn handles_to_one_directory_are_one_store() {
    let (root, one) = calls();
    let (_other_root, other) = super::common::calls();
    assert_eq!(one.identity(), one.clone().identity());
    assert_eq!(one.identity(), FileCalls::open(root.path()).unwrap().identity());
    assert_ne!(one.identity(), other.identity());
}

#[test]
fn claims_work_after_the_directory_was_removed() {
    let (root, calls) = calls();
    let before = held(&calls, 1);
    std::fs::remove_dir_all(root.path()).unwrap();
    let after = held(&calls, 2);
    assert!(is_taken(&calls, 2));
    drop((before, after));
    drop(held(&calls, 1));
}

#[test]
fn lock_file_is_not_listed() {
    let (_root, calls) = calls();
    let _claim = held(&calls, 1);
    assert_eq!(calls.keys(&fleche_core::DigestPrefix::all()).unwrap().count(), 0);
}
