//! Tests of the program through runs of the built binary.

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, Output},
};

use tempfile::TempDir;

/// Creates a directory with the first 100 of the shipped digits, which keeps the runs short.
fn directory() -> TempDir {
    let directory = tempfile::tempdir().unwrap();
    let shipped = fs::read_to_string(digits::data::SHIPPED).unwrap();
    let rows: String = shipped.split_inclusive('\n').take(100).collect();
    fs::write(directory.path().join("some.csv"), rows).unwrap();
    directory
}

/// Runs the program with two workers, or with the executor that the options name.
fn digits(directory: &Path, options: &[&str]) -> Output {
    let mut program = Command::new(env!("CARGO_BIN_EXE_digits"));
    program.current_dir(directory).args(["--data", "some.csv", "--dir", "out"]).args(options);
    if !options.contains(&"--executor") {
        program.args(["--workers", "2"]);
    }
    program.output().unwrap()
}

/// Runs the program, which must succeed, and returns its standard output.
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

/// Returns the files in this directory and its subdirectories.
fn files(directory: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path());
    entries.flat_map(|path| if path.is_dir() { files(&path) } else { vec![path] }).collect()
}

/// Returns the files of a store's entries. The names of the store's other files begin with a dot.
fn entries(store: &Path) -> Vec<PathBuf> {
    let hidden = |path: &PathBuf| path.file_name().unwrap().to_string_lossy().starts_with('.');
    files(store).into_iter().filter(|path| !hidden(path)).collect()
}

#[test]
fn second_run_computes_nothing_and_prints_the_same_table() {
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
fn all_executors_print_the_same_table_and_share_results() {
    let executors =
        if cfg!(target_os = "linux") { &["threads", "processes", "serial"][..] } else { &["threads", "serial"] };
    let runs: Vec<_> = executors.iter().map(|executor| (directory(), ["--executor", executor])).collect();
    let two_processes = &["--executor", "processes", "--workers", "2"];
    let (own, _) = &runs[0];
    let expected = report(own.path(), &[]);
    for (directory, options) in &runs {
        assert_eq!(table(&report(directory.path(), options)), table(&expected), "{options:?}");
        let again = report(own.path(), options);
        assert!(again.contains("calls 225, computed 0, hits 225,"), "{options:?}: {again}");
    }
    if cfg!(target_os = "linux") {
        assert_eq!(table(&report(directory().path(), two_processes)), table(&expected));
    }
    let in_memory = report(own.path(), &["--executor", executors[1], "--store", "memory"]);
    assert_eq!(table(&in_memory), table(&expected));
}

#[test]
fn stored_values_are_named_by_the_digest_of_their_file() {
    let directory = directory();
    report(directory.path(), &[]);
    let values = entries(&directory.path().join("out/values"));
    assert!(values.len() > 15, "the lists of neighbours must be stored as values");
    for path in values {
        let name = [path.parent().unwrap(), &path].map(|path| path.file_name().unwrap().to_str().unwrap()).concat();
        assert_eq!(blake3::hash(&fs::read(&path).unwrap()).to_hex().as_str(), name);
    }
}

#[test]
fn renaming_the_data_file_causes_no_computation() {
    let directory = directory();
    report(directory.path(), &[]);
    fs::rename(directory.path().join("some.csv"), directory.path().join("other.csv")).unwrap();
    let mut program = Command::new(env!("CARGO_BIN_EXE_digits"));
    let output = program.current_dir(directory.path()).args(["--data", "other.csv", "--dir", "out"]).output().unwrap();
    assert!(String::from_utf8(output.stdout).unwrap().contains("computed 0,"));
}

#[test]
fn changed_data_file_is_computed_again() {
    let directory = directory();
    report(directory.path(), &[]);
    let path = directory.path().join("some.csv");
    let rows = fs::read_to_string(&path).unwrap();
    fs::write(&path, rows.split_inclusive('\n').skip(1).collect::<String>()).unwrap();
    assert!(report(directory.path(), &[]).contains("computed 241,"));
}

#[test]
fn chart_is_written_to_the_reported_path() {
    let directory = directory();
    let report = report(directory.path(), &[]);
    let chart = report.lines().find_map(|line| line.strip_prefix("chart: ")).unwrap();
    assert!(fs::read_to_string(directory.path().join(chart)).unwrap().starts_with("<svg "));
}

#[test]
fn run_in_memory_creates_no_store() {
    let directory = directory();
    assert!(report(directory.path(), &["--store", "memory"]).contains("computed 241,"));
    assert!(!directory.path().join("out/values").exists());
}

#[test]
fn clear_removes_every_stored_result() {
    let directory = directory();
    report(directory.path(), &[]);
    assert_eq!(report(directory.path(), &["--clear"]), "removed 241 stored results from out\n");
    assert!(entries(&directory.path().join("out/values")).is_empty());
    assert!(entries(&directory.path().join("out/calls")).is_empty());
}

#[test]
fn clear_leaves_unrelated_files_in_place() {
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
fn clear_without_stored_results_creates_nothing() {
    let directory = directory();
    assert_eq!(report(directory.path(), &["--clear"]), "removed 0 stored results from out\n");
    assert!(!directory.path().join("out").exists());
}

#[test]
fn error_in_data_file_is_reported_with_line_and_column() {
    let directory = directory();
    let path = directory.path().join("some.csv");
    let rows = fs::read_to_string(&path).unwrap();
    fs::write(&path, rows + "1,2,x\n").unwrap();
    let output = digits(directory.path(), &[]);
    assert!(!output.status.success());
    // The message contains the absolute path of the file, since isolated and remote calls need that one.
    let says = String::from_utf8(output.stderr).unwrap();
    assert!(
        says.starts_with("digits: ") && says.contains("some.csv, line 101, column 4: the row has 3 columns"),
        "{says}"
    );
}

#[test]
fn executor_that_a_file_names_is_used() {
    let directory = directory();
    fs::write(directory.path().join("fleche.toml"), "root = true\n[executor.own]\ntype = \"serial\"\n").unwrap();
    assert!(report(directory.path(), &["--executor", "own"]).contains("calls 691, computed 241, hits 450,"));
    let unknown = digits(directory.path(), &["--executor", "other"]);
    let says = String::from_utf8(unknown.stderr).unwrap();
    assert!(!unknown.status.success() && says.contains("`own`") && says.contains("`threads`"), "{says}");
}

#[test]
fn workers_of_an_executor_that_has_none_are_refused() {
    let directory = directory();
    let output = digits(directory.path(), &["--executor", "serial", "--workers", "2"]);
    let says = String::from_utf8(output.stderr).unwrap();
    assert!(!output.status.success() && says.contains("--workers") && says.contains("`serial`"), "{says}");
}

#[test]
fn zero_workers_are_refused() {
    let directory = directory();
    let mut program = Command::new(env!("CARGO_BIN_EXE_digits"));
    let output = program.current_dir(directory.path()).args(["--workers", "0"]).output().unwrap();
    assert!(!output.status.success());
    assert!(String::from_utf8(output.stderr).unwrap().contains("at least 1"));
}

#[test]
fn clear_creates_no_store_in_an_unrelated_directory() {
    let directory = directory();
    fs::create_dir_all(directory.path().join("out/calls")).unwrap();
    report(directory.path(), &["--clear"]);
    assert!(files(&directory.path().join("out")).is_empty());
}
