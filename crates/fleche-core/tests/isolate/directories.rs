//! Tests of the working directories of isolated calls: the threads that share them, and their removal.

use std::{
    any::Any,
    env, fs,
    panic::{self, AssertUnwindSafe},
    path::{Path, PathBuf},
    process::{self, Command},
    sync::Barrier,
    thread,
};

use fleche_core::{ExecutorExt, FileContent, fleche, spi::process_id, wrap_executor};
use fleche_exec::ThreadPool;

use super::own_process::{run_alone, run_alone_with};
use crate::support::{Runs, logged, memory};

/// Returns the parent of the directories of isolated calls.
pub(crate) fn isolation_root() -> PathBuf {
    PathBuf::from(env::var_os("XDG_CACHE_HOME").unwrap()).join("fleche/cwd")
}

/// Returns the existing directories of isolated calls.
pub(crate) fn remaining_directories() -> Vec<PathBuf> {
    let Ok(entries) = fs::read_dir(isolation_root()) else { return Vec::new() };
    entries.map(|entry| entry.unwrap().path()).collect()
}

/// Returns the payload that the closure panics with.
pub(crate) fn panic_payload<R>(run: impl FnOnce() -> R) -> Box<dyn Any + Send> {
    panic::catch_unwind(AssertUnwindSafe(|| drop(run()))).expect_err("the closure should panic")
}

static RUNS: Runs = Runs::new();

#[fleche(isolate, by_name)]
fn here(x: i64) -> PathBuf {
    RUNS.count();
    fs::write("input", x.to_string()).unwrap();
    env::current_dir().unwrap()
}

static BOTH: Barrier = Barrier::new(2);

/// Both calls write before either reads.
#[fleche(isolate)]
fn same_name(x: i64) -> (i64, usize) {
    fs::write("input", x.to_string()).unwrap();
    BOTH.wait();
    let read = fs::read_to_string("input").unwrap().parse().unwrap();
    let files = fs::read_dir(".").unwrap().count();
    BOTH.wait();
    (read, files)
}

#[test]
fn concurrent_calls_never_see_each_others_files() {
    run_alone("directories::concurrent_calls_never_see_each_others_files", || {
        let results = thread::scope(|scope| {
            [1, 2].map(|x| scope.spawn(move || memory().scope(|| same_name(x)))).map(|thread| thread.join().unwrap())
        });
        assert_eq!(results, [(1, 1), (2, 1)]);
        assert!(remaining_directories().is_empty(), "{:?}", remaining_directories());
    });
}

#[test]
fn calls_in_one_thread_pool_never_see_each_others_files() {
    run_alone("directories::calls_in_one_thread_pool_never_see_each_others_files", || {
        let _active = memory().enter();
        let pool = wrap_executor(ThreadPool::new(2).unwrap());
        let jobs = [1, 2].map(|x| pool.submit(same_name, (x,)));
        assert_eq!(jobs.map(|job| job.result().unwrap()), [(1, 1), (2, 1)]);
        assert!(same_name::contains(1).unwrap() && same_name::contains(2).unwrap());
        assert!(remaining_directories().is_empty(), "{:?}", remaining_directories());
    });
}

#[test]
fn body_finds_a_file_given_by_a_relative_path() {
    #[fleche(isolate)]
    fn letters(file: &FileContent) -> usize {
        RUNS.count();
        fs::read_to_string(file).unwrap().len()
    }
    run_alone("directories::body_finds_a_file_given_by_a_relative_path", || {
        let cache = memory();
        let _active = cache.enter();
        fs::write("input", "abc").unwrap();
        assert_eq!([letters(&FileContent::new("input")), letters(&FileContent::new("./input"))], [3, 3]);
        assert_eq!((RUNS.take(), cache.stats().hits), (1, 1));
    });
}

#[test]
fn working_directory_of_the_program_never_changes() {
    #[fleche(isolate, by_name)]
    fn while_others_look(x: i64) -> (i64, PathBuf) {
        BOTH.wait();
        BOTH.wait();
        (x, env::current_dir().unwrap())
    }
    run_alone("directories::working_directory_of_the_program_never_changes", || {
        let before = env::current_dir().unwrap();
        let thread = thread::spawn(|| memory().scope(|| while_others_look(1)));
        BOTH.wait();
        let (during, fresh) = (env::current_dir().unwrap(), thread::spawn(env::current_dir).join().unwrap().unwrap());
        BOTH.wait();
        let (_, within) = thread.join().unwrap();
        assert_eq!((&during, &fresh, env::current_dir().unwrap()), (&before, &before, before.clone()));
        assert_ne!(within, before);
        assert_eq!(fs::read_dir(".").unwrap().count(), 0);
    });
}

#[test]
fn threads_that_the_body_starts_share_its_directory() {
    #[fleche(isolate, by_name)]
    fn threads(x: i64) -> (i64, PathBuf, PathBuf) {
        let below = thread::spawn(|| env::current_dir().unwrap()).join().unwrap();
        (x, env::current_dir().unwrap(), below)
    }
    run_alone("directories::threads_that_the_body_starts_share_its_directory", || {
        let (_, own, below) = memory().scope(|| threads(1));
        assert_eq!(own, below);
    });
}

#[test]
fn nested_isolated_call_has_its_own_directory() {
    #[fleche(isolate, by_name)]
    fn around(x: i64) -> (PathBuf, PathBuf, PathBuf) {
        let before = env::current_dir().unwrap();
        (before, here(x), env::current_dir().unwrap())
    }
    run_alone("directories::nested_isolated_call_has_its_own_directory", || {
        let (before, within, after) = memory().scope(|| around(1));
        assert_eq!(before, after);
        assert!(within.parent() == before.parent() && within != before);
    });
}

#[test]
fn directory_is_removed_with_its_content() {
    run_alone("directories::directory_is_removed_with_its_content", || {
        let directory = memory().scope(|| here(1));
        assert_eq!(directory.parent().unwrap(), isolation_root().canonicalize().unwrap());
        assert!(!directory.exists());
        assert!(remaining_directories().is_empty(), "{:?}", remaining_directories());
    });
}

#[test]
fn directory_is_removed_when_the_body_returns_an_error() {
    #[fleche(isolate)]
    fn fails(x: i64) -> Result<i64, String> {
        RUNS.count();
        fs::write("input", x.to_string()).unwrap();
        Err(env::current_dir().unwrap().display().to_string())
    }
    run_alone("directories::directory_is_removed_when_the_body_returns_an_error", || {
        let directory = memory().scope(|| fails(1)).unwrap_err();
        assert!(directory.contains("fleche/cwd"), "{directory}");
        assert_eq!((RUNS.take(), remaining_directories()), (1, Vec::new()));
    });
}

#[test]
fn directory_is_removed_when_the_body_panics() {
    #[fleche(isolate)]
    fn panics(x: i64) -> i64 {
        fs::write("input", x.to_string()).unwrap();
        panic!("in {}", env::current_dir().unwrap().display())
    }
    run_alone("directories::directory_is_removed_when_the_body_panics", || {
        let payload = panic_payload(|| memory().scope(|| panics(1)));
        assert!(payload.downcast::<String>().unwrap().contains("fleche/cwd"));
        assert!(remaining_directories().is_empty(), "{:?}", remaining_directories());
    });
}

#[test]
fn directory_of_a_panic_is_kept_on_request_and_logged() {
    #[fleche(isolate(keep_on_panic))]
    fn kept(x: i64) -> i64 {
        fs::write("input", x.to_string()).unwrap();
        assert!(x > 0, "a negative number");
        x
    }
    run_alone("directories::directory_of_a_panic_is_kept_on_request_and_logged", || {
        let (_, log) = logged(|| panic_payload(|| memory().scope(|| kept(-1))));
        let [directory] = &remaining_directories()[..] else { panic!("{:?}", remaining_directories()) };
        assert!(log.contains(&directory.canonicalize().unwrap().display().to_string()), "{log}");
        assert_eq!(fs::read_to_string(directory.join("input")).unwrap(), "-1");
        assert_eq!(memory().scope(|| kept(1)), 1);
        assert_eq!(remaining_directories().len(), 1);
    });
}

#[test]
fn hit_creates_no_directory() {
    run_alone("directories::hit_creates_no_directory", || {
        let _active = memory().enter();
        let first = here(1);
        fs::remove_dir(isolation_root()).unwrap();
        assert_eq!(here(1), first);
        assert_eq!(RUNS.take(), 1);
        assert!(!isolation_root().exists());
    });
}

#[test]
fn call_without_the_cache_is_isolated_too() {
    run_alone("directories::call_without_the_cache_is_isolated_too", || {
        let program = env::current_dir().unwrap();
        assert_ne!(here::uncached(1), program);
        assert_ne!(fleche_core::Cache::void().scope(|| here(1)), program);
        assert_eq!((RUNS.take(), remaining_directories()), (2, Vec::new()));
    });
}

#[test]
fn directory_of_a_killed_process_is_removed() {
    let prepare = |_: &mut Command, directory: &Path| {
        let mut ended = Command::new("true").spawn().unwrap();
        ended.wait().unwrap();
        let mark = process_id::mark().replace(&format!("-{}-", process::id()), &format!("-{}-", ended.id()));
        fs::create_dir_all(directory.join(format!("caches/fleche/cwd/fleche-{mark}/sub"))).unwrap();
    };
    run_alone_with("directories::directory_of_a_killed_process_is_removed", prepare, || {
        assert_eq!(remaining_directories().len(), 1);
        memory().scope(|| here(1));
        assert!(remaining_directories().is_empty(), "{:?}", remaining_directories());
    });
}

#[test]
fn temporary_directory_is_used_if_the_home_directory_is_not_writable() {
    let prepare = |command: &mut Command, directory: &Path| {
        fs::write(directory.join("file"), "").unwrap();
        fs::create_dir(directory.join("tmp")).unwrap();
        command.env("XDG_CACHE_HOME", directory.join("file")).env("TMPDIR", directory.join("tmp"));
    };
    run_alone_with("directories::temporary_directory_is_used_if_the_home_directory_is_not_writable", prepare, || {
        let directory = memory().scope(|| here(1));
        assert_eq!(directory.parent().unwrap(), env::temp_dir().canonicalize().unwrap());
        assert_eq!(fs::read_dir(env::temp_dir()).unwrap().count(), 0);
    });
}

#[test]
fn call_panics_without_running_if_no_directory_can_be_created() {
    static RUNS: Runs = Runs::new();
    #[fleche(isolate)]
    fn nowhere(x: i64) -> i64 {
        RUNS.count();
        x
    }
    let prepare = |command: &mut std::process::Command, directory: &std::path::Path| {
        let file = directory.join("file");
        fs::write(&file, "").unwrap();
        command.env("XDG_CACHE_HOME", &file).env("TMPDIR", &file);
    };
    run_alone_with("directories::call_panics_without_running_if_no_directory_can_be_created", prepare, || {
        let cache = memory();
        let payload = panic_payload(|| cache.scope(|| nowhere(1)));
        let message = payload.downcast::<String>().unwrap();
        assert!(message.contains("XDG_CACHE_HOME") && message.contains("did not run"), "{message}");
        assert_eq!(RUNS.take(), 0);
        assert!(!cache.contains(&nowhere::key(1)).unwrap());
    });
}
