//! Resources in process pools: budget, timeout, memory, retries, directory, environment; and workers that are replaced.

use std::{
    collections::BTreeSet,
    env, fs,
    io::Write,
    path::{Path, PathBuf},
    process,
    time::Duration,
};

use fleche_core::{
    ExecutorExt, JobError,
    executor::{ExecutorConfig, Resources, assigned_gpus},
};
use fleche_exec::{Budget, ProcessPool, ProcessPoolConfig};
use nix::sys::signal::Signal;

use super::common::{HANGS, pool, result, wait_for, whoami};

fn says(file: &Path, line: &str) {
    let mut file = fs::File::options().create(true).append(true).open(file).unwrap();
    writeln!(file, "{line}").unwrap();
}

fn lines(file: &Path) -> Vec<String> {
    fs::read_to_string(file).unwrap_or_default().lines().map(str::to_owned).collect()
}

#[allow(clippy::needless_pass_by_value)] // Submitted functions own their arguments.
fn is_killed_the_first_times(log: PathBuf, times: usize) -> usize {
    says(&log, "run");
    let runs = lines(&log).len();
    if runs <= times {
        process::abort();
    }
    runs
}

fn allocates(megabytes: usize) -> usize {
    vec![1_u8; megabytes << 20].iter().map(|byte| usize::from(*byte)).sum::<usize>() >> 20
}

fn here() -> PathBuf {
    env::current_dir().unwrap()
}

fn writes_here(name: String) {
    fs::write(name, "").unwrap();
}

fn variable(name: String) -> Option<String> {
    env::var(name).ok()
}

fn gpus() -> Vec<u32> {
    assigned_gpus().to_vec()
}

fn panics() {
    panic!("it does");
}

#[allow(clippy::needless_pass_by_value)] // Submitted functions own their arguments.
fn starts_then_waits(started: PathBuf, gate: PathBuf) {
    fs::write(started, "").unwrap();
    wait_for(gate);
}

fn why<T: std::fmt::Debug>(outcome: Result<T, JobError>) -> String {
    match outcome {
        Err(JobError::Rejected { why }) => why,
        other => panic!("{other:?}"),
    }
}

#[test]
fn unknown_option_is_refused_by_name() {
    let pool = pool(1);
    let why = why(result(pool.with(Resources::new().option("partition", "short")).submit(whoami, ())));
    assert!(why.contains("`partition`") && why.contains("a process pool"), "{why}");
    assert_eq!(pool.stats().received, 0);
}

#[test]
fn task_that_exceeds_the_budget_is_refused_at_once() {
    let pool = ProcessPool::with_budget(1, Budget { memory_mb: Some(100), ..Budget::default() }).unwrap();
    for (name, resources) in [
        ("cores", Resources::new().cores(2)),
        ("memory_mb", Resources::new().memory_mb(101)),
        ("gpus", Resources::new().gpus(1)),
    ] {
        let job = pool.with(resources).submit(whoami, ());
        assert!(job.is_done());
        let why = why(job.result());
        assert!(why.contains(name), "{why}");
    }
    assert_eq!(pool.stats().received, 0);
}

#[test]
fn task_starts_when_its_resources_are_free_and_is_not_overtaken() {
    let directory = tempfile::tempdir().unwrap();
    let [started, gate, log] = ["started", "gate", "log"].map(|name| directory.path().join(name));
    let pool = pool(2);
    let busy = pool.submit(starts_then_waits, (started.clone(), gate.clone()));
    wait_for(started);
    let note = |log: PathBuf, line: String| says(&log, &line);
    let large = pool.with(Resources::new().cores(2)).submit(note, (log.clone(), "large".to_owned()));
    // A worker and a core are free for this one.
    let small = pool.submit(note, (log.clone(), "small".to_owned()));
    assert!(!large.is_done() && !small.is_done());
    fs::write(gate, "").unwrap();
    result(busy).unwrap();
    result(large).unwrap();
    result(small).unwrap();
    assert_eq!(lines(&log), ["large", "small"]);
}

#[test]
fn task_is_told_its_gpus_and_gives_them_back() {
    let pool = ProcessPool::with_budget(2, Budget { gpus: vec![3, 5], ..Budget::default() }).unwrap();
    let both = pool.with(Resources::new().gpus(2));
    for _ in 0..3 {
        assert_eq!(result(both.submit(gpus, ())), Ok(vec![3, 5]));
    }
    assert_eq!(result(pool.submit(gpus, ())), Ok(Vec::new()));
}

#[test]
fn body_that_exceeds_its_timeout_is_ended_and_its_worker_replaced() {
    let directory = tempfile::tempdir().unwrap();
    let pool = pool(1);
    let short = pool.with(Resources::new().timeout(Duration::from_millis(50)));
    let late = short.submit(wait_for, (directory.path().join("never"),));
    let next = pool.submit(whoami, ());
    assert_eq!(result(late), Err(JobError::TimedOut));
    result(next).unwrap();
    assert_eq!((pool.stats().workers, pool.stats().lost), (2, 0));
}

#[test]
fn timeout_counts_from_the_start_of_the_body() {
    let directory = tempfile::tempdir().unwrap();
    let gate = directory.path().join("gate");
    let pool = pool(1);
    let busy = pool.submit(wait_for, (gate.clone(),));
    let waits = pool.with(Resources::new().timeout(Duration::from_secs(3))).submit(|x: i64| x, (1,));
    assert!(!waits.wait_timeout(Duration::from_millis(3_200)));
    fs::write(gate, "").unwrap();
    result(busy).unwrap();
    assert_eq!(result(waits), Ok(1));
}

#[test]
fn body_within_its_timeout_keeps_its_worker() {
    let pool = pool(1);
    let patient = pool.with(Resources::new().timeout(HANGS));
    let first = result(patient.submit(whoami, ())).unwrap();
    assert_eq!(result(patient.submit(whoami, ())), Ok(first));
}

#[test]
fn task_of_a_lost_worker_is_retried_up_to_its_limit() {
    let directory = tempfile::tempdir().unwrap();
    let [enough, too_few] = ["enough", "too few"].map(|name| directory.path().join(name));
    let pool = pool(1);
    let twice = pool.with(Resources::new().retries(2));
    assert_eq!(result(twice.submit(is_killed_the_first_times, (enough.clone(), 2))), Ok(3));
    let lost = result(twice.submit(is_killed_the_first_times, (too_few.clone(), 3)));
    assert_eq!(lost, Err(JobError::worker_died(Some(Signal::SIGABRT as i32), None)));
    assert_eq!((lines(&enough).len(), lines(&too_few).len()), (3, 3));
}

#[test]
fn panic_is_not_retried() {
    let pool = pool(1);
    let outcome = result(pool.with(Resources::new().retries(2)).submit(panics, ()));
    assert!(matches!(outcome, Err(JobError::Panicked { .. })), "{outcome:?}");
    assert_eq!(pool.stats().started, 1);
}

#[test]
fn body_that_exceeds_its_memory_limit_loses_its_worker() {
    let pool = ProcessPool::with_budget(1, Budget { memory_mb: Some(1024), ..Budget::default() }).unwrap();
    let limited = pool.with(Resources::new().memory_mb(64));
    assert_eq!(result(limited.submit(allocates, (32,))), Ok(32));
    let lost = result(limited.submit(allocates, (512,)));
    assert_eq!(lost, Err(JobError::worker_died(Some(Signal::SIGABRT as i32), None)));
    // The limit applied to the task, not to the worker.
    result(limited.submit(allocates, (1,))).unwrap();
    assert_eq!(result(pool.submit(allocates, (512,))), Ok(512));
}

#[test]
fn body_runs_in_the_directory_of_its_task_and_the_next_one_does_not() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().canonicalize().unwrap();
    let (ours, pool) = (here(), pool(1));
    let there = pool.with(Resources::new().working_dir(&path));
    assert_eq!(result(there.submit(here, ())), Ok(path.clone()));
    result(there.submit(writes_here, ("made".to_owned(),))).unwrap();
    assert!(path.join("made").exists());
    assert!(result(there.submit(panics, ())).is_err());
    assert_eq!(result(pool.submit(here, ())), Ok(ours.clone()));
    assert_eq!(here(), ours);
    // Even if the body has removed the directory.
    result(there.submit(|gone: PathBuf| fs::remove_dir_all(gone).unwrap(), (path,))).unwrap();
    assert_eq!(result(pool.submit(here, ())), Ok(ours));
}

/// Changes the worker's working directory, and does not restore it.
#[allow(clippy::needless_pass_by_value)] // Submitted functions own their arguments.
fn goes_away(to: PathBuf, panics: bool) -> PathBuf {
    env::set_current_dir(to).unwrap();
    assert!(!panics, "it does");
    here()
}

#[test]
fn directory_that_a_body_changes_is_restored_for_the_next_one() {
    let elsewhere = tempfile::tempdir().unwrap();
    let to = fs::canonicalize(elsewhere.path()).unwrap();
    let pool = pool(1);
    let home = result(pool.submit(here, ())).unwrap();
    assert_eq!(result(pool.submit(goes_away, (to.clone(), false))), Ok(to.clone()));
    assert_eq!(result(pool.submit(here, ())).unwrap(), home);
    assert!(result(pool.submit(goes_away, (to.clone(), true))).is_err());
    assert_eq!(result(pool.submit(here, ())).unwrap(), home);
    let within = pool.with(Resources::new().working_dir(elsewhere.path()));
    assert_eq!(result(within.submit(goes_away, ("/".into(), false))), Ok("/".into()));
    assert_eq!(result(pool.submit(here, ())).unwrap(), home);
    assert_eq!(pool.stats().workers, 1);
}

#[test]
fn missing_directory_is_an_error_before_the_body_runs() {
    let directory = tempfile::tempdir().unwrap();
    let made = directory.path().join("made").display().to_string();
    let pool = pool(1);
    let nowhere = pool.with(Resources::new().working_dir(directory.path().join("nowhere")));
    let why = why(result(nowhere.submit(writes_here, (made.clone(),))));
    assert!(why.contains("working_dir") && why.contains("nowhere"), "{why}");
    assert!(!Path::new(&made).exists());
}

#[test]
fn body_runs_with_the_variables_of_its_task() {
    let pool = pool(1);
    let ask = |value: &str| {
        let with = Resources::new().env("FLECHE_TEST_VARIABLE", value);
        result(pool.with(with).submit(variable, ("FLECHE_TEST_VARIABLE".to_owned(),))).unwrap()
    };
    assert_eq!(ask("one").as_deref(), Some("one"));
    assert_eq!(ask("two").as_deref(), Some("two"));
    assert_eq!(result(pool.submit(variable, ("FLECHE_TEST_VARIABLE".to_owned(),))), Ok(None));
    // The other variables are those of the pool's process.
    assert_eq!(result(pool.submit(variable, ("PATH".to_owned(),))), Ok(env::var("PATH").ok()));
    // Workers that made room for others do not count as lost.
    assert_eq!(pool.stats().lost, 0);
}

#[test]
fn invalid_variable_is_refused() {
    let pool = pool(1);
    for (name, value) in [("", "x"), ("A=B", "x"), ("A\0", "x"), ("A", "\0")] {
        let why = why(result(pool.with(Resources::new().env(name, value)).submit(whoami, ())));
        assert!(why.contains("env"), "{why}");
    }
}

#[test]
fn workers_are_replaced_after_the_configured_number_of_tasks() {
    let pool = ProcessPool::from_config(ProcessPoolConfig::new(1).replace_after(3)).unwrap();
    let workers: Vec<_> = (0..7).map(|_| result(pool.submit(whoami, ())).unwrap()).collect();
    assert_eq!(workers.iter().collect::<BTreeSet<_>>().len(), 3);
    assert!(workers[0] == workers[2] && workers[2] != workers[3] && workers[3] == workers[5]);
    assert_eq!((pool.stats().workers, pool.stats().lost), (3, 0));
}

#[test]
fn all_tasks_run_while_workers_are_replaced() {
    let pool = ProcessPool::from_config(ProcessPoolConfig::new(2).replace_after(7)).unwrap();
    let jobs: Vec<_> = (0..200).map(|x: i64| pool.submit(|x: i64| 2 * x, (x,))).collect();
    for (x, job) in (0..).zip(jobs) {
        assert_eq!(result(job), Ok(2 * x));
    }
    assert!(pool.stats().workers >= 200 / 7);
}

/// Submits tasks, one of which asks for variables with which no worker starts. Returns why that one is refused.
fn refused_alone(env: Resources) -> String {
    let directory = tempfile::tempdir().unwrap();
    let [started, gate] = ["started", "gate"].map(|name| directory.path().join(name));
    let pool = pool(1);
    let busy = pool.submit(starts_then_waits, (started.clone(), gate.clone()));
    wait_for(started);
    let poisoned = pool.with(env.clone()).submit(whoami, ());
    let others: Vec<_> = (0..4).map(|_| pool.submit(whoami, ())).collect();
    fs::write(gate, "").unwrap();
    result(busy).unwrap();
    for job in others {
        result(job).unwrap();
    }
    let why = why(result(poisoned));
    // Also while one worker is idle and another one could start.
    let pool = ProcessPool::new(2).unwrap();
    result(pool.submit(whoami, ())).unwrap();
    assert!(result(pool.with(env).submit(whoami, ())).is_err());
    result(pool.submit(whoami, ())).unwrap();
    why
}

#[test]
fn variables_with_which_workers_end_at_once_fail_only_their_own_tasks() {
    // The dynamic linker lists what it would load, and runs nothing.
    let why = refused_alone(Resources::new().env("LD_TRACE_LOADED_OBJECTS", "1"));
    assert!(why.contains("with the variables in `env`"), "{why}");
}

#[test]
fn variables_with_which_no_process_starts_fail_only_their_own_tasks() {
    let why = refused_alone(Resources::new().env("LONG", "x".repeat(1 << 20)));
    assert!(why.contains("start"), "{why}");
}

#[test]
fn pool_that_replaces_workers_after_zero_tasks_is_refused() {
    let error = ProcessPool::from_config(ProcessPoolConfig::new(1).replace_after(0)).unwrap_err();
    assert!(error.to_string().contains("0 tasks"), "{error}");
}

#[test]
fn queued_tasks_can_be_cancelled_while_the_pool_stays_open() {
    let directory = tempfile::tempdir().unwrap();
    let [started, gate] = ["started", "gate"].map(|name| directory.path().join(name));
    let pool = pool(1);
    // Short tasks first, so that some of the later ones are already at the worker.
    for x in 0..100_i64 {
        assert_eq!(result(pool.submit(|x: i64| x, (x,))), Ok(x));
    }
    let busy = pool.submit(starts_then_waits, (started.clone(), gate.clone()));
    let waiting: Vec<_> = (0..100_i64).map(|x| pool.submit(|x: i64| x, (x,))).collect();
    wait_for(started);
    pool.cancel_waiting();
    // The worker returns its queued tasks while it runs the first one.
    assert!(waiting.into_iter().all(|job| result(job) == Err(JobError::Cancelled)));
    fs::write(gate, "").unwrap();
    result(busy).unwrap();
    assert_eq!(pool.stats().started, 101);
    assert_eq!(result(pool.submit(|x: i64| x, (7,))), Ok(7));
}

#[test]
fn configuration_contains_all_options() {
    let budget = Budget { cores: Some(3), ..Budget::default() };
    let config = ProcessPoolConfig::new(2).budget(budget).replace_after(9);
    let text = serde_json::to_string::<dyn ExecutorConfig>(&config).unwrap();
    assert_eq!(text, r#"{"type":"processes","processes":2,"budget":{"cores":3},"replace_after":9}"#);
    let read: Box<dyn ExecutorConfig> = serde_json::from_str(&text).unwrap();
    assert!(*read == *(Box::new(config) as Box<dyn ExecutorConfig>));
}
