//! Programs that start in unusual ways or places, whose file changes while they run, or that run in a mode: `FLECHE` also
//! applies in workers.

use std::{
    env,
    ffi::{OsStr, OsString},
    fs::{self, OpenOptions},
    io::Write as _,
    os::unix::{ffi::OsStringExt, process::CommandExt},
    panic,
    path::{Path, PathBuf},
    process::{Command, Output},
};

use fleche_core::{ExecutorExt, JobError, Resources, fleche};
use nix::sys::resource::{Resource, setrlimit};

use super::common::{files, pool, result, wait_for};

fn plain(x: i64) -> i64 {
    x + 1
}

#[fleche]
fn memoized(x: i64) -> i64 {
    x + 2
}

/// A separate program, which the tests below run.
#[test]
#[ignore = "run by other tests"]
fn program_process() {
    let Ok(role) = env::var("ROLE_OF_PROGRAM") else { return };
    if let Some(gate) = role.strip_prefix("wait:") {
        fs::write(format!("{gate}.waits"), "").unwrap();
        wait_for(gate.into());
    }
    if role == "exhausted" {
        return without_descriptors();
    }
    // With a backtrace, for which the program's file is mapped once more.
    assert!(panic::catch_unwind(|| panic!("caught")).is_err());
    let pool = pool(1);
    match result(pool.submit(plain, (1,))) {
        Ok(value) => println!("plain: {value}"),
        Err(error) => println!("plain: {error}"),
    }
    match result(pool.submit(memoized, (1,))) {
        Ok(value) => println!("memoized: {value}"),
        Err(error) => println!("memoized: {error}"),
    }
}

fn without_descriptors() {
    let pool = pool(1);
    setrlimit(Resource::RLIMIT_NOFILE, 64, 64).unwrap();
    let all: Vec<_> = std::iter::from_fn(|| fs::File::open("/dev/null").ok()).collect();
    assert!(!all.is_empty());
    let refused = result(pool.submit(plain, (1,)));
    drop(all);
    assert!(matches!(refused, Err(JobError::Rejected { .. })), "{refused:?}");
    assert_eq!(result(pool.submit(plain, (1,))), Ok(2));
    println!("plain: 2");
}

fn with_role(mut command: Command, role: &str) -> Command {
    command.args(["programs::program_process", "--exact", "--ignored", "--nocapture"]);
    command.env("ROLE_OF_PROGRAM", role).env("RUST_BACKTRACE", "1");
    command
}

fn both_run(output: &Output) {
    let printed = String::from_utf8_lossy(&output.stdout);
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(printed.contains("plain: 2") && printed.contains("memoized: 3"), "{printed}\n{errors}");
}

/// Puts the running program at another path, as a hard link or a copy.
fn at(path: &Path) {
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    let this = env::current_exe().unwrap();
    if fs::hard_link(&this, path).is_err() {
        // Copied by another process: a file cannot be executed while it is open for writing, and a worker that another
        // test starts at this moment would inherit a descriptor of this process.
        assert!(Command::new("cp").args([&this, path]).status().unwrap().success());
    }
}

/// Returns the loader that has loaded this program, or `None` if there is none.
fn loader() -> Option<PathBuf> {
    let maps = fs::read_to_string("/proc/self/maps").unwrap();
    let files = maps.lines().filter_map(|line| line.find('/').map(|at| PathBuf::from(&line[at..])));
    let is_loader = |path: &PathBuf| {
        path.file_name().and_then(OsStr::to_str).is_some_and(|name| name.starts_with("ld-") && name.contains(".so"))
    };
    files.into_iter().find(is_loader)
}

#[test]
fn program_with_the_legacy_address_space_layout_runs_plain_functions() {
    let mut command = Command::new("sh");
    command.args(["-c", r#"ulimit -s "$(ulimit -H -s)"; exec "$0" "$@""#]).arg(env::current_exe().unwrap());
    both_run(&with_role(command, "run").output().unwrap());
}

#[test]
fn program_in_a_folder_with_an_unusual_name_runs_plain_functions() {
    let directory = tempfile::tempdir().unwrap();
    for name in [&b"not \xff utf-8"[..], b"two\nlines", b"as if (deleted)", b"\\012"] {
        let path = directory.path().join(OsString::from_vec(name.to_vec())).join("program");
        at(&path);
        let mut command = Command::new(path);
        // The test harness requires UTF-8 arguments.
        command.arg0("program");
        both_run(&with_role(command, "run").output().unwrap());
    }
}

#[test]
fn program_whose_file_is_removed_or_replaced_runs_plain_functions() {
    let directory = tempfile::tempdir().unwrap();
    for replaced in [false, true] {
        let path = directory.path().join(format!("program {replaced}"));
        let gate = directory.path().join(format!("gate {replaced}"));
        at(&path);
        let mut command = with_role(Command::new(&path), &format!("wait:{}", gate.display()));
        let command = command.stdout(std::process::Stdio::piped()).stderr(std::process::Stdio::piped());
        let program = command.spawn().unwrap();
        wait_for(gate.with_extension("waits"));
        fs::remove_file(&path).unwrap();
        if replaced {
            fs::write(&path, "#!/bin/false\n").unwrap();
        }
        fs::write(&gate, "").unwrap();
        both_run(&program.wait_with_output().unwrap());
    }
}

#[test]
fn program_started_through_a_loader_runs_plain_functions() {
    let Some(loader) = loader() else { return };
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("program");
    at(&path);
    for options in [&[][..], &["--inhibit-cache"]] {
        let mut command = Command::new(&loader);
        command.args(options).arg("./program").current_dir(directory.path());
        both_run(&with_role(command, "run").output().unwrap());
    }
}

#[test]
fn program_started_through_a_loader_reports_that_its_file_is_gone() {
    let Some(loader) = loader() else { return };
    let directory = tempfile::tempdir().unwrap();
    let (path, gate) = (directory.path().join("program"), directory.path().join("gate"));
    at(&path);
    let mut command = Command::new(&loader);
    command.arg(&path);
    let mut command = with_role(command, &format!("wait:{}", gate.display()));
    let command = command.stdout(std::process::Stdio::piped()).stderr(std::process::Stdio::piped());
    let program = command.spawn().unwrap();
    wait_for(gate.with_extension("waits"));
    fs::remove_file(&path).unwrap();
    fs::write(&gate, "").unwrap();
    let output = program.wait_with_output().unwrap();
    let printed = String::from_utf8_lossy(&output.stdout);
    assert!(printed.contains("plain: the call was refused") && printed.contains("is gone"), "{printed}");
}

/// Returns the name of the working directory as bytes, since the path is not UTF-8.
fn name_of_directory() -> Vec<u8> {
    env::current_dir().unwrap().file_name().unwrap().to_owned().into_vec()
}

#[test]
fn task_runs_in_a_working_directory_whose_name_is_not_utf8() {
    let directory = tempfile::tempdir().unwrap();
    let name = b"not \xff utf-8".to_vec();
    let path = directory.path().join(OsString::from_vec(name.clone()));
    fs::create_dir(&path).unwrap();
    let there = pool(1).with(Resources::new().working_dir(&path)).submit(name_of_directory, ());
    assert_eq!(result(there), Ok(name));
}

#[test]
fn pool_works_again_after_it_had_no_descriptors_for_its_first_worker() {
    let output = with_role(Command::new(env::current_exe().unwrap()), "exhausted").output().unwrap();
    let printed = String::from_utf8_lossy(&output.stdout);
    assert!(printed.contains("plain: 2"), "{printed}\n{}", String::from_utf8_lossy(&output.stderr));
}

/// The variable that names the directory of the program below.
const DIRECTORY_VARIABLE: &str = "DIRECTORY_OF_PROGRAM";

fn note(name: &str) {
    let path = Path::new(&env::var_os(DIRECTORY_VARIABLE).unwrap()).join(name);
    writeln!(OpenOptions::new().create(true).append(true).open(path).unwrap(), "{}", std::process::id()).unwrap();
}

#[fleche]
fn inner(x: i64) -> i64 {
    note("inner");
    x + 1
}

#[fleche]
fn outer(x: i64) -> i64 {
    note("outer");
    inner(0) + x
}

/// A separate program, which the tests below run. It makes each call twice, and all of them make one inner call.
#[test]
#[ignore = "run by other tests"]
fn program_process_in_a_mode() {
    let Some(directory) = env::var_os(DIRECTORY_VARIABLE) else { return };
    let cache = files(Path::new(&directory));
    let _active = cache.enter();
    let pool = fleche_core::wrap_executor(pool(2));
    for _ in 0..2 {
        for x in 0..4 {
            assert_eq!(result(pool.submit(outer, (x,))), Ok(x + 1));
        }
    }
}

/// Returns how many outer and inner bodies a program runs if `FLECHE` has this value.
fn bodies(directory: &Path, mode: &str) -> (usize, usize) {
    let mut command = Command::new(env::current_exe().unwrap());
    command.args(["programs::program_process_in_a_mode", "--exact", "--ignored", "--nocapture"]);
    let output = command.env(DIRECTORY_VARIABLE, directory).env("FLECHE", mode).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let count = |name| {
        let noted = fs::read_to_string(directory.join(name)).unwrap_or_default();
        drop(fs::remove_file(directory.join(name)));
        noted.lines().count()
    };
    (count("outer"), count("inner"))
}

#[test]
fn workers_compute_each_call_once_in_a_run_that_refreshes() {
    let directory = tempfile::tempdir().unwrap();
    assert_eq!(bodies(directory.path(), ""), (4, 1));
    assert_eq!(bodies(directory.path(), "refresh"), (4, 1));
    assert_eq!(bodies(directory.path(), ""), (0, 0));
}

#[test]
fn workers_neither_look_up_nor_record_if_the_cache_is_off() {
    let directory = tempfile::tempdir().unwrap();
    assert_eq!(bodies(directory.path(), "off"), (8, 8));
    assert_eq!(bodies(directory.path(), ""), (4, 1));
    assert_eq!(bodies(directory.path(), "off"), (8, 8));
}

#[test]
fn workers_record_nothing_if_the_cache_is_read_only() {
    let directory = tempfile::tempdir().unwrap();
    assert_eq!(bodies(directory.path(), "readonly"), (8, 8));
    assert_eq!(bodies(directory.path(), ""), (4, 1));
    assert_eq!(bodies(directory.path(), "readonly"), (0, 0));
}
