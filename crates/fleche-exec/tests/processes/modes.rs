//! The mode that `FLECHE` sets for a program also applies in its workers.

use std::{
    env,
    fs::{self, OpenOptions},
    io::Write as _,
    path::Path,
    process::Command,
};

use fleche_core::{ExecutorExt, fleche};

use super::common::{files, pool, result};

/// The variable that names the directory of the program below.
const DIRECTORY: &str = "DIRECTORY_OF_PROGRAM";

fn note(name: &str) {
    let path = Path::new(&env::var_os(DIRECTORY).unwrap()).join(name);
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
fn program_process() {
    let Some(directory) = env::var_os(DIRECTORY) else { return };
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
    command.args(["modes::program_process", "--exact", "--ignored", "--nocapture"]);
    let output = command.env(DIRECTORY, directory).env("FLECHE", mode).output().unwrap();
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
