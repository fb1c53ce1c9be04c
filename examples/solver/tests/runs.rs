//! Tests of the program through runs of the built binary.
#![cfg(target_os = "linux")]

use std::{
    fs,
    os::unix::fs::PermissionsExt,
    path::Path,
    process::{Command, Output},
};

use tempfile::TempDir;

/// Creates a directory whose `fleche.toml` names the executor `two`.
fn directory() -> TempDir {
    let directory = tempfile::tempdir().unwrap();
    let executor = "root = true\n[executor.two]\ntype = \"processes\"\nprocesses = 2\n";
    fs::write(directory.path().join("fleche.toml"), executor).unwrap();
    directory
}

fn sweep(directory: &Path, options: &[&str]) -> Output {
    let mut program = Command::new(env!("CARGO_BIN_EXE_sweep"));
    program.current_dir(directory).args(["--dir", "results"]).args(options).output().unwrap()
}

/// Runs the program, which must succeed, and returns its standard output.
fn report(directory: &Path, options: &[&str]) -> String {
    let output = sweep(directory, options);
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{errors}");
    assert_eq!(errors, "");
    String::from_utf8(output.stdout).unwrap()
}

/// Writes a shell script that stands for the solver.
fn script(path: &Path, text: &str) {
    fs::write(path, format!("#!/bin/sh\nset -e\n{text}")).unwrap();
    fs::set_permissions(path, fs::Permissions::from_mode(0o700)).unwrap();
}

#[test]
fn temperatures_are_those_of_the_exact_solution() {
    let directory = directory();
    let report = report(directory.path(), &["--nodes", "21"]);
    let rows: Vec<Vec<f64>> = report
        .lines()
        .skip(1)
        .take(16)
        .map(|row| row.split_whitespace().map(|number| number.parse().unwrap()).collect())
        .collect();
    for row in rows {
        let [conductivity, source, highest] = row[..] else { panic!("{row:?}") };
        assert!((highest - source / (8.0 * conductivity)).abs() < 0.01, "{row:?}");
    }
}

#[test]
fn second_run_starts_no_solver_and_leaves_no_files() {
    let directory = directory();
    let options = ["--nodes", "21", "--executor", "two"];
    let first = report(directory.path(), &options);
    let second = report(directory.path(), &options);
    assert!(first.ends_with("computed 16, hits 0\n"), "{first}");
    assert!(second.ends_with("computed 0, hits 16\n"), "{second}");
    let table = |report: &str| report.lines().take(17).map(str::to_owned).collect::<Vec<_>>();
    assert_eq!(table(&first), table(&second));
    let mut left: Vec<_> = fs::read_dir(directory.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    left.sort();
    assert_eq!(left, ["fleche.toml", "results"]);
}

#[test]
fn other_build_of_the_solver_computes_again() {
    let directory = directory();
    let options = ["--solver", "./solver.sh", "--conductivity", "1", "--source", "1,2"];
    script(&directory.path().join("solver.sh"), "echo 1.0 > heat.out\n");
    assert!(report(directory.path(), &options).ends_with("computed 2, hits 0\n"));
    script(&directory.path().join("solver.sh"), "echo 2.0 > heat.out\n");
    let report = report(directory.path(), &options);
    assert!(report.contains("2.000") && report.ends_with("computed 2, hits 0\n"), "{report}");
}

#[test]
fn missing_solver_is_an_error_before_anything_is_printed() {
    let directory = directory();
    let output = sweep(directory.path(), &["--solver", "./none.sh"]);
    assert!(!output.status.success() && output.stdout.is_empty());
    let errors = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(errors.contains("none.sh: build it with `cargo build"), "{errors}");
}

#[test]
fn failure_of_the_solver_is_reported_and_not_recorded() {
    let directory = directory();
    let options = ["--solver", "./solver.sh", "--conductivity", "1", "--source", "1"];
    script(&directory.path().join("solver.sh"), "echo no convergence >&2\nexit 3\n");
    for _ in 0..2 {
        let output = sweep(directory.path(), &options);
        assert!(!output.status.success());
        let errors = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(errors, "sweep: the solver failed with exit status: 3: no convergence\n");
    }
}

/// Both solvers have written their file before either reads it again, so they would find the other's content if they
/// shared a directory.
#[test]
fn solvers_that_run_at_once_do_not_see_each_others_files() {
    let directory = directory();
    let shared = directory.path().display();
    assert!(Command::new("mkfifo").arg(directory.path().join("pipe")).status().unwrap().success());
    script(
        &directory.path().join("solver.sh"),
        &format!(
            "sed -n 's/^source //p' heat.in > heat.tmp\n\
             if mkdir '{shared}/first' 2> /dev/null; then cat '{shared}/pipe' > /dev/null; else echo > '{shared}/pipe'; fi\n\
             mv heat.tmp heat.out\n"
        ),
    );
    let options = ["--solver", "./solver.sh", "--conductivity", "1", "--source", "10,20", "--executor", "two"];
    let report = report(directory.path(), &options);
    let highest: Vec<_> = report.lines().skip(1).take(2).map(|row| row.split_whitespace().nth(2).unwrap()).collect();
    assert_eq!(highest, ["10.000", "20.000"]);
}
