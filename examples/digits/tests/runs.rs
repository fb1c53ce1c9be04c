//! The program as its user sees it: runs of the built binary.

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, Output},
};

use tempfile::TempDir;

/// A directory with a part of the shipped digits, which is enough here and soon done.
fn directory() -> TempDir {
    let directory = tempfile::tempdir().unwrap();
    let shipped = fs::read_to_string(digits::data::SHIPPED).unwrap();
    let rows: String = shipped.split_inclusive('\n').take(100).collect();
    fs::write(directory.path().join("some.csv"), rows).unwrap();
    directory
}

fn digits(directory: &Path, options: &[&str]) -> Output {
    let mut program = Command::new(env!("CARGO_BIN_EXE_digits"));
    program.current_dir(directory).args(["--data", "some.csv", "--dir", "out", "--workers", "2"]).args(options);
    program.output().unwrap()
}

/// What it printed, where it ended well.
fn report(directory: &Path, options: &[&str]) -> String {
    let output = digits(directory, options);
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{errors}");
    assert_eq!(errors, "");
    String::from_utf8(output.stdout).unwrap()
}

fn table(report: &str) -> Vec<&str> {
    report.lines().take(16).collect()
}

/// The files in this directory and those below.
fn files(directory: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path());
    entries.flat_map(|path| if path.is_dir() { files(&path) } else { vec![path] }).collect()
}

/// Files of entries: the stores' own marks begin with a dot.
fn entries(store: &Path) -> Vec<PathBuf> {
    let hidden = |path: &PathBuf| path.file_name().unwrap().to_string_lossy().starts_with('.');
    files(store).into_iter().filter(|path| !hidden(path)).collect()
}

#[test]
fn a_second_run_computes_nothing_and_prints_the_same_table() {
    let directory = directory();
    let first = report(directory.path(), &[]);
    let second = report(directory.path(), &[]);
    assert!(first.contains("calls 691, computed 241, hits 450,"), "{first}");
    assert!(second.contains("calls 225, computed 0, hits 225,"), "{second}");
    assert!(second.contains("nothing was computed") && !first.contains("nothing was computed"));
    assert_eq!(table(&first), table(&second));
    assert_eq!(table(&first)[0], " k      l1      l2    linf");
    assert!(table(&first)[15].starts_with("15  0."));
}

#[test]
fn every_executor_prints_the_same_table_and_finds_what_others_computed() {
    let executors =
        if cfg!(target_os = "linux") { &["threads", "processes", "serial"][..] } else { &["threads", "serial"] };
    let runs: Vec<_> = executors.iter().map(|executor| (directory(), ["--executor", executor])).collect();
    let (own, _) = &runs[0];
    let expected = report(own.path(), &[]);
    for (directory, options) in &runs {
        assert_eq!(table(&report(directory.path(), options)), table(&expected), "{options:?}");
        let again = report(own.path(), options);
        assert!(again.contains("calls 225, computed 0, hits 225,"), "{options:?}: {again}");
    }
    let in_memory = report(own.path(), &["--executor", executors[1], "--store", "memory"]);
    assert_eq!(table(&in_memory), table(&expected));
}

#[test]
fn the_name_of_each_stored_value_is_the_digest_of_its_file() {
    let directory = directory();
    report(directory.path(), &[]);
    let values = entries(&directory.path().join("out/values"));
    assert!(values.len() > 15, "neighbours are kept");
    for path in values {
        let name = [path.parent().unwrap(), &path].map(|path| path.file_name().unwrap().to_str().unwrap()).concat();
        assert_eq!(blake3::hash(&fs::read(&path).unwrap()).to_hex().as_str(), name);
    }
}

#[test]
fn the_same_digits_under_another_name_are_computed_already() {
    let directory = directory();
    report(directory.path(), &[]);
    fs::rename(directory.path().join("some.csv"), directory.path().join("other.csv")).unwrap();
    let mut program = Command::new(env!("CARGO_BIN_EXE_digits"));
    let output = program.current_dir(directory.path()).args(["--data", "other.csv", "--dir", "out"]).output().unwrap();
    assert!(String::from_utf8(output.stdout).unwrap().contains("computed 0,"));
}

#[test]
fn other_digits_are_computed_anew() {
    let directory = directory();
    report(directory.path(), &[]);
    let path = directory.path().join("some.csv");
    let rows = fs::read_to_string(&path).unwrap();
    fs::write(&path, rows.split_inclusive('\n').skip(1).collect::<String>()).unwrap();
    assert!(report(directory.path(), &[]).contains("computed 241,"));
}

#[test]
fn the_chart_is_where_the_report_says() {
    let directory = directory();
    let report = report(directory.path(), &[]);
    let chart = report.lines().find_map(|line| line.strip_prefix("chart: ")).unwrap();
    assert!(fs::read_to_string(directory.path().join(chart)).unwrap().starts_with("<svg "));
}

#[test]
fn a_run_in_memory_stores_nothing() {
    let directory = directory();
    assert!(report(directory.path(), &["--store", "memory"]).contains("computed 241,"));
    assert!(!directory.path().join("out/values").exists());
}

#[test]
fn clearing_removes_every_stored_result() {
    let directory = directory();
    report(directory.path(), &[]);
    assert_eq!(report(directory.path(), &["--clear"]), "removed 241 stored results from out\n");
    assert!(entries(&directory.path().join("out/values")).is_empty());
    assert!(entries(&directory.path().join("out/calls")).is_empty());
}

#[test]
fn clearing_leaves_foreign_files_alone() {
    let directory = directory();
    report(directory.path(), &[]);
    let foreign =
        ["out/mine.txt", "out/values/mine.txt", "out/calls/ab/mine.txt"].map(|path| directory.path().join(path));
    for path in &foreign {
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, "mine").unwrap();
    }
    report(directory.path(), &["--clear"]);
    assert!(foreign.iter().all(|path| fs::read_to_string(path).unwrap() == "mine"));
}

#[test]
fn clearing_where_nothing_was_stored_creates_nothing() {
    let directory = directory();
    assert_eq!(report(directory.path(), &["--clear"]), "removed 0 stored results from out\n");
    assert!(!directory.path().join("out").exists());
}

#[test]
fn what_is_wrong_with_the_digits_is_told_with_its_place() {
    let directory = directory();
    let path = directory.path().join("some.csv");
    let rows = fs::read_to_string(&path).unwrap();
    fs::write(&path, rows + "1,2,x\n").unwrap();
    let output = digits(directory.path(), &[]);
    assert!(!output.status.success());
    // The file is named by its absolute path, which isolated and remote calls need.
    let says = String::from_utf8(output.stderr).unwrap();
    assert!(
        says.starts_with("digits: ") && says.contains("some.csv, line 101, column 4: the row has 3 columns"),
        "{says}"
    );
}

#[test]
fn no_workers_are_refused() {
    let directory = directory();
    let mut program = Command::new(env!("CARGO_BIN_EXE_digits"));
    let output = program.current_dir(directory.path()).args(["--workers", "0"]).output().unwrap();
    assert!(!output.status.success());
    assert!(String::from_utf8(output.stderr).unwrap().contains("at least 1"));
}

#[test]
fn clearing_makes_no_store_of_a_foreign_directory() {
    let directory = directory();
    fs::create_dir_all(directory.path().join("out/calls")).unwrap();
    report(directory.path(), &["--clear"]);
    assert!(files(&directory.path().join("out")).is_empty());
}
