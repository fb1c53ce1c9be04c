//! Tests of suspended claim holders, and of killed ones whose forked child keeps their locks alive.

use std::path::Path;

use nix::{
    sys::signal::{Signal, kill},
    unistd::{ForkResult, Pid, pause},
};

use super::{
    claimant::{Claimant, assert_claim_goes_to_one_after_the_other, is_locked, two_waiting},
    held, is_taken, wait,
};
use crate::store::common::{calls, key};
use fleche_core::CallStore;

/// Forks this process. The child runs the function, reports its process id, and sleeps.
pub(super) fn fork(child_does: impl FnOnce()) {
    // SAFETY: the child takes no lock that another thread may have held at the fork: it writes with a bare system call,
    // since a thread that has just written a line may still hold the lock of the standard output.
    #[allow(unsafe_code, reason = "only a fork creates a child that shares the locks of its parent")]
    let forked = unsafe { nix::unistd::fork() }.unwrap();
    if let ForkResult::Child = forked {
        child_does();
        let number = format!("> {}\n", std::process::id());
        assert_eq!(nix::unistd::write(std::io::stdout(), number.as_bytes()), Ok(number.len()));
        loop {
            pause();
        }
    }
}

/// The forked child of a child process.
struct Forked(Pid);

impl Forked {
    fn of(owner: &mut Claimant, order: &str) -> Self {
        Self(Pid::from_raw(owner.request(order).parse().unwrap()))
    }
}

impl Drop for Forked {
    fn drop(&mut self) {
        let _ = kill(self.0, Signal::SIGKILL);
    }
}

/// Leaves claim 1 to a dead process, whose forked child still holds the lock.
fn orphaned(root: &Path) -> Forked {
    let mut owner = Claimant::new(root);
    assert_eq!(owner.request("claim 1"), "held");
    let forked = Forked::of(&mut owner, "fork");
    owner.kill();
    forked
}

#[test]
fn dead_holder_whose_child_keeps_the_lock_is_bypassed() {
    let (root, calls) = calls();
    let _forked = orphaned(root.path());
    let mut first = Claimant::new(root.path());
    let mut second = Claimant::new(root.path());
    assert_eq!(first.request("wait 1"), "waiting");
    assert_eq!(first.receive(), "got 1");
    assert_eq!(calls.claim_holder(&key(1)).unwrap().unwrap().process, first.id());
    assert_eq!(second.request("wait 1"), "waiting");
    assert!(is_taken(&calls, 1));
    assert!(second.has_sent_nothing());
    assert_eq!(first.request("release 1"), "released");
    assert_eq!(second.receive(), "got 1");
}

#[test]
fn earlier_waiters_bypass_a_dead_holder_too() {
    let (root, _calls) = calls();
    let mut owner = Claimant::new(root.path());
    assert_eq!(owner.request("claim 1"), "held");
    let waiting = two_waiting(root.path());
    let _forked = Forked::of(&mut owner, "fork");
    owner.kill();
    assert_claim_goes_to_one_after_the_other(waiting);
}

#[test]
fn level_0_is_used_again_after_the_child_has_ended() {
    let (root, calls) = calls();
    let forked = orphaned(root.path());
    let mut other = Claimant::new(root.path());
    let (sender, receiver) = std::sync::mpsc::channel();
    wait(&calls, 1, &sender);
    let claim = receiver.recv_timeout(super::TIMEOUT).unwrap();
    drop(forked);
    // No other process acquires the claim while it is held at a higher level.
    for _ in 0..100 {
        assert_eq!(other.request("claim 1"), "taken");
    }
    assert_eq!(other.request("wait 1"), "waiting");
    assert!(other.has_sent_nothing());
    drop(claim);
    assert_eq!(other.receive(), "got 1");
    other.kill();
    // The attempt that still waited for the child leaves no lock behind.
    while is_locked(root.path()) {}
    drop(held(&calls, 1));
}

#[test]
fn several_dead_holders_are_bypassed() {
    let (root, _calls) = calls();
    let mut forked = vec![orphaned(root.path())];
    for _ in 0..2 {
        let mut next = Claimant::new(root.path());
        assert_eq!(next.request("wait 1"), "waiting");
        assert_eq!(next.receive(), "got 1");
        forked.push(Forked::of(&mut next, "fork"));
        next.kill();
    }
    let mut last = Claimant::new(root.path());
    assert_eq!(last.request("wait 1"), "waiting");
    assert_eq!(last.receive(), "got 1");
}

#[test]
fn forked_child_does_not_release_claims_of_its_parent() {
    let (root, calls) = calls();
    let mut owner = Claimant::new(root.path());
    assert_eq!(owner.request("claim 1"), "held");
    let _forked = Forked::of(&mut owner, "fork-and-release");
    assert!(is_taken(&calls, 1));
    assert_eq!(owner.request("release 1"), "released");
}

#[test]
fn suspended_holder_keeps_its_claim() {
    let (root, calls) = calls();
    let mut owner = Claimant::new(root.path());
    let mut waiting = Claimant::new(root.path());
    assert_eq!(owner.request("claim 1"), "held");
    let process = Pid::from_raw(owner.id().try_into().unwrap());
    kill(process, Signal::SIGSTOP).unwrap();
    assert_eq!(waiting.request("wait 1"), "waiting");
    for _ in 0..100 {
        assert_eq!(waiting.request("claim 1"), "taken");
    }
    assert!(is_taken(&calls, 1));
    assert_eq!(calls.claim_holder(&key(1)).unwrap().unwrap().process, owner.id());
    kill(process, Signal::SIGCONT).unwrap();
    assert!(waiting.has_sent_nothing());
    assert_eq!(owner.request("release 1"), "released");
    assert_eq!(waiting.receive(), "got 1");
}
