//! Tests of files that other users may have planted in a store's directory, and of directories of other users.

use std::{
    fs::{self, File},
    os::unix::fs::{MetadataExt, PermissionsExt, symlink},
    path::Path,
    time::{Duration, SystemTime},
};

use fleche_core::{CallStore, Digest, DigestPrefix, Error, ValueStore, claim::Claim};
use fleche_store_file::{FileCalls, FileCallsConfig, FileValues, FileValuesConfig};
use nix::{
    sys::stat::Mode,
    unistd::{Uid, mkfifo, setuid},
};

use super::common::{calls, child_named, file_of, files, key, record, task, values};

const BYTES: &[u8] = b"bytes";

/// Runs the task of a child process; does nothing in the parent process.
#[test]
fn child_of_foreign() {
    let Some((task, root)) = task() else { return };
    match task.as_str() {
        "put and claim in a shared store" => {
            let values = FileValues::open_with(&FileValuesConfig::new(root.join("values")).shared(true)).unwrap();
            values.put(&Digest::hash(BYTES), BYTES).unwrap();
            let calls = FileCalls::open_with(&FileCallsConfig::new(root.join("calls")).shared(true)).unwrap();
            assert!(matches!(calls.claim(&key(1)).unwrap(), Claim::Held(_)));
        }
        "read only" => {
            // Root may write everywhere.
            if Uid::effective().is_root() {
                setuid(Uid::from_raw(65534)).unwrap();
            }
            File::create(root.join("new")).unwrap_err();
            let values = FileValues::open(root.join("values")).unwrap();
            assert_eq!(values.get(&Digest::hash(BYTES)).unwrap().unwrap(), BYTES);
            assert!(matches!(values.put(&Digest::hash(b"other"), b"other"), Err(Error::Io { .. })));
            let calls = FileCalls::open(root.join("calls")).unwrap();
            assert_eq!(calls.get(&key(1)).unwrap(), Some(record(b"r")));
            assert_eq!(calls.keys(&DigestPrefix::all()).unwrap().count(), 1);
            assert!(matches!(calls.claim(&key(2)).unwrap(), Claim::WithinProcess));
            assert_eq!(calls.claim_holder(&key(2)).unwrap(), None);
        }
        "claim under a limit" => {
            let calls = FileCalls::open(root).unwrap();
            for number in 0..100 {
                let claim = calls.claim(&key(number)).unwrap();
                assert!(matches!(claim, Claim::Held(_)));
                let owner = calls.claim_holder(&key(number)).unwrap().expect("the claim holder is published");
                assert_eq!(owner.process, std::process::id());
            }
        }
        "put a large value under a limit" => {
            let values = FileValues::open(root).unwrap();
            let large = vec![1; 1 << 20];
            let error = values.put(&Digest::hash(&large), &large).unwrap_err();
            assert!(error.report().to_string().contains("ulimit -f"), "{error:?}");
            values.put(&Digest::hash(BYTES), BYTES).unwrap();
        }
        _ => {}
    }
}

fn run_child(task: &str, root: &Path, before: &str) {
    let child = child_named("store::foreign::child_of_foreign", task, root, before);
    let done = child.wait_with_output().unwrap();
    assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stdout));
    assert!(String::from_utf8_lossy(&done.stdout).contains("1 passed"));
}

#[test]
fn planted_lock_file_is_not_written_to() {
    let (root, calls) = calls();
    let outside = tempfile::tempdir().unwrap();
    let victim = outside.path().join("victim");
    fs::write(&victim, "precious").unwrap();
    let planted = root.path().join(".fleche-claims");
    let plants: [&dyn Fn(); 5] = [
        &|| symlink(&victim, &planted).unwrap(),
        &|| symlink(outside.path().join("nothing"), &planted).unwrap(),
        &|| fs::hard_link(&victim, &planted).unwrap(),
        &|| mkfifo(&planted, Mode::S_IRWXU).unwrap(),
        &|| symlink("/dev/zero", &planted).unwrap(),
    ];
    for plant in plants {
        plant();
        for number in 0..3 {
            assert!(matches!(calls.claim(&key(number)).unwrap(), Claim::WithinProcess));
            assert_eq!(calls.claim_holder(&key(number)).unwrap(), None);
            assert!(!calls.is_exclusive(), "other processes may write records");
            calls.put(&key(number), &record(b"r")).unwrap();
        }
        fs::remove_file(&planted).unwrap();
        assert_eq!(fs::read(&victim).unwrap(), b"precious");
        assert_eq!(fs::read_dir(outside.path()).unwrap().count(), 1);
    }
    assert!(matches!(calls.claim(&key(1)).unwrap(), Claim::Held(_)));
}

#[test]
fn times_of_a_linked_file_are_not_changed() {
    let (root, values) = values();
    let outside = tempfile::tempdir().unwrap();
    let victim = outside.path().join("victim");
    fs::write(&victim, BYTES).unwrap();
    let before = SystemTime::now() - Duration::from_hours(24);
    File::options().write(true).open(&victim).unwrap().set_modified(before).unwrap();
    let entry = file_of(root.path(), &Digest::hash(BYTES));
    fs::create_dir(entry.parent().unwrap()).unwrap();
    symlink(&victim, &entry).unwrap();
    // Reading through the link is safe, since the content is verified.
    assert_eq!(values.get(&Digest::hash(BYTES)).unwrap().unwrap(), BYTES);
    values.put(&Digest::hash(BYTES), BYTES).unwrap();
    assert_eq!(fs::metadata(&victim).unwrap().modified().unwrap(), before);
    assert!(fs::symlink_metadata(&entry).unwrap().is_file());
}

#[test]
fn huge_file_in_place_of_a_record_is_quarantined_unread() {
    let (root, calls) = calls();
    let path = file_of(root.path(), key(1).digest());
    fs::create_dir(path.parent().unwrap()).unwrap();
    File::create(&path).unwrap().set_len(1 << 38).unwrap();
    assert!(!calls.remove(&key(1), Some(&record(b"r"))).unwrap());
    let error = calls.get(&key(1)).unwrap_err();
    assert!(matches!(error, Error::Damaged { .. }) && error.to_string().contains("274877906944 bytes"), "{error}");
    assert_eq!(calls.get(&key(1)).unwrap(), None);
    calls.put(&key(1), &record(b"r")).unwrap();
    assert_eq!(calls.get(&key(1)).unwrap(), Some(record(b"r")));
    assert_eq!(files(root.path()).iter().filter(|path| path.starts_with("damaged/")).count(), 1);
}

#[test]
fn device_or_pipe_in_place_of_a_record_is_an_error_and_replaced() {
    let (root, calls) = calls();
    let path = file_of(root.path(), key(1).digest());
    fs::create_dir(path.parent().unwrap()).unwrap();
    let plants: [&dyn Fn(); 3] =
        [&|| symlink("/dev/zero", &path).unwrap(), &|| symlink("/dev/null", &path).unwrap(), &|| {
            mkfifo(&path, Mode::S_IRWXU).unwrap();
        }];
    for plant in plants {
        plant();
        assert!(matches!(calls.get(&key(1)), Err(Error::Io { .. })));
        calls.put(&key(1), &record(b"r")).unwrap();
        assert_eq!(calls.get(&key(1)).unwrap(), Some(record(b"r")));
        fs::remove_file(&path).unwrap();
    }
}

#[test]
fn files_of_a_shared_store_are_accessible_to_the_group() {
    let root = tempfile::tempdir().unwrap();
    run_child("put and claim in a shared store", root.path(), "umask 077;");
    let mode = |path: &Path| fs::metadata(path).unwrap().mode() & 0o777;
    let entry = file_of(&root.path().join("values"), &Digest::hash(BYTES));
    for (path, expected) in [
        (root.path().join("values"), 0o770),
        (entry.parent().unwrap().to_owned(), 0o770),
        (entry, 0o660),
        (root.path().join("calls/.fleche-claims"), 0o660),
    ] {
        assert_eq!(mode(&path), expected, "{}", path.display());
    }
}

#[test]
fn read_only_directory_can_be_opened_and_read() {
    let root = tempfile::tempdir().unwrap();
    let [values, calls] = ["values", "calls"].map(|name| root.path().join(name));
    FileValues::open(&values).unwrap().put(&Digest::hash(BYTES), BYTES).unwrap();
    FileCalls::open(&calls).unwrap().put(&key(1), &record(b"r")).unwrap();
    let set = |directory: &Path, mode| fs::set_permissions(directory, fs::Permissions::from_mode(mode)).unwrap();
    let shards = [file_of(&values, &Digest::hash(BYTES)), file_of(&calls, key(1).digest())];
    let shards = shards.map(|entry| entry.parent().unwrap().to_owned());
    let all: Vec<_> = [root.path(), &values, &calls].into_iter().chain(shards.iter().map(AsRef::as_ref)).collect();
    for directory in &all {
        set(directory, 0o555);
    }
    run_child("read only", root.path(), "");
    for directory in &all {
        set(directory, 0o755);
    }
}

#[test]
fn claims_work_under_a_file_size_limit() {
    let root = tempfile::tempdir().unwrap();
    run_child("claim under a limit", root.path(), "ulimit -f 64;");
}

#[test]
fn value_beyond_the_file_size_limit_is_an_error_and_leaves_no_file() {
    let root = tempfile::tempdir().unwrap();
    run_child("put a large value under a limit", root.path(), "ulimit -f 64;");
    assert_eq!(files(root.path()).len(), 1);
}

#[test]
fn pipe_in_place_of_an_entry_fails_without_blocking() {
    let root = tempfile::tempdir().unwrap();
    let values = FileValues::open(root.path()).unwrap();
    let id = Digest::hash(b"bytes");
    let (shard, name) = (&id.to_string()[..2], &id.to_string()[2..]);
    fs::create_dir(root.path().join(shard)).unwrap();
    mkfifo(&root.path().join(shard).join(name), Mode::S_IRWXU).unwrap();
    assert!(matches!(values.get(&id), Err(Error::Io { .. })));
    values.put(&id, b"bytes").unwrap();
    assert_eq!(values.get(&id).unwrap().as_deref(), Some(&b"bytes"[..]));
}
