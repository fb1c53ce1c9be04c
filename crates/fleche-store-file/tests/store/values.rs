//! Tests of ages, refreshing and removal of values.

use std::{
    fs::{self, File},
    thread,
    time::{Duration, SystemTime},
};

use super::common::{file_of, files, values};
use fleche_core::{Cache, Digest, Error, ValueStore, cache::Gc};
use fleche_store_file::FileCalls;

const BYTES: &[u8] = b"bytes";
const DAY: Duration = Duration::from_hours(24);

fn id() -> Digest {
    Digest::hash(BYTES)
}

fn set_modified(root: &tempfile::TempDir, time: SystemTime) {
    File::open(file_of(root.path(), &id())).unwrap().set_modified(time).unwrap();
}

#[test]
fn age_is_that_of_the_file() {
    let (root, values) = values();
    assert_eq!(values.age(&id()).unwrap(), None);
    values.put(&id(), BYTES).unwrap();
    set_modified(&root, SystemTime::now() - DAY);
    assert!(values.age(&id()).unwrap().unwrap() >= DAY);
}

#[test]
fn file_from_the_future_is_as_old_as_it_is_ahead() {
    let (root, values) = values();
    values.put(&id(), BYTES).unwrap();
    // Another host's clock is slightly ahead: the file stays for the grace period.
    set_modified(&root, SystemTime::now() + DAY / 2);
    assert!(!values.remove(&id(), Some(DAY)).unwrap());
    // A clock was once far ahead: the file does not stay forever.
    set_modified(&root, SystemTime::now() + 3 * DAY);
    assert!(values.age(&id()).unwrap().unwrap() > 2 * DAY);
    assert!(values.remove(&id(), Some(DAY)).unwrap());
}

#[test]
fn gc_keeps_values_dated_slightly_ahead_and_removes_those_far_ahead() {
    let (root, values) = values();
    let cache = Cache::new(values.clone(), FileCalls::open(root.path().join("calls")).unwrap());
    values.put(&id(), BYTES).unwrap();
    set_modified(&root, SystemTime::now() + DAY / 2);
    let collected = cache.gc(&Gc::new().grace(DAY)).unwrap();
    assert_eq!((collected.kept, collected.removed), (1, 0));
    set_modified(&root, SystemTime::now() + 3 * DAY);
    let collected = cache.gc(&Gc::new().grace(DAY)).unwrap();
    assert_eq!((collected.kept, collected.removed), (0, 1));
}

#[test]
#[cfg(unix)]
fn repeated_put_refreshes_age_of_the_same_file() {
    use std::os::unix::fs::MetadataExt;
    let (root, values) = values();
    values.put(&id(), BYTES).unwrap();
    let inode = || fs::metadata(file_of(root.path(), &id())).unwrap().ino();
    let before = inode();
    set_modified(&root, SystemTime::now() - DAY);
    values.put(&id(), BYTES).unwrap();
    assert!(values.age(&id()).unwrap().unwrap() < DAY);
    assert_eq!(inode(), before);
}

#[test]
fn repeated_put_repairs_file_of_the_wrong_size() {
    let (root, values) = values();
    for wrong in [&b"byt"[..], b"bytes and more", b""] {
        values.put(&id(), BYTES).unwrap();
        fs::write(file_of(root.path(), &id()), wrong).unwrap();
        values.put(&id(), BYTES).unwrap();
        assert_eq!(values.get(&id()).unwrap().unwrap(), BYTES);
    }
    assert_eq!(files(root.path()).len(), 1);
}

#[test]
fn only_value_older_than_the_limit_is_removed() {
    let (root, values) = values();
    values.put(&id(), BYTES).unwrap();
    set_modified(&root, SystemTime::now() - DAY);
    assert!(!values.remove(&id(), Some(2 * DAY)).unwrap());
    assert!(values.contains(&id()).unwrap());
    assert!(values.remove(&id(), Some(DAY / 2)).unwrap());
    assert!(!values.remove(&id(), Some(DAY / 2)).unwrap());
    assert!(!values.remove(&id(), None).unwrap());
    assert_eq!(files(root.path()), [""; 0]);
}

#[test]
fn old_value_put_during_its_removal_survives() {
    let (root, values) = values();
    for _ in 0..300 {
        values.put(&id(), BYTES).unwrap();
        set_modified(&root, SystemTime::now() - DAY);
        thread::scope(|scope| {
            scope.spawn(|| values.remove(&id(), Some(DAY / 2)).unwrap());
            scope.spawn(|| values.remove(&id(), Some(DAY / 2)).unwrap());
            scope.spawn(|| values.put(&id(), BYTES).unwrap());
        });
        assert_eq!(values.get(&id()).unwrap().as_deref(), Some(BYTES));
    }
    assert_eq!(files(root.path()).len(), 1);
}

#[test]
fn concurrent_put_get_and_remove_never_see_partial_value() {
    let (root, values) = values();
    let bytes = vec![7; 100_000];
    let id = Digest::hash(&bytes);
    thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                for _ in 0..200 {
                    values.put(&id, &bytes).unwrap();
                    assert!(values.get(&id).unwrap().is_none_or(|got| got == bytes));
                    values.remove(&id, None).unwrap();
                }
            });
        }
    });
    assert_eq!(files(root.path()), [""; 0]);
}

#[test]
fn value_is_synced_and_absent_value_is_an_error() {
    let (_root, values) = values();
    values.put(&id(), BYTES).unwrap();
    values.sync(&id()).unwrap();
    values.remove(&id(), None).unwrap();
    let error = values.sync(&id()).unwrap_err();
    assert!(matches!(&error, Error::Io { path, .. } if path.ends_with(&id().to_string()[2..])), "{error}");
}
