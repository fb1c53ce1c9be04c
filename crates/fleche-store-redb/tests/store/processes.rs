//! Tests of a second process that opens the file, and of files that killed processes leave behind.

use std::{
    env,
    io::{BufRead, BufReader, Read},
    path::{Path, PathBuf},
    process::{Child, ChildStdout, Command, Stdio},
    thread,
};

use super::common::{file, noise, put, put_record, record};
use fleche_core::{CallStore, Error, ValueStore};
use fleche_store_redb::{Durability, RedbCalls, RedbCallsConfig, RedbValues, RedbValuesConfig};

const COUNT: u64 = 20;

/// Starts the test `child_process` of this binary in a child process, and waits until it has done its task. The child
/// then sleeps until it is killed.
fn child(task: &str, path: &Path) -> (Child, BufReader<ChildStdout>) {
    let mut child = Command::new(env::current_exe().unwrap())
        .args(["--exact", "store::processes::child_process", "--nocapture"])
        .env("FLECHE_CHILD_TASK", task)
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

fn kill(mut child: Child) {
    child.kill().unwrap();
    child.wait().unwrap();
}

/// Runs the task of a child process; does nothing in the parent process.
#[test]
fn child_process() {
    let (Ok(task), Some(path)) = (env::var("FLECHE_CHILD_TASK"), env::var_os("FLECHE_CHILD_PATH").map(PathBuf::from))
    else {
        return;
    };
    let durability = match task.as_str() {
        "immediate" => Durability::Immediate,
        "none" => Durability::None,
        _ => Durability::Eventual,
    };
    let values = RedbValues::open_with(&RedbValuesConfig::new(&path).durability(durability)).unwrap();
    let calls = RedbCalls::open_with(&RedbCallsConfig::new(&path).durability(durability)).unwrap();
    let mut last = None;
    for number in 0..COUNT {
        last = Some(put(&values, &noise(number, 1000)));
        put_record(&calls, &record("f", number));
    }
    match task.as_str() {
        "sync" => values.sync(&last.unwrap()).unwrap(),
        // The automatic commit makes all entries durable.
        "eventual" => {
            while calls.stats().operations < 2 * COUNT {
                thread::yield_now();
            }
        }
        _ => {}
    }
    println!("\nchild: done");
    // Sleeps until the parent process closes the pipe or kills this one.
    let _ = std::io::stdin().read_to_end(&mut Vec::new());
}

fn left_by_a_killed(task: &str) -> (usize, usize) {
    let (_directory, path) = file();
    let (victim, _output) = child(task, &path);
    kill(victim);
    let (values, calls) = (RedbValues::open(&path).unwrap(), RedbCalls::open(&path).unwrap());
    let value = |number: &u64| {
        let bytes = noise(*number, 1000);
        values.get(&fleche_core::Digest::hash(&bytes)).unwrap().is_some_and(|found| found == bytes)
    };
    let call = |number: &u64| {
        let (key, whole) = record("f", *number);
        calls.get(&key).unwrap().is_some_and(|found| found == whole)
    };
    ((0..COUNT).filter(value).count(), (0..COUNT).filter(call).count())
}

#[test]
fn entries_with_immediate_durability_survive_a_kill() {
    assert_eq!(left_by_a_killed("immediate"), (20, 20));
}

#[test]
fn synced_entries_survive_a_kill() {
    assert!(matches!(left_by_a_killed("sync"), (20, 19..)));
}

#[test]
fn entries_become_durable_without_sync() {
    let (values, calls) = left_by_a_killed("eventual");
    assert_eq!((values, calls), (20, 20));
}

#[test]
fn entries_without_durability_are_lost_completely_in_a_kill() {
    assert_eq!(left_by_a_killed("none"), (0, 0));
}

#[test]
fn entries_without_durability_survive_if_the_store_is_closed() {
    let (_directory, path) = file();
    let config = RedbValuesConfig::new(&path).durability(Durability::None);
    let id = put(&RedbValues::open_with(&config).unwrap(), b"a value");
    let copy = path.with_file_name("copy");
    std::fs::copy(&path, &copy).unwrap();
    assert!(RedbValues::open(&copy).unwrap().contains(&id).unwrap());
}

#[test]
fn file_open_in_another_process_is_refused_with_advice() {
    let (_directory, path) = file();
    let (holder, _output) = child("hold", &path);
    for error in [RedbValues::open(&path).unwrap_err(), RedbCalls::open(&path).unwrap_err()] {
        let Error::Config { place, why } = &error else { panic!("{error:?}") };
        assert!(place.contains("store.redb"), "{error}");
        for part in ["Reach::Exclusive", "another process", "file or sql store", "process pool"] {
            assert!(why.contains(part), "{part} is missing in: {error}");
        }
    }
    kill(holder);
    assert!(RedbValues::open(&path).is_ok());
}
