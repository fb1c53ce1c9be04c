//! Tests of claims by lease files, and of the choice between them and locks.

use std::{fs, path::Path};

use super::claimant::Claimant;
use crate::store::common::{calls, key};
use fleche_core::CallStore;
use fleche_store_file::{ClaimMethod, FileCalls, FileCallsConfig};

fn by_leases(root: &Path) -> Claimant {
    Claimant::with("by leases", root)
}

fn leases(root: &Path) -> Vec<String> {
    let Ok(directory) = fs::read_dir(root.join("leases")) else { return Vec::new() };
    directory.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
}

#[test]
fn lease_of_one_process_is_taken_for_others_until_it_is_released() {
    let root = tempfile::tempdir().unwrap();
    let mut holder = by_leases(root.path());
    let mut waiting = by_leases(root.path());
    assert_eq!(holder.request("claim 1"), "held");
    assert_eq!(leases(root.path()), [key(1).to_string()]);
    assert_eq!(waiting.request("claim 1"), "taken");
    assert_eq!(waiting.request("claim 2"), "held");
    assert_eq!(waiting.request("wait 1"), "waiting");
    assert!(waiting.has_sent_nothing());
    assert_eq!(holder.request("release 1"), "released");
    assert_eq!(waiting.receive(), "got 1");
    assert_eq!(holder.request("claim 1"), "taken");
    assert!(!root.path().join(".fleche-claims").exists());
}

#[test]
fn processes_hold_a_lease_one_at_a_time() {
    let root = tempfile::tempdir().unwrap();
    let mut claimants: Vec<_> = (0..4).map(|_| by_leases(root.path())).collect();
    for claimant in &mut claimants {
        claimant.send("turns 25");
    }
    for claimant in &claimants {
        assert_eq!(claimant.receive(), "took turns");
    }
    assert_eq!(leases(root.path()), [""; 0]);
}

#[test]
fn lease_of_a_process_that_was_killed_on_this_host_goes_to_one_waiter() {
    let root = tempfile::tempdir().unwrap();
    let mut holder = by_leases(root.path());
    let mut waiting = [(); 2].map(|()| by_leases(root.path()));
    assert_eq!(holder.request("claim 1"), "held");
    for claimant in &mut waiting {
        assert_eq!(claimant.request("wait 1"), "waiting");
    }
    holder.kill();
    let first = loop {
        if let Some(first) = waiting.iter().position(|claimant| !claimant.has_sent_nothing()) {
            break first;
        }
        std::thread::yield_now();
    };
    let [one, other] = &mut waiting;
    let (first, second) = if first == 0 { (one, other) } else { (other, one) };
    assert_eq!(second.request("claim 1"), "taken");
    assert_eq!(first.request("release 1"), "released");
    assert_eq!(second.receive(), "got 1");
}

#[test]
fn holder_of_a_lease_is_visible_to_other_processes() {
    let root = tempfile::tempdir().unwrap();
    let calls = FileCalls::open_with(&FileCallsConfig::new(root.path()).claims(ClaimMethod::Leases)).unwrap();
    assert_eq!(calls.claim_holder(&key(1)).unwrap(), None);
    let mut holder = by_leases(root.path());
    assert_eq!(holder.request("claim 1"), "held");
    assert_eq!(holder.request("await 1"), "awaiting");
    let known = calls.claim_holder(&key(1)).unwrap().unwrap();
    assert_eq!((known.process, known.waiting_on), (holder.id(), Some(vec![key(2)])));
    holder.kill();
    assert_eq!(calls.claim_holder(&key(1)).unwrap(), None);
}

#[test]
fn locks_are_used_on_a_local_file_system() {
    let (root, calls) = calls();
    let _claim = super::held(&calls, 1);
    assert!(root.path().join(".fleche-claims").exists());
    assert_eq!(leases(root.path()), [""; 0]);
}

#[test]
fn leases_are_used_in_a_directory_that_has_some() {
    let root = tempfile::tempdir().unwrap();
    let mut holder = by_leases(root.path());
    let mut automatic = Claimant::new(root.path());
    assert_eq!(holder.request("claim 1"), "held");
    assert_eq!(automatic.request("claim 1"), "taken");
    assert_eq!(holder.request("release 1"), "released");
    assert_eq!(automatic.request("wait 1"), "got 1");
    assert_eq!(holder.request("claim 1"), "taken");
}

#[cfg(target_os = "linux")]
#[test]
fn leases_are_used_where_locks_do_not_work() {
    let root = tempfile::tempdir().unwrap();
    let mut holder = Claimant::with("without all locks", root.path());
    let mut other = Claimant::with("without all locks", root.path());
    assert_eq!(holder.request("claim 1"), "held");
    assert_eq!(other.request("claim 1"), "taken");
    assert_eq!(leases(root.path()), [key(1).to_string()]);
}

#[test]
fn claims_stay_within_the_process_where_leases_cannot_be_written() {
    let root = tempfile::tempdir().unwrap();
    fs::write(root.path().join("leases"), "in the way").unwrap();
    assert_eq!(by_leases(root.path()).request("claim 1"), "within process");
}
