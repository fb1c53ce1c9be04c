//! The checks of stores as they are run: small runs of the program itself.

use std::{
    fs,
    io::Read,
    process::{Command, Output, Stdio},
};

fn xtask(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_xtask"));
    // What stores that are damaged on purpose say of themselves is not what is asserted.
    command.args(arguments).env("FLECHE_LOG", "off");
    command
}

fn output(arguments: &[&str]) -> (Output, String) {
    let output = xtask(arguments).output().unwrap();
    let text = [&*output.stdout, &*output.stderr].concat();
    (output, String::from_utf8(text).unwrap())
}

#[test]
fn killed_processes_leave_what_they_acknowledged() {
    let (output, text) = output(&["crash", "--backend", "file", "--rounds", "4", "--nested", "--seed", "1"]);
    assert!(output.status.success(), "{text}");
    let row: Vec<_> = text.lines().last().unwrap().split_whitespace().collect();
    assert_eq!(row[..2], ["file", "4"]);
    assert!(row[2].parse::<u64>().unwrap() > 0, "{text}");
    assert_eq!(row[4..], ["0"; 5]);
}

#[test]
fn a_process_that_is_to_be_killed_ends_with_the_one_that_started_it() {
    let scratch = tempfile::tempdir().unwrap();
    let mut command = xtask(&["crash-child", "--backend", "file", "--seed", "1", "--role", "work", "--directory"]);
    let mut child = command.arg(scratch.path()).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    let mut acknowledged = child.stdout.take().unwrap();
    acknowledged.read_exact(&mut [0; 8]).unwrap();
    drop(child.stdin.take());
    // Ends where the process does.
    acknowledged.read_to_end(&mut Vec::new()).unwrap();
    assert!(!child.wait().unwrap().success());
}

#[test]
fn a_store_that_keeps_nothing_is_not_checked_for_what_it_keeps() {
    for check in ["crash", "corrupt"] {
        let (output, text) = output(&[check, "--backend", "memory"]);
        assert!(!output.status.success() && text.contains("`memory` keeps nothing"), "{text}");
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
fn an_unknown_backend_is_named() {
    for check in ["crash", "corrupt", "faults", "fuzz-stores"] {
        let (output, text) = output(&[check, "--backend", "nobody"]);
        assert!(!output.status.success() && text.contains("`nobody`"), "{text}");
    }
}

/// Compares counts of these kinds of calls with what is kept of them.
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
fn a_call_that_takes_more_instructions_than_are_kept_is_named_with_both_counts_and_the_cure() {
    // What is kept is a fifth below what is counted.
    let (output, text) = compared("hot-hit = 400\nmiss = 1000", "hot-hit = 500\nmiss = 1090");
    assert!(!output.status.success(), "{text}");
    assert!(text.contains("hot-hit: 500 instructions a call, 400 are kept (+25 %)"), "{text}");
    assert!(text.contains("`cargo xtask instructions --write`") && text.contains("kept from kept"), "{text}");
    assert!(!text.contains("miss:"), "{text}");
}

#[test]
fn a_call_that_takes_far_fewer_instructions_is_told_and_fails_nothing() {
    let (output, text) = compared("hot-hit = 400\nmiss = 1000", "hot-hit = 300\nmiss = 910");
    assert!(output.status.success(), "{text}");
    assert!(
        text.contains("hot-hit: 300 instructions a call, 400 are kept (-25 %)") && !text.contains("miss:"),
        "{text}"
    );
}

#[test]
fn a_kind_of_call_of_which_nothing_is_kept_fails() {
    for (kept, counted) in [("a = 1", "a = 1\nb = 2"), ("a = 1\nb = 2", "a = 1")] {
        let (output, text) = compared(kept, counted);
        assert!(!output.status.success() && text.contains("b: ") && text.contains("--write"), "{text}");
    }
}
