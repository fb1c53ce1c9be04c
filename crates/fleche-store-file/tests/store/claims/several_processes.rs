//! Tests of claims among several processes.

use std::{collections::BTreeSet, fs};

use super::{
    claimant::{Claimant, assert_claim_goes_to_one_after_the_other, is_locked, two_waiting},
    held, is_taken,
};
use crate::store::common::{calls, key};
use fleche_core::CallStore;

#[test]
fn claim_of_one_process_is_taken_for_others() {
    let (root, calls) = calls();
    let mut other = Claimant::new(root.path());
    let claim = held(&calls, 1);
    assert_eq!(other.request("claim 1"), "taken");
    assert_eq!(other.request("claim 2"), "held");
    assert!(is_taken(&calls, 2));
    drop(claim);
    assert_eq!(other.request("claim 1"), "held");
    assert!(is_taken(&calls, 1));
}

#[test]
fn waiter_acquires_claim_when_it_is_released() {
    let (root, calls) = calls();
    let mut other = Claimant::new(root.path());
    let claim = held(&calls, 1);
    assert_eq!(other.request("wait 1"), "waiting");
    assert_eq!(other.request("claim 1"), "taken");
    assert!(other.has_sent_nothing());
    drop(claim);
    assert_eq!(other.receive(), "got 1");
    assert!(is_taken(&calls, 1));
    assert_eq!(other.request("release 1"), "released");
    other.request("claim 2");
    assert!(!is_taken(&calls, 1));
}

#[test]
fn processes_hold_the_claim_one_at_a_time() {
    let (root, _calls) = calls();
    let mut claimants: Vec<_> = (0..4).map(|_| Claimant::new(root.path())).collect();
    for claimant in &mut claimants {
        claimant.send("turns 100");
    }
    for claimant in &claimants {
        assert_eq!(claimant.receive(), "took turns");
    }
    assert!(!is_locked(root.path()));
}

#[test]
fn claim_of_killed_process_goes_to_one_waiter() {
    let (root, _calls) = calls();
    let mut owner = Claimant::new(root.path());
    assert_eq!(owner.request("claim 1"), "held");
    let waiting = two_waiting(root.path());
    owner.kill();
    assert_claim_goes_to_one_after_the_other(waiting);
}

#[test]
fn killed_waiter_leaves_no_lock() {
    let (root, calls) = calls();
    let mut waiting = Claimant::new(root.path());
    let claim = held(&calls, 1);
    assert_eq!(waiting.request("wait 1"), "waiting");
    waiting.kill();
    drop(claim);
    assert!(!is_locked(root.path()));
}

#[test]
fn waits_beyond_the_limit_of_blocked_threads_are_served() {
    let (root, _calls) = calls();
    let mut owner = Claimant::new(root.path());
    let mut waiting = Claimant::new(root.path());
    let numbers = 1..=300;
    for number in numbers.clone() {
        assert_eq!(owner.request(&format!("claim {number}")), "held");
        assert_eq!(waiting.request(&format!("wait {number}")), "waiting");
    }
    assert!(waiting.has_sent_nothing());
    for number in numbers.clone() {
        assert_eq!(owner.request(&format!("release {number}")), "released");
    }
    let got: BTreeSet<_> = numbers.clone().map(|_| waiting.receive()).collect();
    assert_eq!(got, numbers.clone().map(|number| format!("got {number}")).collect());
    for number in numbers {
        assert_eq!(waiting.request(&format!("release {number}")), "released");
    }
    waiting.request("claim 0");
    waiting.request("release 0");
    waiting.request("probe");
    drop(waiting);
    assert!(!is_locked(root.path()));
}

#[test]
fn holder_is_visible_to_other_processes() {
    let (root, calls) = calls();
    let mut other = Claimant::new(root.path());
    assert_eq!(other.request("claim 1"), "held");
    assert_eq!(other.request("await 1"), "awaiting");
    let owner = calls.claim_holder(&key(1)).unwrap().unwrap();
    assert_eq!(owner.process, other.id());
    assert_eq!(owner.waiting_on, Some(vec![key(2)]));
    let claim = held(&calls, 3);
    assert_eq!(calls.claim_holder(&key(3)).unwrap().unwrap().host, owner.host);
    drop(claim);
    other.kill();
    assert_eq!(calls.claim_holder(&key(1)).unwrap(), None);
}

#[test]
fn holder_whose_slot_is_overwritten_is_unknown() {
    let (root, calls) = calls();
    let mut other = Claimant::new(root.path());
    assert_eq!(other.request("claim 1"), "held");
    let path = root.path().join(".fleche-claims");
    let length = fs::metadata(&path).unwrap().len();
    for byte in [0x00, 0xff, 0x5a] {
        fs::write(&path, vec![byte; usize::try_from(length).unwrap()]).unwrap();
        assert_eq!(calls.claim_holder(&key(1)).unwrap(), None);
        assert!(is_taken(&calls, 1));
    }
    assert_eq!(other.request("await 1"), "awaiting");
    assert_eq!(calls.claim_holder(&key(1)).unwrap().unwrap().process, other.id());
}
