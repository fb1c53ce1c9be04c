//! Tests of the program on a Slurm cluster, which `fleche.toml` names:
//! `cargo xtask slurm run -- cargo test --package fleche-example-digits --features slurm --test cluster -- --ignored`.
#![cfg(target_os = "linux")]

use std::{
    env, fs,
    path::Path,
    process::{Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use tempfile::TempDir;

/// The time limit of a wait.
const LIMIT: Duration = Duration::from_mins(2);

/// Creates a directory that all nodes see, with the first 100 of the shipped digits and a configuration.
fn directory() -> TempDir {
    let root = env::var_os("FLECHE_SLURM_DIR").expect("run the tests by `cargo xtask slurm run`");
    let directory = tempfile::Builder::new().prefix("digits-").tempdir_in(root).unwrap();
    let shipped = fs::read_to_string(digits::data::SHIPPED).unwrap();
    let rows: String = shipped.split_inclusive('\n').take(100).collect();
    fs::write(directory.path().join("some.csv"), rows).unwrap();
    let config = "[executor.cluster]\ntype = \"slurm\"\nmode = \"jobs\"\ndirectory = \"shared\"\npoll = \"1s\"\n";
    fs::write(directory.path().join("fleche.toml"), config).unwrap();
    directory
}

fn program(directory: &Path, executor: &str) -> Command {
    let mut program = Command::new(env!("CARGO_BIN_EXE_digits"));
    let dir = if executor == "cluster" { "out" } else { "other" };
    program.current_dir(directory).args(["--data", "some.csv", "--dir", dir, "--executor", executor]);
    program.env("FLECHE_CONFIG", directory.join("fleche.toml"));
    program
}

/// Runs the program, which must succeed, and returns its standard output.
fn report(mut program: Command) -> String {
    let output = program.output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

fn table(report: &str) -> Vec<&str> {
    report.lines().take(16).collect()
}

fn records(directory: &Path) -> usize {
    let Ok(entries) = fs::read_dir(directory) else { return 0 };
    let paths = entries.flatten().map(|entry| entry.path());
    paths.map(|path| if path.is_dir() { records(&path) } else { 1 }).sum()
}

#[test]
#[ignore = "needs a Slurm cluster"]
fn cluster_prints_the_same_table_and_a_second_run_submits_nothing() {
    let directory = directory();
    let first = report(program(directory.path(), "cluster"));
    assert_eq!(table(&first), table(&report(program(directory.path(), "threads"))));
    assert!(first.contains("computed 241"), "{first}");
    let mut second = program(directory.path(), "cluster");
    // Without the commands of Slurm, a submission would fail.
    second.env("PATH", "");
    let second = report(second);
    assert!(second.contains("computed 0,"), "{second}");
    assert_eq!(table(&first), table(&second));
}

#[test]
#[ignore = "needs a Slurm cluster"]
fn killed_run_is_completed_by_the_next_one() {
    let directory = directory();
    let mut killed = program(directory.path(), "cluster").stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    let begun = Instant::now();
    while records(&directory.path().join("out")) < 60 {
        assert!(begun.elapsed() < LIMIT, "timed out waiting for the first records");
        thread::park_timeout(Duration::from_millis(10));
    }
    killed.kill().unwrap();
    killed.wait().unwrap();
    let completed = report(program(directory.path(), "cluster"));
    assert_eq!(table(&completed), table(&report(program(directory.path(), "threads"))));
}
