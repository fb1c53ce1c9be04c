//! Isolated bodies that run in other processes.

use std::{
    collections::BTreeMap,
    env, fs,
    path::PathBuf,
    process::{self as this, Command},
    thread,
};

use fleche_core::{
    ExecutorExt, JobError,
    executor::{assigned_gpus, with_assigned_gpus},
    fleche,
    job::RemoteError,
    metadata::TAGS,
    tag, wrap_executor,
};
use fleche_exec::{ProcessPool, ThreadPool};
use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use rayon::prelude::*;

use super::{
    directories::{panic_payload, remaining_directories},
    own_process::{run_alone, run_alone_with},
};
use crate::support::{logged, memory};

/// Returns the body's working directory and its process.
#[fleche(isolate(process), by_name)]
fn whereabouts(x: i64) -> (PathBuf, u32) {
    fs::write("input", x.to_string()).unwrap();
    (env::current_dir().unwrap(), this::id())
}

/// Every thread of rayon's pool, which was started before the call, writes a file here.
#[fleche(isolate(process))]
fn by_rayon(files: usize) -> usize {
    rayon::broadcast(|_| ());
    (0..files).into_par_iter().for_each(|file| fs::write(file.to_string(), "").unwrap());
    fs::read_dir(".").unwrap().count()
}

#[fleche]
fn double(x: i64) -> i64 {
    2 * x
}

#[fleche(isolate(process))]
fn with_calls_inside(x: i64) -> i64 {
    double(x) + 1
}

#[fleche(isolate(process), by_name)]
fn nested(x: i64) -> (PathBuf, PathBuf) {
    (env::current_dir().unwrap(), whereabouts(x).0)
}

#[fleche(isolate(process))]
fn panics(x: i64) -> i64 {
    fs::write("trace", "").unwrap();
    panic!("{x} is too much");
}

#[fleche(isolate(process, keep_on_panic))]
fn panics_and_leaves(x: i64) -> i64 {
    fs::write("trace", "").unwrap();
    panic!("{x} is too much");
}

#[fleche(isolate(process))]
fn is_killed(_x: i64) -> i64 {
    kill(Pid::this(), Signal::SIGKILL).unwrap();
    0
}

#[fleche(isolate(process))]
fn fails(name: &str) -> Result<String, RemoteError> {
    Err(RemoteError::new(&std::io::Error::other(format!("{name} is refused"))))
}

#[fleche(isolate(process))]
fn of_any<T: serde::Serialize + serde::de::DeserializeOwned + ToString + 'static>(values: &[T]) -> String {
    values.iter().map(ToString::to_string).collect()
}

#[fleche(isolate(process))]
fn gpus(_x: i64) -> Vec<u32> {
    assigned_gpus().to_vec()
}

#[test]
fn body_runs_in_another_process_and_its_directory_is_removed() {
    run_alone("processes::body_runs_in_another_process_and_its_directory_is_removed", || {
        let (ours, cache) = (env::current_dir().unwrap(), memory());
        let (there, process) = cache.scope(|| whereabouts(1));
        assert!(process != this::id() && there != ours);
        assert!(!there.exists() && remaining_directories().is_empty());
        assert_eq!(env::current_dir().unwrap(), ours);
        assert_eq!(cache.scope(|| whereabouts(1)), (there, process), "a hit runs nothing");
        assert_eq!(cache.stats().computed, 1);
        assert_eq!(cache.record(&whereabouts::key(1)).unwrap().unwrap().writer.process, this::id());
    });
}

#[test]
fn threads_of_a_shared_pool_write_to_the_calls_directory() {
    run_alone("processes::threads_of_a_shared_pool_write_to_the_calls_directory", || {
        let _active = memory().enter();
        let ours = fs::read_dir(".").unwrap().count();
        // The second call finds the worker's pool already running, started in another directory.
        assert_eq!((by_rayon(10), by_rayon(20)), (10, 20));
        assert_eq!(fs::read_dir(".").unwrap().count(), ours);
        assert!(remaining_directories().is_empty());
    });
}

#[test]
fn concurrent_calls_run_in_parallel_in_their_own_directories() {
    run_alone("processes::concurrent_calls_run_in_parallel_in_their_own_directories", || {
        let _active = memory().enter();
        let pool = wrap_executor(ThreadPool::new(4).unwrap());
        let results = pool.map(whereabouts, (0..4).map(|x| (x,))).map(Result::unwrap);
        let directories: BTreeMap<_, _> = results.collect();
        assert_eq!(directories.len(), 4);
        assert!(remaining_directories().is_empty());
    });
}

#[test]
fn calls_inside_are_recorded_in_the_callers_store_with_its_tags() {
    run_alone("processes::calls_inside_are_recorded_in_the_callers_store_with_its_tags", || {
        let cache = memory();
        let _active = cache.enter();
        let _tag = tag("project", "alloy").enter();
        assert_eq!(with_calls_inside(4), 9);
        let record = cache.record(&double::key(4)).unwrap().unwrap();
        assert_ne!(record.writer.process, this::id());
        let tags: BTreeMap<String, String> = record.metadata.get(TAGS).unwrap().unwrap();
        assert_eq!(tags["project"], "alloy");
    });
}

#[test]
fn nested_call_has_its_own_directory() {
    run_alone("processes::nested_call_has_its_own_directory", || {
        let (outer, inner) = memory().scope(|| nested(1));
        assert_ne!(outer, inner);
        assert!(remaining_directories().is_empty());
    });
}

#[test]
fn worker_of_a_process_pool_isolates_its_calls_too() {
    run_alone("processes::worker_of_a_process_pool_isolates_its_calls_too", || {
        let _active = memory().enter();
        let pool = wrap_executor(ProcessPool::new(1).unwrap());
        let (there, _) = pool.submit(whereabouts, (1,)).result().unwrap();
        assert!(!there.exists() && whereabouts::contains(1).unwrap());
    });
}

#[test]
fn panic_reaches_the_caller_and_leaves_no_record_or_directory() {
    run_alone("processes::panic_reaches_the_caller_and_leaves_no_record_or_directory", || {
        let _active = memory().enter();
        let payload = panic_payload(|| panics(1));
        assert_eq!(*payload.downcast::<String>().unwrap(), "1 is too much");
        assert!(!panics::contains(1).unwrap() && remaining_directories().is_empty());
        let pool = ThreadPool::new(1).unwrap();
        match pool.submit(panics, (1,)).result() {
            Err(JobError::Panicked { location, .. }) => assert!(location.unwrap().contains("processes.rs")),
            other => panic!("{other:?}"),
        }
    });
}

#[test]
fn directory_of_a_panic_is_kept_on_request() {
    run_alone("processes::directory_of_a_panic_is_kept_on_request", || {
        let (_, log) = logged(|| panic_payload(|| memory().scope(|| panics_and_leaves(1))));
        let kept = remaining_directories().pop().unwrap();
        assert!(kept.join("trace").exists());
        assert!(log.contains(kept.to_str().unwrap()), "{log}");
    });
}

#[test]
fn lost_process_is_a_panic_that_names_function_and_signal() {
    run_alone("processes::lost_process_is_a_panic_that_names_function_and_signal", || {
        let _active = memory().enter();
        let message = *panic_payload(|| is_killed(1)).downcast::<String>().unwrap();
        assert!(message.contains("is_killed") && message.contains("signal 9"), "{message}");
        assert!(remaining_directories().is_empty() && !is_killed::contains(1).unwrap());
        assert_ne!(whereabouts(1).1, this::id(), "another worker replaces it");
    });
}

#[test]
fn errors_and_borrowed_or_generic_parameters_are_passed() {
    run_alone("processes::errors_and_borrowed_or_generic_parameters_are_passed", || {
        let _active = memory().enter();
        assert_eq!(fails("x").unwrap_err().to_string(), "x is refused");
        assert!(!fails::contains("x").unwrap());
        assert_eq!((of_any(&[1, 2]), of_any(&["a".to_owned()])), ("12".to_owned(), "a".to_owned()));
        assert_eq!(of_any::uncached(&[3]), "3");
    });
}

#[test]
fn body_has_the_gpus_of_its_task() {
    run_alone("processes::body_has_the_gpus_of_its_task", || {
        let told = with_assigned_gpus([3, 5].into(), || memory().scope(|| gpus(1)));
        assert_eq!(told, [3, 5]);
    });
}

/// Isolated on a thread.
#[fleche(isolate)]
fn on_a_thread(x: i64) -> (i64, u32) {
    fs::write("input", x.to_string()).unwrap();
    (fs::read_to_string("input").unwrap().parse().unwrap(), this::id())
}

/// Forbids `unshare` on this thread and on all threads that it starts.
fn forbid_unshare() {
    use seccompiler::{SeccompAction, SeccompFilter};
    let unshare = nix::libc::SYS_unshare;
    let rules = BTreeMap::from([(unshare, Vec::new())]);
    let refused = SeccompAction::Errno(u32::try_from(nix::libc::EPERM).unwrap());
    let arch = env::consts::ARCH.try_into().unwrap();
    let filter = SeccompFilter::new(rules, SeccompAction::Allow, refused, arch).unwrap();
    let program: seccompiler::BpfProgram = filter.try_into().unwrap();
    seccompiler::apply_filter(&program).unwrap();
}

#[test]
fn process_isolates_the_call_if_unshare_is_forbidden() {
    run_alone("processes::process_isolates_the_call_if_unshare_is_forbidden", || {
        forbid_unshare();
        let results = thread::scope(|scope| {
            [1, 2].map(|x| scope.spawn(move || memory().scope(|| on_a_thread(x)))).map(|call| call.join().unwrap())
        });
        assert!(results.iter().zip([1, 2]).all(|((read, process), x)| *read == x && *process != this::id()));
        assert!(remaining_directories().is_empty() && !PathBuf::from("input").exists());
    });
}

#[test]
fn body_does_not_run_if_no_directory_can_be_created() {
    let prepare = |command: &mut Command, directory: &std::path::Path| {
        let file = directory.join("file");
        fs::write(&file, "").unwrap();
        command.env("XDG_CACHE_HOME", &file).env("TMPDIR", &file);
    };
    run_alone_with("processes::body_does_not_run_if_no_directory_can_be_created", prepare, || {
        let message = *panic_payload(|| memory().scope(|| whereabouts(1))).downcast::<String>().unwrap();
        assert!(message.contains("did not run"), "{message}");
    });
}

fleche_exec::worker_test!();
