//! Who computes: one at a time, in this process and among several.

mod claimant;
#[cfg(target_os = "linux")]
mod lost;
mod several;
#[cfg(target_os = "linux")]
mod unable;

use std::{
    sync::{Arc, mpsc},
    time::Duration,
};

use super::common::{calls, files, key};
use fleche_core::{
    CallStore,
    claim::{Claim, Held},
};
use fleche_store_file::FileCalls;

/// How long what has to happen may take before it counts as a hang.
const HANGS: Duration = Duration::from_mins(2);

fn held(calls: &FileCalls, number: u32) -> Arc<dyn Held> {
    match calls.claim(&key(number)).unwrap() {
        Claim::Held(held) => held,
        other => panic!("{other:?}"),
    }
}

fn is_taken(calls: &FileCalls, number: u32) -> bool {
    matches!(calls.claim(&key(number)).unwrap(), Claim::Taken(_))
}

/// Waits for the claim, and sends it.
fn wait(calls: &FileCalls, number: u32, sender: &mpsc::Sender<Arc<dyn Held>>) {
    let Claim::Taken(taken) = calls.claim(&key(number)).unwrap() else { panic!("it is free") };
    let sender = sender.clone();
    taken.when_held(Box::new(move |held| sender.send(held.unwrap()).unwrap()));
}

#[test]
fn a_claim_is_held_once_until_it_is_dropped() {
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
fn one_who_waits_gets_the_claim_after_the_other() {
    let (_root, calls) = calls();
    let (sender, receiver) = mpsc::channel();
    let mut owner = held(&calls, 1);
    for _ in 0..10 {
        wait(&calls, 1, &sender);
    }
    for _ in 0..10 {
        assert!(receiver.try_recv().is_err());
        drop(owner);
        owner = receiver.recv_timeout(HANGS).unwrap();
        assert!(is_taken(&calls, 1));
    }
    drop(owner);
    drop(held(&calls, 1));
}

#[test]
fn who_no_longer_wants_the_claim_leaves_it_to_the_next() {
    let (_root, calls) = calls();
    let (sender, receiver) = mpsc::channel();
    let owner = held(&calls, 1);
    for _ in 0..300 {
        let Claim::Taken(taken) = calls.claim(&key(1)).unwrap() else { panic!("it is free") };
        taken.when_held(Box::new(drop));
    }
    wait(&calls, 1, &sender);
    drop(owner);
    drop(receiver.recv_timeout(HANGS).unwrap());
    drop(held(&calls, 1));
}

#[test]
fn who_asked_and_does_not_wait_keeps_nothing() {
    let (_root, calls) = calls();
    let owner = held(&calls, 1);
    let taken = calls.claim(&key(1)).unwrap();
    drop(owner);
    drop(held(&calls, 1));
    drop(taken);
    drop(held(&calls, 1));
}

#[test]
fn a_claim_that_is_free_by_now_is_had_by_waiting_too() {
    let (_root, calls) = calls();
    let (sender, receiver) = mpsc::channel();
    let owner = held(&calls, 1);
    let Claim::Taken(taken) = calls.claim(&key(1)).unwrap() else { panic!("it is free") };
    drop(owner);
    taken.when_held(Box::new(move |held| sender.send(held.unwrap()).unwrap()));
    let held = receiver.recv_timeout(HANGS).unwrap();
    assert!(is_taken(&calls, 1));
    drop(held);
}

#[test]
fn the_owner_of_a_claim_is_known_while_it_is_held() {
    let (root, calls) = calls();
    assert_eq!(calls.owner(&key(1)).unwrap(), None);
    assert_eq!(files(root.path()), [""; 0]);
    let claim = held(&calls, 1);
    let owner = calls.owner(&key(1)).unwrap().unwrap();
    assert_eq!(owner.process, std::process::id());
    assert_eq!(owner.awaits, Some(vec![]));
    claim.awaits(Some(&[key(2), key(3)]));
    let waiting = calls.owner(&key(1)).unwrap().unwrap();
    assert_eq!(waiting.awaits, Some(vec![key(2), key(3)]));
    assert_eq!(waiting.since, owner.since);
    claim.awaits(None);
    assert_eq!(calls.owner(&key(1)).unwrap().unwrap().awaits, None);
    claim.awaits(Some(&(0..9).map(key).collect::<Vec<_>>()));
    assert_eq!(calls.owner(&key(1)).unwrap().unwrap().awaits, None);
    assert_eq!(calls.owner(&key(2)).unwrap(), None);
    drop(claim);
    assert_eq!(calls.owner(&key(1)).unwrap(), None);
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
fn claims_go_on_where_the_directory_was_removed() {
    let (root, calls) = calls();
    let before = held(&calls, 1);
    std::fs::remove_dir_all(root.path()).unwrap();
    let after = held(&calls, 2);
    assert!(is_taken(&calls, 2));
    drop((before, after));
    drop(held(&calls, 1));
}

#[test]
fn the_lock_file_is_no_entry() {
    let (_root, calls) = calls();
    let _claim = held(&calls, 1);
    assert_eq!(calls.keys(&fleche_core::DigestPrefix::all()).unwrap().count(), 0);
}
