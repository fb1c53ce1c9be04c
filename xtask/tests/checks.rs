//! Tests of the checks of stores and of the instruction counts, through small runs of the program, and that a store whose
//! files are removed while a program uses it records new results afterwards.

use std::{
    cell::Cell,
    fs,
    io::Read,
    process::{Command, Output, Stdio},
};

use fleche_core::{Cache, fleche, store::Reach};
use fleche_store_file as _;
use fleche_store_redb as _;
use fleche_store_sled as _;
use fleche_store_sql as _;

fn xtask(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_xtask"));
    // The log lines of stores that are damaged on purpose would only obscure the output.
    command.args(arguments).env("FLECHE_LOG", "off");
    command
}

fn output(arguments: &[&str]) -> (Output, String) {
    let output = xtask(arguments).output().unwrap();
    let text = [&*output.stdout, &*output.stderr].concat();
    (output, String::from_utf8(text).unwrap())
}

#[test]
fn killed_processes_lose_no_acknowledged_entries() {
    let (output, text) = output(&["crash", "--backend", "file", "--rounds", "4", "--nested", "--seed", "1"]);
    assert!(output.status.success(), "{text}");
    let row: Vec<_> = text.lines().last().unwrap().split_whitespace().collect();
    assert_eq!(row[..2], ["file", "4"]);
    assert!(row[2].parse::<u64>().unwrap() > 0, "{text}");
    assert_eq!(row[4..], ["0"; 5]);
}

#[test]
fn crash_child_ends_with_its_parent() {
    let scratch = tempfile::tempdir().unwrap();
    let mut command = xtask(&["crash-child", "--backend", "file", "--seed", "1", "--role", "work", "--directory"]);
    let mut child = command.arg(scratch.path()).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    let mut acknowledged = child.stdout.take().unwrap();
    acknowledged.read_exact(&mut [0; 8]).unwrap();
    drop(child.stdin.take());
    // The output ends when the process does.
    acknowledged.read_to_end(&mut Vec::new()).unwrap();
    assert!(!child.wait().unwrap().success());
}

#[test]
fn checks_of_durability_refuse_stores_that_are_not_durable() {
    for check in ["crash", "corrupt"] {
        let (output, text) = output(&[check, "--backend", "memory"]);
        assert!(!output.status.success() && text.contains("`memory` is not durable"), "{text}");
    }
}

#[test]
fn damaged_files_are_counted() {
    let (output, text) = output(&["corrupt", "--backend", "file", "--count", "40"]);
    assert!(output.status.success(), "{text}");
    let row: Vec<_> = text.lines().last().unwrap().split_whitespace().collect();
    assert!(row[0] == "file" && row[2].parse::<u64>().unwrap() > 30, "{text}");
}

#[test]
fn error_names_an_unknown_backend() {
    for check in ["crash", "corrupt", "faults", "fuzz-stores"] {
        let (output, text) = output(&[check, "--backend", "unknown"]);
        assert!(!output.status.success() && text.contains("`unknown`"), "{text}");
    }
}

/// Runs `cargo xtask instructions` on these counts and this baseline, and returns its output.
fn compared(kept: &str, counted: &str) -> (Output, String) {
    let scratch = tempfile::tempdir().unwrap();
    let [kept, counted] = [("kept", kept), ("counted", counted)].map(|(name, calls)| {
        let file = scratch.path().join(name);
        fs::write(&file, format!("counted_with = \"{name}\"\n[calls]\n{calls}\n")).unwrap();
        file.to_str().unwrap().to_owned()
    });
    output(&["instructions", "--kept", &kept, "--counted", &counted])
}

#[test]
fn increased_instruction_count_fails_and_shows_both_counts() {
    // The count of `hot-hit` is a quarter above the baseline.
    let (output, text) = compared("hot-hit = 400\nmiss = 1000", "hot-hit = 500\nmiss = 1090");
    assert!(!output.status.success(), "{text}");
    assert!(text.contains("hot-hit: 500 instructions per call, baseline 400 (+25 %)"), "{text}");
    assert!(text.contains("`cargo xtask instructions --write`") && text.contains("baseline with kept"), "{text}");
    assert!(!text.contains("miss:"), "{text}");
}

#[test]
fn decreased_instruction_count_is_printed_without_failing() {
    let (output, text) = compared("hot-hit = 400\nmiss = 1000", "hot-hit = 300\nmiss = 910");
    assert!(output.status.success(), "{text}");
    assert!(
        text.contains("hot-hit: 300 instructions per call, baseline 400 (-25 %)") && !text.contains("miss:"),
        "{text}"
    );
}

#[test]
fn kind_of_call_missing_on_either_side_fails() {
    for (kept, counted) in [("a = 1", "a = 1\nb = 2"), ("a = 1\nb = 2", "a = 1")] {
        let (output, text) = compared(kept, counted);
        assert!(!output.status.success() && text.contains("b: ") && text.contains("--write"), "{text}");
    }
}

thread_local! {
    /// The bodies that ran on this thread: the tests run side by side.
    static RUNS: Cell<u64> = const { Cell::new(0) };
}

#[fleche]
fn long_text(backend: &str, x: u64) -> String {
    RUNS.set(RUNS.get() + 1);
    format!("{backend} {x}").repeat(100)
}

fn runs(cache: &Cache, backend: &str, x: u64) -> u64 {
    let before = RUNS.get();
    assert_eq!(cache.scope(|| long_text(backend, x)), format!("{backend} {x}").repeat(100));
    RUNS.get() - before
}

#[test]
fn removed_store_counts_a_fault_and_is_reopened() {
    for backend in fleche_core::store::backends() {
        if !["file", "redb", "sled", "sql-sqlite"].contains(&backend.name) {
            continue;
        }
        let scratch = tempfile::tempdir().unwrap();
        let place = scratch.path().join("store");
        fs::create_dir(&place).unwrap();
        let (values, calls) = (backend.scratch)(&place);
        let open = || Cache::new(values.open().unwrap(), calls.open().unwrap());
        let cache = open();
        assert_eq!(runs(&cache, backend.name, 1), 1);

        fs::remove_dir_all(&place).unwrap();
        assert_eq!(runs(&cache, backend.name, 2), 1);
        // The file store holds no file open, so it notices nothing.
        let noticed = cache.stats().faults;
        assert_eq!(noticed > 0, backend.name != "file", "{}: {noticed} faults", backend.name);
        assert_eq!(cache.stats().skipped.values().sum::<u64>(), 0, "{}", backend.name);
        assert_eq!(runs(&cache, backend.name, 3), 1);
        assert_eq!(cache.stats().faults, noticed, "{}", backend.name);
        // A second handle in this process must find the result while the first is in use.
        if backend.reach == Reach::Shared {
            assert_eq!(runs(&open(), backend.name, 2), 0, "{}", backend.name);
        }
        drop(cache);
        let reopened = open();
        assert_eq!([2, 3].map(|x| runs(&reopened, backend.name, x)), [0, 0], "{}", backend.name);
    }
}

#[test]
fn sqlite_database_removed_without_its_log_is_recreated() {
    let scratch = tempfile::tempdir().unwrap();
    let backend = fleche_core::store::backends().into_iter().find(|backend| backend.name == "sql-sqlite").unwrap();
    let (values, calls) = (backend.scratch)(scratch.path());
    let cache = Cache::new(values.open().unwrap(), calls.open().unwrap());
    assert_eq!(runs(&cache, "log", 1), 1);
    let file = fs::read_dir(scratch.path()).unwrap().map(|entry| entry.unwrap().path());
    let file = file.into_iter().find(|path| path.extension().is_some_and(|end| end == "db")).unwrap();
    fs::remove_file(file).unwrap();
    for x in [2, 3] {
        assert_eq!(runs(&cache, "log", x), 1);
    }
    drop(cache);
    let reopened = Cache::new(values.open().unwrap(), calls.open().unwrap());
    assert_eq!([1, 2, 3].map(|x| runs(&reopened, "log", x)), [1, 0, 0]);
    assert_eq!(reopened.stats().faults, 0);
}
