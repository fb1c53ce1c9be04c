//! Helpers of the tests: stores in temporary directories, records, and child processes that run this test binary.

use std::{
    collections::BTreeMap,
    env, fs,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
};

use fleche_core::{
    CallKey, Digest, FunctionId, Record, ValueRef,
    call::{RecordFields, Timestamp, Writer},
    metadata::Metadata,
};
use fleche_store_file::{FileCalls, FileValues};
use tempfile::TempDir;

pub(crate) fn values() -> (TempDir, FileValues) {
    let directory = tempfile::tempdir().unwrap();
    let values = FileValues::open(directory.path()).unwrap();
    (directory, values)
}

pub(crate) fn calls() -> (TempDir, FileCalls) {
    let directory = tempfile::tempdir().unwrap();
    let calls = FileCalls::open(directory.path()).unwrap();
    (directory, calls)
}

/// Returns the path of an entry's file.
pub(crate) fn file_of(root: &Path, digest: &Digest) -> PathBuf {
    let hex = digest.to_string();
    root.join(&hex[..2]).join(&hex[2..])
}

pub(crate) fn key(number: u32) -> CallKey {
    Digest::hash(&number.to_le_bytes()).into()
}

pub(crate) fn record(result: &[u8]) -> Record {
    Record::new(RecordFields {
        function: FunctionId { name: "f".into(), version: 1, code: Digest::hash(b"code"), hash_code: false },
        arguments: Vec::new(),
        result: ValueRef::new(result),
        metadata: Metadata::default(),
        written: Timestamp(1),
        writer: Writer { host: "host".into(), process: 1, program: "program".into() },
        other: BTreeMap::new(),
    })
}

/// Returns the paths of all files below the directory, relative to it, except the store's own files in the root.
pub(crate) fn files(root: &Path) -> Vec<String> {
    fn collect(root: &Path, directory: &Path, found: &mut Vec<String>) {
        for entry in fs::read_dir(directory).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                collect(root, &path, found);
            } else {
                found.push(path.strip_prefix(root).unwrap().to_str().unwrap().to_owned());
            }
        }
    }
    let mut found = Vec::new();
    collect(root, root, &mut found);
    found.retain(|path| !path.starts_with(".fleche-"));
    found.sort();
    found
}

/// Starts the test `store::processes::child_process` of this binary in a child process, from a shell that first runs
/// the commands in `before`.
pub(crate) fn child(task: &str, root: &Path, before: &str) -> Child {
    child_named("store::processes::child_process", task, root, before)
}

/// Like [`child`], with another test.
pub(crate) fn child_named(test: &str, task: &str, root: &Path, before: &str) -> Child {
    Command::new("sh")
        .args(["-c", &format!(r#"ulimit -c 0; {before} exec "$0" "$@""#)])
        .arg(env::current_exe().unwrap())
        .args(["--exact", test, "--nocapture"])
        .env("FLECHE_CHILD_TASK", task)
        .env("FLECHE_CHILD_ROOT", root)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap()
}

/// Returns the task of this child process and its directory, or `None` in the test process itself.
pub(crate) fn task() -> Option<(String, PathBuf)> {
    Some((env::var("FLECHE_CHILD_TASK").ok()?, env::var_os("FLECHE_CHILD_ROOT")?.into()))
}
