//! Tests of several processes in one directory, and of files that killed processes leave behind.

use std::{
    fs::{self, File},
    os::unix::process::ExitStatusExt,
    path::{Path, PathBuf},
    process,
    time::{Duration, SystemTime},
};

use super::common::{child, file_of, files, key, record, task, values};
use fleche_core::{CallStore, Digest, DigestPrefix, ValueStore, spi::process_id};
use fleche_store_file::{FileCalls, FileValues};
use tempfile::TempDir;

const LARGE: &[u8] = &[1; 100_000];

fn number(number: u32) -> (Digest, [u8; 4]) {
    (Digest::hash(&number.to_le_bytes()), number.to_le_bytes())
}

/// Runs the task of a child process; does nothing in the parent process.
#[test]
fn child_process() {
    let Some((task, root)) = task() else { return };
    match task.as_str() {
        "end while it writes" => {
            let path = file_of(&root, &Digest::hash(LARGE));
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path.with_file_name(format!(".tmp-{}", process_id::mark())), &LARGE[..1000]).unwrap();
            process::abort();
        }
        "fail to put a large value" => {
            let error = FileValues::open(root).unwrap().put(&Digest::hash(LARGE), LARGE).unwrap_err();
            assert!(error.to_string().contains(&Digest::hash(LARGE).to_string()[2..]), "{error}");
        }
        "put, get, list and remove values" => run_concurrently(&FileValues::open(root).unwrap()),
        "replace a record" => {
            let calls = FileCalls::open(root).unwrap();
            for _ in 0..200 {
                calls.put(&key(1), &record(process::id().to_string().as_bytes())).unwrap();
                assert!(calls.get(&key(1)).unwrap().is_some());
            }
        }
        other => panic!("unknown task {other}"),
    }
}

fn run_concurrently(values: &FileValues) {
    for round in 0..300 {
        let (id, bytes) = number(round % 7);
        values.put(&id, &bytes).unwrap();
        assert!(values.get(&id).unwrap().is_none_or(|got| got == bytes[..]));
        if round % 3 == 0 {
            values.remove(&id, Some(Duration::ZERO)).unwrap();
        }
        if round % 50 == 0 {
            assert!(values.ids(&DigestPrefix::all()).unwrap().count() <= 7);
        }
    }
}

/// Creates a store in which a child process died while it was writing.
fn with_leftover() -> (TempDir, PathBuf) {
    let root = tempfile::tempdir().unwrap();
    let killed = child("end while it writes", root.path(), "").wait_with_output().unwrap();
    assert!(killed.status.signal().is_some(), "{:?}", killed.status);
    let [leftover] = &files(root.path())[..] else { panic!("{:?}", files(root.path())) };
    assert!(leftover.contains("/.tmp-"), "{leftover}");
    let path = root.path().join(leftover);
    (root, path)
}

fn list(root: &Path) -> usize {
    FileValues::open(root).unwrap().ids(&DigestPrefix::all()).unwrap().count()
}

/// Renames the temporary file as if it belonged to another process.
fn rename(leftover: &Path, change: impl FnOnce(&str) -> String) -> PathBuf {
    let renamed = leftover.with_file_name(change(leftover.file_name().unwrap().to_str().unwrap()));
    fs::rename(leftover, &renamed).unwrap();
    renamed
}

fn with_process(name: &str, process: u32) -> String {
    let mut parts: Vec<_> = name.rsplitn(4, '-').map(str::to_owned).collect();
    parts[2] = process.to_string();
    parts.reverse();
    parts.join("-")
}

#[test]
fn temporary_file_of_killed_process_is_removed_by_listing() {
    let (root, leftover) = with_leftover();
    assert!(!FileValues::open(root.path()).unwrap().contains(&Digest::hash(LARGE)).unwrap());
    assert_eq!(list(root.path()), 0);
    assert!(!leftover.exists());
}

#[test]
fn temporary_file_of_killed_process_is_removed_by_put_in_its_shard() {
    let (root, leftover) = with_leftover();
    let shard = Digest::hash(LARGE).as_bytes()[0];
    let values = FileValues::open(root.path()).unwrap();
    let mut beside = (0..).map(number).filter(|(id, _)| id.as_bytes()[0] == shard);
    let (id, bytes) = beside.next().unwrap();
    values.put(&id, &bytes).unwrap();
    assert!(!leftover.exists());
    assert_eq!(values.get(&id).unwrap().unwrap(), &bytes[..]);
}

#[test]
fn trash_file_of_killed_process_is_removed_by_listing() {
    let (root, leftover) = with_leftover();
    let trash = rename(&leftover, |name| name.replace(".tmp-", ".trash-"));
    list(root.path());
    assert!(!trash.exists());
}

#[test]
fn temporary_file_of_living_process_is_left_alone() {
    let (root, leftover) = with_leftover();
    let mut living = process::Command::new("cat").stdin(process::Stdio::piped()).spawn().unwrap();
    let theirs = rename(&leftover, |name| with_process(name, living.id()));
    list(root.path());
    assert!(theirs.exists());
    living.kill().unwrap();
    living.wait().unwrap();
    list(root.path());
    assert!(!theirs.exists());
}

#[test]
fn temporary_file_of_another_host_is_left_alone_for_a_day() {
    let (root, leftover) = with_leftover();
    let theirs = rename(&leftover, |name| name.replace(".tmp-", ".tmp-elsewhere-"));
    let change = |hours| {
        let file = File::open(&theirs).unwrap();
        file.set_modified(SystemTime::now() - Duration::from_hours(hours)).unwrap();
    };
    change(23);
    list(root.path());
    assert!(theirs.exists());
    change(25);
    list(root.path());
    assert!(!theirs.exists());
}

#[test]
fn failed_write_is_an_error_and_leaves_no_file() {
    let (root, values) = values();
    let (id, bytes) = number(1);
    values.put(&id, &bytes).unwrap();
    // The write fails halfway, as on a full disk.
    let child = child("fail to put a large value", root.path(), "trap '' XFSZ; ulimit -f 1;");
    assert!(child.wait_with_output().unwrap().status.success());
    assert_eq!(files(root.path()).len(), 1);
    assert_eq!(values.get(&id).unwrap().unwrap(), &bytes[..]);
}

#[test]
fn concurrent_processes_put_get_list_and_remove_the_same_values() {
    let root = tempfile::tempdir().unwrap();
    let children: Vec<_> = (0..4).map(|_| child("put, get, list and remove values", root.path(), "")).collect();
    for child in children {
        let done = child.wait_with_output().unwrap();
        assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stdout));
    }
    assert!(files(root.path()).iter().all(|path| !path.contains("/.") && !path.starts_with("damaged")));
}

#[test]
fn processes_replacing_one_record_leave_one_intact_record() {
    let root = tempfile::tempdir().unwrap();
    let children: Vec<_> = (0..4).map(|_| child("replace a record", root.path(), "")).collect();
    for child in children {
        assert!(child.wait_with_output().unwrap().status.success());
    }
    assert!(FileCalls::open(root.path()).unwrap().get(&key(1)).unwrap().is_some());
    let whole = file_of(Path::new(""), key(1).digest());
    assert_eq!(files(root.path()), [whole.to_str().unwrap()]);
}
