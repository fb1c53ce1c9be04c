//! Tests of several processes in one database.

use std::{
    env,
    fs::{self, File},
    io::{self, Read, Write as _},
    path::PathBuf,
    sync::{Arc, mpsc},
    thread,
};

use fleche_core::{
    CallStore,
    claim::{Claim, ClaimGuard},
};
use fleche_store_sql::{SqlCalls, SqlCallsConfig};

use super::common::{Scratch, child, count, key, on_both, record};

const THREADS: u32 = 8;
const EACH: u32 = 40;

/// Runs the task of a child process; does nothing in the parent process.
#[test]
fn child_process() {
    let Ok(task) = env::var("FLECHE_CHILD_TASK") else { return };
    let config: SqlCallsConfig = serde_json::from_str(&env::var("FLECHE_CHILD_CALLS").unwrap()).unwrap();
    let calls = SqlCalls::open_with(&config).unwrap();
    match task.as_str() {
        "write the first half" => write(&calls, 0),
        "write the second half" => write(&calls, 1),
        "hold a claim" => {
            let _held = hold(&calls, 1);
            print_line("held");
            // Sleeps until the parent process closes the pipe or kills this one.
            let _ = io::stdin().read(&mut [0]);
        }
        "write once more" => {
            let count = count(&calls);
            print_line("open");
            while io::stdin().read_line(&mut String::new()).unwrap() > 0 {
                assert_eq!(super::common::count(&calls), count);
                calls.put(&key(5000), &record(5000)).unwrap();
                print_line("written");
            }
        }
        "claim in turn" => {
            let mark = PathBuf::from(env::var_os("FLECHE_CHILD_DIRECTORY").unwrap()).join("mark");
            for _ in 0..20 {
                let held = hold(&calls, 1);
                File::create_new(&mark).expect("no other process holds the claim");
                fs::remove_file(&mark).unwrap();
                drop(held);
            }
        }
        other => panic!("unknown task {other}"),
    }
}

fn print_line(word: &str) {
    println!("\n{word}");
    io::stdout().flush().unwrap();
}

/// Acquires the claim, waiting for it if another caller holds it.
pub(crate) fn hold(calls: &SqlCalls, number: u32) -> Arc<dyn ClaimGuard> {
    match calls.claim(&key(number)).unwrap() {
        Claim::Held(held) => held,
        Claim::Taken(taken) => {
            let (sender, receiver) = mpsc::channel();
            taken.when_acquired(Box::new(move |held| sender.send(held.unwrap()).unwrap()));
            receiver.recv().unwrap()
        }
        Claim::WithinProcess => panic!("claims must reach other processes"),
    }
}

fn write(calls: &SqlCalls, half: u32) {
    thread::scope(|scope| {
        for thread in 0..THREADS {
            scope.spawn(move || {
                for nth in 0..EACH {
                    let number = (half * THREADS + thread) * EACH + nth;
                    calls.put(&key(number), &record(number)).unwrap();
                }
            });
        }
    });
}

fn concurrent_writes_of_two_processes_are_all_kept(scratch: &Scratch) {
    // Both processes are the first to open the database, at the same time.
    let children = ["write the first half", "write the second half"].map(|task| child(task, scratch));
    for child in children {
        let done = child.wait_with_output().unwrap();
        assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stdout));
    }
    let calls = scratch.open_calls();
    for number in 0..2 * THREADS * EACH {
        assert_eq!(calls.get(&key(number)).unwrap(), Some(record(number)));
    }
    assert_eq!(count(&calls), 2 * THREADS * EACH);
}

fn several_processes_may_create_one_database_concurrently(scratch: &Scratch) {
    let children: Vec<_> = (0..6).map(|_| child("write the first half", scratch)).collect();
    for child in children {
        let done = child.wait_with_output().unwrap();
        assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stdout));
    }
    assert_eq!(count(&scratch.open_calls()), THREADS * EACH);
}

on_both! {
    concurrent_writes_of_two_processes_are_all_kept
    several_processes_may_create_one_database_concurrently
}
