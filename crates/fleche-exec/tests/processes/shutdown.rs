//! Tests of the end of pools and workers, and of the state that workers share with the pool's process.

use std::{
    env, fs,
    io::{self, Read},
    path::PathBuf,
    process::{self, Command, Stdio},
    sync::{LazyLock, mpsc},
    thread,
};

use fleche_core::{Executor, ExecutorExt, JobError, executor::ExecutorConfig};
use fleche_exec::ProcessPool;
use nix::{fcntl::OFlag, sys::stat::Mode};

use super::common::{HANGS, pool, result, wait_for, whoami};

fn makes(file: PathBuf) {
    fs::write(file, "").unwrap();
}

fn opens_then_waits(opened: PathBuf, gate: PathBuf) {
    makes(opened);
    wait_for(gate);
}

#[test]
fn pool_that_is_shut_down_refuses_tasks() {
    let pool = pool(1);
    let before = pool.submit(whoami, ());
    pool.shutdown();
    assert!(before.is_done());
    match result(pool.submit(whoami, ())) {
        Err(JobError::Rejected { why }) => assert!(why.contains("shut down"), "{why}"),
        other => panic!("{other:?}"),
    }
}

#[test]
fn descriptors_without_close_on_exec_are_not_open_in_workers() {
    let directory = tempfile::tempdir().unwrap();
    let file = fs::canonicalize(directory.path()).unwrap().join("open");
    makes(file.clone());
    let _open = nix::fcntl::open(&file, OFlag::O_RDONLY, Mode::empty()).unwrap();
    let has = |files: &[(String, String)]| files.iter().any(|(_, open)| *open == file.display().to_string());
    assert!(has(&open_files()));
    let there = result(pool(1).submit(open_files, ())).unwrap();
    assert!(!has(&there), "{there:?}");
}

#[test]
fn dropping_a_pool_waits_for_accepted_tasks() {
    let directory = tempfile::tempdir().unwrap();
    let files: Vec<_> = (0..20).map(|at| directory.path().join(at.to_string())).collect();
    let pool = pool(2);
    for file in &files {
        drop(pool.submit(makes, (file.clone(),)));
    }
    drop(pool);
    assert!(files.iter().all(|file| file.exists()));
}

#[test]
fn task_that_is_cancelled_before_its_start_does_not_run() {
    let directory = tempfile::tempdir().unwrap();
    let (gate, made) = (directory.path().join("gate"), directory.path().join("made"));
    let pool = pool(1);
    let busy = pool.submit(wait_for, (gate.clone(),));
    let cancelled = pool.submit(makes, (made.clone(),));
    assert!(cancelled.cancel());
    makes(gate);
    result(busy).unwrap();
    assert_eq!(result(cancelled), Err(JobError::Cancelled));
    drop(pool);
    assert!(!made.exists());
}

#[test]
fn immediate_shutdown_kills_running_tasks_and_cancels_queued_ones() {
    let directory = tempfile::tempdir().unwrap();
    let (running, never) = (directory.path().join("running"), directory.path().join("never"));
    let pool = pool(1);
    let runs = pool.submit(opens_then_waits, (running.clone(), never));
    let waits = pool.submit(whoami, ());
    wait_for(running);
    pool.shutdown_now();
    assert_eq!(result(runs), Err(JobError::worker_died(Some(9), None)));
    assert_eq!(result(waits), Err(JobError::Cancelled));
}

#[test]
fn pool_created_on_a_thread_that_ends_keeps_its_workers() {
    let made = thread::spawn(|| {
        let pool = pool(1);
        let worker = result(pool.submit(whoami, ())).unwrap();
        (pool, worker)
    });
    let (pool, worker) = made.join().unwrap();
    assert_eq!(result(pool.submit(whoami, ())), Ok(worker));
    assert_eq!(pool.stats().workers, 1);
}

#[test]
fn body_may_submit_to_a_pool_of_its_own_process() {
    static POOL: LazyLock<ProcessPool> = LazyLock::new(|| pool(1));
    fn submits(x: i64) -> i64 {
        result(POOL.submit(|x: i64| x + 1, (x,))).unwrap() * 10
    }
    assert_eq!(result(POOL.submit(submits, (1,))), Ok(20));
    POOL.shutdown();
}

#[test]
fn configuration_opens_an_equal_pool() {
    let config = pool(3).config();
    let text = serde_json::to_string(&config).unwrap();
    assert_eq!(text, r#"{"type":"processes","processes":3}"#);
    let read: Box<dyn ExecutorConfig> = serde_json::from_str(&text).unwrap();
    let opened = read.open().unwrap();
    assert_eq!(result(opened.submit(|x: i64| -x, (1,))), Ok(-1));
}

/// Returns the descriptors of this process, with the files that they refer to.
fn open_files() -> Vec<(String, String)> {
    let entries = fs::read_dir("/proc/self/fd").unwrap().map(Result::unwrap);
    let files = entries.filter_map(|entry| {
        let number = entry.file_name().into_string().ok()?;
        Some((number, fs::read_link(entry.path()).ok()?.display().to_string()))
    });
    files.collect()
}

#[test]
fn worker_has_its_channel_an_empty_stdin_and_no_file_of_its_parent() {
    let directory = tempfile::tempdir().unwrap();
    let opened_here = directory.path().join("opened here");
    let _open = fs::File::create(&opened_here).unwrap();
    let files = result(pool(1).submit(open_files, ())).unwrap();
    assert!(files.contains(&("0".to_owned(), "/dev/null".to_owned())), "{files:?}");
    assert!(files.iter().all(|(_, file)| *file != opened_here.display().to_string()), "{files:?}");
    // One to read from and one to write to.
    assert_eq!(files.iter().filter(|(_, file)| file.starts_with("socket:")).count(), 2, "{files:?}");
}

#[allow(clippy::needless_pass_by_value)] // Submitted functions own their arguments.
fn reads_stdin_and_prints(text: String) -> String {
    println!("{text}");
    let mut read = String::new();
    io::stdin().read_to_string(&mut read).unwrap();
    read
}

/// A separate program, which the tests below run.
#[test]
#[ignore = "run by other tests"]
fn parent_process() {
    let Ok(role) = env::var("ROLE_OF_PARENT") else { return };
    let pool = pool(1);
    if role == "prints" {
        let read = result(pool.submit(reads_stdin_and_prints, ("printed by a body".to_owned(),)));
        assert_eq!(read.unwrap(), "");
    } else {
        let directory = PathBuf::from(role);
        let files = (directory.join("running"), directory.join("never"));
        drop(result(pool.submit(opens_then_waits, files)));
    }
}

fn parent(role: &str) -> Command {
    let mut command = Command::new(env::current_exe().unwrap());
    command.args(["shutdown::parent_process", "--exact", "--ignored", "--nocapture"]).env("ROLE_OF_PARENT", role);
    command.stdin(Stdio::piped()).stdout(Stdio::piped());
    command
}

#[test]
fn bodies_print_to_the_programs_stdout_and_read_nothing() {
    let output = parent("prints").output().unwrap();
    assert!(output.status.success());
    assert!(String::from_utf8(output.stdout).unwrap().contains("printed by a body"));
}

#[test]
fn no_worker_survives_a_killed_parent() {
    let directory = tempfile::tempdir().unwrap();
    let mut parent = parent(directory.path().to_str().unwrap()).spawn().unwrap();
    wait_for(directory.path().join("running"));
    parent.kill().unwrap();
    parent.wait().unwrap();
    // The worker has the parent's stdout too, so it ends when both are gone.
    let mut stdout = parent.stdout.take().unwrap();
    let (ended, end) = mpsc::channel();
    thread::spawn(move || {
        stdout.read_to_end(&mut Vec::new()).unwrap();
        ended.send(()).unwrap();
    });
    end.recv_timeout(HANGS).expect("the worker has ended");
}

#[test]
fn workers_do_not_outlive_their_pool() {
    let pool = pool(2);
    let workers: Vec<u32> = (0..4).map(|_| result(pool.submit(whoami, ())).unwrap()).collect();
    drop(pool);
    assert!(
        workers.iter().all(|worker| *worker != process::id() && !PathBuf::from(format!("/proc/{worker}")).exists())
    );
}
