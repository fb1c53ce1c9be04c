//! Tests of claims with one lock file each, on every Unix.

use std::{
    sync::{
        atomic::{AtomicBool, Ordering},
        mpsc,
    },
    thread,
    time::Duration,
};

use fleche_core::Digest;
use tempfile::TempDir;

use super::*;

const HANGS: Duration = Duration::from_mins(2);

fn key(number: u32) -> CallKey {
    Digest::of(&number.to_le_bytes()).into()
}

fn root() -> TempDir {
    tempfile::tempdir().unwrap()
}

fn held(root: &TempDir, number: u32) -> Arc<dyn Held> {
    match claim(root.path(), &key(number), false).unwrap() {
        Claim::Held(held) => held,
        other => panic!("{other:?}"),
    }
}

fn taken(root: &TempDir, number: u32) -> Box<dyn Taken> {
    match claim(root.path(), &key(number), false).unwrap() {
        Claim::Taken(taken) => taken,
        other => panic!("{other:?}"),
    }
}

fn get(taken: Box<dyn Taken>) -> mpsc::Receiver<Arc<dyn Held>> {
    let (sender, receiver) = mpsc::channel();
    taken.when_held(Box::new(move |held| sender.send(held.unwrap()).unwrap()));
    receiver
}

#[test]
fn claim_is_exclusive_until_it_is_dropped() {
    let root = root();
    let first = held(&root, 1);
    let other = held(&root, 2);
    taken(&root, 1);
    drop(first);
    drop(held(&root, 1));
    drop(other);
    assert_eq!(fs::read_dir(root.path().join(DIRECTORY)).unwrap().count(), 0);
}

#[test]
fn waiter_acquires_claim_when_it_is_released() {
    let root = root();
    let first = held(&root, 1);
    let waiting = get(taken(&root, 1));
    assert!(waiting.try_recv().is_err());
    drop(first);
    let second = waiting.recv_timeout(HANGS).unwrap();
    taken(&root, 1);
    drop(second);
    drop(held(&root, 1));
}

#[test]
fn locked_file_without_its_name_is_not_a_claim() {
    let root = root();
    let lost = held(&root, 1);
    fs::remove_file(path(root.path(), &key(1))).unwrap();
    let request = ClaimRequest { key: key(1), path: path(root.path(), &key(1)), shared: false };
    let now = request.open().unwrap();
    assert!(request.still_has_name(&now).unwrap());
    fs::rename(&request.path, root.path().join("elsewhere")).unwrap();
    assert!(!request.still_has_name(&now).unwrap());
    drop(held(&root, 1));
    drop(lost);
}

#[test]
fn threads_hold_the_claim_one_at_a_time() {
    let root = root();
    let turn = AtomicBool::new(false);
    thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                for _ in 0..100 {
                    let held = match claim(root.path(), &key(1), false).unwrap() {
                        Claim::Held(held) => held,
                        Claim::Taken(taken) => get(taken).recv_timeout(HANGS).unwrap(),
                        Claim::WithinProcess => panic!("locks are not supported here"),
                    };
                    assert!(!turn.swap(true, Ordering::SeqCst));
                    turn.store(false, Ordering::SeqCst);
                    drop(held);
                }
            });
        }
    });
    assert_eq!(fs::read_dir(root.path().join(DIRECTORY)).unwrap().count(), 0);
}

#[test]
fn holder_is_known_while_it_holds_the_claim() {
    let root = root();
    assert_eq!(owner(root.path(), &key(1), false).unwrap(), None);
    let claim = held(&root, 1);
    claim.awaits(Some(&[key(2)]));
    let known = owner(root.path(), &key(1), false).unwrap().unwrap();
    assert_eq!((known.process, known.awaits), (process::id(), Some(vec![key(2)])));
    drop(claim);
    assert_eq!(owner(root.path(), &key(1), false).unwrap(), None);
}
