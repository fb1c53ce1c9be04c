//! Tests of systems and file systems without locks, or without open file description locks.

use std::{collections::BTreeMap, env, fs, path::Path};

use nix::{errno::Errno, libc};
use seccompiler::{
    BpfProgram, SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition, SeccompFilter, SeccompRule,
    apply_filter,
};

use super::claimant::Claimant;
use crate::store::common::{calls, key};
use fleche_core::CallStore;

/// Makes the system refuse open file description locks to this thread, and `flock` too if `what` is "all locks".
pub(super) fn without(what: &str) {
    let error = if what == "all locks" { Errno::ENOLCK } else { Errno::EINVAL };
    let with = |command: libc::c_int| {
        let command = u64::try_from(command).unwrap();
        let condition = SeccompCondition::new(1, SeccompCmpArgLen::Dword, SeccompCmpOp::Eq, command).unwrap();
        SeccompRule::new(vec![condition]).unwrap()
    };
    let commands = [libc::F_OFD_SETLK, libc::F_OFD_SETLKW, libc::F_OFD_GETLK].map(with);
    let mut rules = BTreeMap::from([(libc::SYS_fcntl, commands.to_vec())]);
    if what == "all locks" {
        rules.insert(libc::SYS_flock, Vec::new());
    }
    let refuse = SeccompAction::Errno((error as i32).try_into().unwrap());
    let filter =
        SeccompFilter::new(rules, SeccompAction::Allow, refuse, env::consts::ARCH.try_into().unwrap()).unwrap();
    apply_filter(&BpfProgram::try_from(filter).unwrap()).unwrap();
}

fn without_byte_locks(root: &Path) -> Claimant {
    Claimant::with("without byte locks", root)
}

#[test]
fn claims_stay_within_the_process_without_any_locks() {
    let (root, _calls) = calls();
    let mut claimant = Claimant::with("by locks without all locks", root.path());
    assert_eq!(claimant.request("claim 1"), "within process");
    assert_eq!(claimant.request("wait 1"), "within process");
}

#[test]
fn claims_stay_within_the_process_if_lock_file_is_a_directory() {
    let (root, _calls) = calls();
    fs::create_dir(root.path().join(".fleche-claims")).unwrap();
    assert_eq!(Claimant::new(root.path()).request("claim 1"), "within process");
}

#[test]
fn each_claim_has_a_lock_file_without_byte_locks() {
    let (root, calls) = calls();
    let file = root.path().join("claims").join(key(1).to_string());
    let mut owner = without_byte_locks(root.path());
    let mut waiting = without_byte_locks(root.path());
    assert_eq!(owner.request("claim 1"), "held");
    assert!(file.exists());
    assert_eq!(waiting.request("wait 1"), "waiting");
    assert_eq!(owner.request("await 1"), "awaiting");
    owner.kill();
    assert_eq!(waiting.receive(), "got 1");
    assert_eq!(waiting.request("release 1"), "released");
    waiting.request("claim 2");
    assert!(!file.exists());
    assert_eq!(calls.keys(&fleche_core::DigestPrefix::all()).unwrap().count(), 0);
}

#[test]
fn lock_files_admit_one_process_at_a_time() {
    let (root, _calls) = calls();
    let mut claimants: Vec<_> = (0..4).map(|_| without_byte_locks(root.path())).collect();
    for claimant in &mut claimants {
        claimant.send("turns 100");
    }
    for claimant in &claimants {
        assert_eq!(claimant.receive(), "took turns");
    }
    assert_eq!(fs::read_dir(root.path().join("claims")).unwrap().count(), 0);
}
