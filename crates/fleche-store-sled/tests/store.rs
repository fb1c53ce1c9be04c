//! Tests of guarantees of the sled stores beyond the conformance suite.

use std::{
    collections::BTreeMap,
    env, fs,
    io::{BufRead, BufReader, Read},
    path::{Path, PathBuf},
    process::{Child, ChildStdout, Command, Stdio},
    sync::mpsc,
    thread,
    time::Duration,
};

use fleche_core::{
    CallKey, CallStore, Digest, Error, FunctionId, Query, Record, ValueRef, ValueStore,
    call::{Argument, RecordFields, Timestamp, Writer},
    encoding,
    metadata::Metadata,
    store::CallStoreConfig,
};
use fleche_store_sled::{SledCalls, SledCallsConfig, SledValues};
use tempfile::TempDir;

fn place() -> (TempDir, PathBuf) {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("a/store");
    (directory, path)
}

/// Returns a record of the call `function(number)`, and its key.
fn record(function: &'static str, number: u64) -> (CallKey, Record) {
    let record = Record::new(RecordFields {
        function: FunctionId { name: function.into(), version: 1, code: Digest::hash(b"code"), hash_code: false },
        arguments: vec![Argument("number".into(), ValueRef::new(&encoding::to_vec(&number).unwrap()))],
        result: ValueRef::new(b"result"),
        metadata: Metadata::default(),
        written: Timestamp(1),
        writer: Writer { host: "host".into(), process: 1, program: "program".into() },
        other: BTreeMap::new(),
    });
    (CallKey::new(&record.function, &record.arguments).unwrap(), record)
}

fn put(values: &SledValues, bytes: &[u8]) -> Digest {
    let id = Digest::hash(bytes);
    values.put(&id, bytes).unwrap();
    id
}

/// Runs an operation on the directory with sled itself, and waits until sled's threads have closed it.
fn with_sled<T>(path: &Path, run: impl FnOnce(&sled::Db) -> T) -> T {
    let done = run(&sled::open(path).unwrap());
    let file = fs::File::open(path.join("db")).unwrap();
    file.lock().unwrap();
    // A child that another test has just forked may still have the file open.
    file.unlock().unwrap();
    done
}

#[test]
fn directory_with_two_spellings_is_one_database() {
    let (directory, path) = place();
    let (values, calls) = (SledValues::open(&path).unwrap(), SledCalls::open(&path).unwrap());
    let same = directory.path().join("a/../a/store");
    let id = put(&values, b"a value");
    assert!(SledValues::open(&same).unwrap().contains(&id).unwrap());
    assert_eq!(SledCalls::open(&same).unwrap().identity(), calls.identity());
    assert_eq!(serde_json::to_value(calls.config()).unwrap()["type"], "sled");
}

#[test]
fn directory_can_be_opened_while_another_thread_closes_it() {
    let (_directory, path) = place();
    thread::scope(|scope| {
        for thread in 0..4u8 {
            let path = &path;
            scope.spawn(move || (0..5u8).for_each(|round| drop(put_and_close(path, &[thread, round]))));
        }
    });
    let values = SledValues::open(&path).unwrap();
    assert_eq!(values.ids(&fleche_core::DigestPrefix::all()).unwrap().count(), 20);
}

fn put_and_close(path: &Path, bytes: &[u8]) -> String {
    put(&SledValues::open(path).unwrap(), bytes).to_string()
}

#[test]
fn query_by_function_and_argument_finds_matching_records() {
    let (_directory, path) = place();
    let calls = SledCalls::open(&path).unwrap();
    for number in 0..50 {
        for function in ["f", "g"] {
            let (key, record) = record(function, number);
            calls.put(&key, &record).unwrap();
            calls.put(&key, &record).unwrap();
        }
    }
    assert!(calls.remove(&record("f", 7).0, None).unwrap());
    let count = |query: Query| calls.find(&query).unwrap().map(Result::unwrap).count();
    assert_eq!(count(Query::new().function("f")), 49);
    assert_eq!(count(Query::new().function("g")), 50);
    assert_eq!(count(Query::new().function("h")), 0);
    for (number, expected) in [(7u64, 0), (8, 1), (50, 0)] {
        assert_eq!(count(Query::new().function("f").argument("number", &number).unwrap()), expected);
    }
    let found = calls.find(&Query::new().function("g")).unwrap().next().unwrap().unwrap();
    let many = Record::new(RecordFields {
        arguments: (0..40).flat_map(|number| record("m", number).1.arguments.clone()).collect(),
        ..(*record("m", 0).1).clone()
    });
    calls.put(&found.0, &many).unwrap();
    assert_eq!(count(Query::new().function("m").argument("number", &39u64).unwrap()), 1);
}

#[test]
fn damaged_values_are_reported_once_and_the_last_64_quarantined() {
    let (_directory, path) = place();
    let values = SledValues::open(&path).unwrap();
    for number in 0u64..70 {
        let id = Digest::hash(&number.to_le_bytes());
        values.put(&id, b"something else").unwrap();
        let error = values.get(&id).unwrap_err();
        assert!(matches!(&error, Error::Damaged { entry, .. } if entry.contains(&id.to_string())), "{error:?}");
        assert_eq!(values.get(&id).unwrap(), None);
    }
    drop(values);
    let (len, last) = with_sled(&path, |sled| {
        let damaged = sled.open_tree("damaged").unwrap();
        (damaged.len(), damaged.last().unwrap().unwrap().1)
    });
    assert_eq!(len, 64);
    assert_eq!(last, [b"v", &Digest::hash(&69u64.to_le_bytes()).as_bytes()[..], b"something else"].concat());
}

#[test]
fn record_of_later_format_is_a_miss_and_not_replaced() {
    let (_directory, path) = place();
    let (key, now) = record("f", 1);
    let mut later = encoding::to_vec(&BTreeMap::from([("format", 2)])).unwrap();
    later.extend_from_slice(&Digest::hash(&[&key.digest().as_bytes()[..], &later].concat()).as_bytes()[..16]);
    drop(SledCalls::open(&path).unwrap());
    with_sled(&path, |sled| sled.open_tree("records").unwrap().insert(key.digest().as_bytes(), &*later).unwrap());
    let calls = SledCalls::open(&path).unwrap();
    assert!(matches!(calls.put(&key, &now), Err(Error::Refused { .. })));
    assert_eq!(calls.get(&key).unwrap(), None);
    assert!(calls.contains(&key).unwrap() && !calls.remove(&key, None).unwrap());
    assert_eq!(calls.find(&Query::new()).unwrap().count(), 0);
}

#[test]
fn databases_of_other_programs_and_later_versions_are_refused() {
    let (_directory, path) = place();
    with_sled(&path, |sled| sled.insert("theirs", "1").unwrap());
    let error = SledCalls::open(&path).unwrap_err();
    assert!(matches!(&error, Error::Config { why, .. } if why.contains("another program")), "{error:?}");
    let other = path.with_file_name("other");
    drop(SledCalls::open(&other).unwrap());
    with_sled(&other, |sled| sled.open_tree("fleche").unwrap().insert("format", &2u64.to_be_bytes()).unwrap());
    let error = SledCalls::open(&other).unwrap_err();
    assert!(matches!(&error, Error::Config { why, .. } if why.contains("later version")), "{error:?}");
}

#[test]
fn foreign_directory_is_refused_and_left_alone() {
    let (_directory, path) = place();
    fs::create_dir_all(&path).unwrap();
    fs::write(path.join("db"), "theirs").unwrap();
    let error = SledValues::open(&path).unwrap_err();
    assert!(matches!(&error, Error::Config { why, .. } if why.contains("something else")), "{error:?}");
    assert_eq!(fs::read(path.join("db")).unwrap(), b"theirs");
    assert_eq!(fs::read_dir(&path).unwrap().count(), 1);
}

/// Starts the test `child_process` of this binary in a child process, and waits until it has synced its values.
fn child(path: &Path) -> (Child, BufReader<ChildStdout>) {
    let mut child = Command::new(env::current_exe().unwrap())
        .args(["--exact", "child_process", "--nocapture"])
        .env("FLECHE_CHILD_PATH", path)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut output = BufReader::new(child.stdout.take().unwrap());
    let mut line = String::new();
    while !line.contains("child: done") {
        line.clear();
        assert!(output.read_line(&mut line).unwrap() > 0, "the child process ended before it was done");
    }
    (child, output)
}

/// Runs the task of the child process; does nothing in the parent process.
#[test]
fn child_process() {
    let Some(path) = env::var_os("FLECHE_CHILD_PATH") else { return };
    let values = SledValues::open(&path).unwrap();
    let ids = (0..50u8).map(|number| put(&values, &[number; 1000])).collect::<Vec<_>>();
    values.sync(&ids[0]).unwrap();
    println!("\nchild: done");
    // Sleeps until the parent process kills this one.
    let _ = std::io::stdin().read_to_end(&mut Vec::new());
}

#[test]
fn database_held_by_another_process_is_refused_and_survives_its_kill() {
    let (_directory, path) = place();
    let (mut holder, _output) = child(&path);
    let config: Box<dyn CallStoreConfig> = Box::new(SledCallsConfig::new(&path));
    for error in [SledValues::open(&path).map(drop), config.open().map(drop)].map(Result::unwrap_err) {
        let Error::Config { place, why } = &error else { panic!("{error:?}") };
        assert!(place.contains("store"), "{error}");
        for part in ["Reach::Exclusive", "another process", "file or sql store", "process pool"] {
            assert!(why.contains(part), "{part} is missing in: {error}");
        }
    }
    holder.kill().unwrap();
    holder.wait().unwrap();
    let values = SledValues::open(&path).unwrap();
    for number in 0..50u8 {
        assert!(values.get(&Digest::hash(&[number; 1000])).unwrap().is_some(), "{number}");
    }
}

/// Puts values of this length while the size of files is limited to less than their sum, and closes the store.
#[cfg(unix)]
fn put_beyond_limit(path: &Path, length: usize) {
    let values = SledValues::open(path).unwrap();
    let mut numbers = 0u32..(4_000_000 / u32::try_from(length).unwrap()).max(8);
    let value = |number: u32| [&number.to_le_bytes()[..], &vec![7; length]].concat();
    let failed = numbers.find(|number| values.put(&Digest::hash(&value(*number)), &value(*number)).is_err());
    assert!(failed.is_some(), "no write failed");
    // The first failure is noted, and later operations report it.
    for _ in 0..2 {
        let error = values.put(&Digest::hash(b"small"), b"small").unwrap_err().report().to_string();
        assert!(error.contains("a write failed earlier") && error.contains("start the program again"), "{error}");
        let error = values.sync(&Digest::hash(b"small")).unwrap_err().report().to_string();
        assert!(error.contains("a write failed earlier"), "{error}");
    }
    drop(values);
    // sled keeps the directory locked if it could not be closed. It writes when it opens a directory, so this may fail too.
    if let Err(error) = SledValues::open(path) {
        let is_locked = error.report().to_string().contains("locked until the process ends");
        assert!(is_locked || matches!(error, Error::Io { .. }), "{error}");
    }
}

/// Runs the task of the child process of the test below; does nothing in the parent process.
#[cfg(unix)]
#[test]
fn limited_child_process() {
    let Some(path) = env::var_os("FLECHE_LIMITED_PATH") else { return };
    let length = env::var("FLECHE_LIMITED_LENGTH").unwrap().parse().unwrap();
    let (done, is_done) = mpsc::channel();
    let thread = thread::spawn(move || {
        put_beyond_limit(Path::new(&path), length);
        done.send(()).unwrap();
    });
    let within = is_done.recv_timeout(Duration::from_mins(3));
    assert_ne!(within, Err(mpsc::RecvTimeoutError::Timeout), "the store blocks");
    thread.join().unwrap();
}

#[cfg(unix)]
#[test]
fn store_that_reached_file_size_limit_reports_it_and_is_closed() {
    for length in [100, 20_000, 60_000, 100_000, 130_000] {
        let (_directory, path) = place();
        let values = SledValues::open(&path).unwrap();
        let kept = put(&values, b"kept");
        values.sync(&kept).unwrap();
        drop(values);
        let limited = r#"ulimit -f 1100 && exec "$0" --exact limited_child_process"#;
        let output = Command::new("sh")
            .args(["-c", limited])
            .arg(env::current_exe().unwrap())
            .env("FLECHE_LIMITED_PATH", &path)
            .env("FLECHE_LIMITED_LENGTH", length.to_string())
            .output()
            .unwrap();
        assert!(output.status.success(), "{length}: {output:?}");
        let values = SledValues::open(&path).unwrap();
        assert_eq!(values.get(&kept).unwrap().as_deref(), Some(&b"kept"[..]), "{length}");
    }
}
