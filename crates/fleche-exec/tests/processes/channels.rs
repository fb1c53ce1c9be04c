//! Channels that another process holds open after a worker or its pool has ended, and channels that a body writes into.
#![allow(unsafe_code)] // Forks without exec, and uses descriptors that it did not open, as foreign code may.

use std::{
    env, fs,
    os::fd::BorrowedFd,
    path::{Path, PathBuf},
    process::{self, Command},
    thread,
    time::{Duration, Instant},
};

use fleche_core::{ExecutorExt, JobError};
use nix::{
    sys::signal::{Signal, kill},
    unistd::{ForkResult, Pid, alarm, fork, getpgid, pause, setsid, write},
};

use super::common::{HANGS, pool, result, wait_for, whoami};

/// Forks a process that inherits all descriptors, writes its id to the file, and leaves it running.
fn leaves_a_descendant(note: &Path) {
    // SAFETY: the child calls nothing but functions that are safe between `fork` and `exec`.
    match unsafe { fork() }.unwrap() {
        ForkResult::Child => {
            // It leaves the process group that the pool kills, and ends by itself if no test ends it.
            let _ = setsid();
            alarm::set(120);
            pause();
            process::abort()
        }
        ForkResult::Parent { child } => {
            while getpgid(Some(child)) != Ok(child) {
                thread::yield_now();
            }
            let written = note.with_extension("written");
            fs::write(&written, child.to_string()).unwrap();
            fs::rename(written, note).unwrap();
        }
    }
}

/// A process whose id was noted. Dropping this kills it.
struct Noted(Pid);

impl Noted {
    fn read(note: &Path) -> Self {
        wait_for(note.to_owned());
        Self(Pid::from_raw(fs::read_to_string(note).unwrap().parse().unwrap()))
    }

    fn lives(&self) -> bool {
        // A zombie counts as dead.
        let stat = fs::read_to_string(format!("/proc/{}/stat", self.0)).unwrap_or_default();
        stat.rsplit_once(')').is_some_and(|(_, rest)| !rest.trim_start().starts_with(['Z', 'X']))
    }
}

impl Drop for Noted {
    fn drop(&mut self) {
        let _ = kill(self.0, Signal::SIGKILL);
    }
}

#[allow(clippy::needless_pass_by_value)] // Submitted functions own their arguments.
fn forks_and_exits(note: PathBuf) {
    leaves_a_descendant(&note);
    process::exit(3)
}

#[allow(clippy::needless_pass_by_value)] // Submitted functions own their arguments.
fn forks_and_returns(note: PathBuf) -> u32 {
    leaves_a_descendant(&note);
    process::id()
}

#[test]
fn death_of_a_worker_is_noticed_while_a_descendant_holds_its_channel() {
    let directory = tempfile::tempdir().unwrap();
    let note = directory.path().join("descendant");
    let pool = pool(1);
    let lost = pool.submit(forks_and_exits, (note.clone(),));
    let descendant = Noted::read(&note);
    assert_eq!(result(lost), Err(JobError::worker_died(None, Some(3))));
    assert!(result(pool.submit(whoami, ())).is_ok());
    drop(pool);
    assert!(descendant.lives());
}

#[test]
fn pool_shuts_down_while_a_descendant_holds_its_workers_channel() {
    let directory = tempfile::tempdir().unwrap();
    for (name, at_once) in [("first", true), ("second", false)] {
        let note = directory.path().join(name);
        let pool = pool(1);
        let worker = result(pool.submit(forks_and_returns, (note.clone(),))).unwrap();
        let descendant = Noted::read(&note);
        assert_eq!(result(pool.submit(whoami, ())), Ok(worker));
        if at_once {
            pool.shutdown_now();
        } else {
            pool.shutdown();
        }
        assert!(descendant.lives());
    }
}

/// Writes the bytes into the first socket of this process, which is the worker's channel. Returns how many were
/// written.
#[allow(clippy::needless_pass_by_value)] // Submitted functions own their arguments.
fn writes_into_sockets(bytes: Vec<u8>) -> usize {
    let mut written = 0;
    for entry in fs::read_dir("/proc/self/fd").unwrap().map(Result::unwrap) {
        let is_socket = fs::read_link(entry.path()).is_ok_and(|link| link.to_string_lossy().starts_with("socket:"));
        let number = entry.file_name().to_str().unwrap().parse().unwrap();
        if is_socket && written == 0 {
            // SAFETY: the descriptor stays open as long as the worker lives.
            written = write(unsafe { BorrowedFd::borrow_raw(number) }, &bytes).unwrap();
        }
    }
    written
}

#[test]
fn body_that_writes_into_its_workers_channel_loses_only_its_own_task() {
    let pool = pool(1);
    let claimed = [(1_u64 << 40).to_le_bytes(), [4; 8], [1; 8]].concat();
    for (at, bytes) in
        [vec![0xff; 64], vec![0; 200], b"hi".to_vec(), b"printed by a body\n".to_vec(), claimed].into_iter().enumerate()
    {
        let before = pool.submit(whoami, ());
        let lost = pool.submit(writes_into_sockets, (bytes.clone(),));
        let after = pool.submit(whoami, ());
        let lost = result(lost);
        assert!(matches!(lost, Err(JobError::WorkerLost(_))), "{lost:?} for {bytes:?}");
        assert_ne!(result(before).unwrap(), result(after).unwrap());
        assert_eq!(pool.stats().lost, at as u64 + 1);
    }
}

#[allow(clippy::needless_pass_by_value)] // Submitted functions own their arguments.
fn notes_itself_and_waits(note: PathBuf, never: PathBuf) {
    fs::write(note.with_extension("written"), process::id().to_string()).unwrap();
    fs::rename(note.with_extension("written"), note).unwrap();
    wait_for(never);
}

/// A separate program, which the test below runs and kills.
#[test]
#[ignore = "run by another test"]
fn parent_process_whose_channel_is_held() {
    let Some(directory) = env::var_os("DIRECTORY_OF_PARENT").map(PathBuf::from) else { return };
    let pool = pool(1);
    let job = pool.submit(notes_itself_and_waits, (directory.join("worker"), directory.join("never")));
    wait_for(directory.join("worker"));
    leaves_a_descendant(&directory.join("descendant"));
    drop(result(job));
}

#[test]
fn worker_ends_with_its_parent_while_another_process_holds_the_channel() {
    let directory = tempfile::tempdir().unwrap();
    let mut parent = Command::new(env::current_exe().unwrap())
        .args(["channels::parent_process_whose_channel_is_held", "--exact", "--ignored", "--nocapture"])
        .env("DIRECTORY_OF_PARENT", directory.path())
        .spawn()
        .unwrap();
    let worker = Noted::read(&directory.path().join("worker"));
    let descendant = Noted::read(&directory.path().join("descendant"));
    parent.kill().unwrap();
    parent.wait().unwrap();
    let since = Instant::now();
    while worker.lives() {
        assert!(since.elapsed() < HANGS, "the worker is still alive");
        thread::park_timeout(Duration::from_millis(1));
    }
    assert!(descendant.lives());
}
