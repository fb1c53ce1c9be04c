//! Ctrl-C in a separate program: this test binary, run again.
#![cfg(target_os = "linux")]

use std::{
    env, fs,
    io::{BufRead, BufReader, Lines},
    os::unix::process::ExitStatusExt,
    path::{Path, PathBuf},
    process::{Child, ChildStdout, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use fleche_core::{Cache, Executor, ExecutorExt, fleche, wrap_executor};
use fleche_exec::{ProcessPool, ThreadPool, cancel_on_ctrl_c};
use fleche_store_file::{FileCalls, FileValues};
use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};

fleche_exec::worker_test!();

/// Creates the file `started` when it starts, and ends when the file `gate` exists.
#[fleche]
fn held(#[by_name] directory: PathBuf, x: u64) -> u64 {
    fs::write(directory.join("started"), b"").expect("the directory exists");
    wait_for(&directory.join("gate"));
    x
}

fn wait_for(file: &Path) {
    let since = Instant::now();
    while !file.exists() {
        assert!(since.elapsed() < Duration::from_mins(1), "timed out waiting for {}", file.display());
        thread::park_timeout(Duration::from_millis(1));
    }
}

fn cache(directory: &Path) -> Cache {
    Cache::new(FileValues::open(directory.join("values")).unwrap(), FileCalls::open(directory.join("calls")).unwrap())
}

/// The program that is interrupted. Prints the outcome of each of its jobs on a line.
#[test]
fn program_process() {
    let (Some(directory), Ok(executor)) = (env::var_os("FLECHE_TEST_DIRECTORY"), env::var("FLECHE_TEST_EXECUTOR"))
    else {
        return;
    };
    let directory = PathBuf::from(directory);
    cancel_on_ctrl_c().unwrap();
    cancel_on_ctrl_c().unwrap();
    let _active = cache(&directory).enter();
    if executor == "never cancelled" {
        takes_forever_to_cancel(&directory);
    } else if executor == "threads" {
        interrupted(&wrap_executor(ThreadPool::new(1).unwrap()), &directory);
    } else {
        interrupted(&wrap_executor(ProcessPool::new(1).unwrap()), &directory);
    }
}

fn interrupted(pool: &impl Executor, directory: &Path) {
    let running = pool.submit(held, (directory.to_owned(), 0));
    let waiting: Vec<_> = (1..4).map(|x| pool.submit(held, (directory.to_owned(), x))).collect();
    wait_for(&directory.join("started"));
    println!("\nready");
    for job in waiting {
        println!("{:?}", job.result());
    }
    println!("{:?}", running.result());
}

/// Submits a job whose callback does not return when the job is cancelled.
fn takes_forever_to_cancel(directory: &Path) {
    let pool = ThreadPool::new(1).unwrap();
    let running = pool.submit(held, (directory.to_owned(), 0));
    pool.submit(held, (directory.to_owned(), 1)).on_done(|| {
        println!("\ncancelling");
        loop {
            thread::park();
        }
    });
    wait_for(&directory.join("started"));
    println!("\nready");
    println!("{:?}", running.result());
}

struct Program {
    child: Child,
    lines: Lines<BufReader<ChildStdout>>,
    directory: tempfile::TempDir,
}

impl Program {
    fn start(executor: &str) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let mut child = Command::new(env::current_exe().unwrap())
            .args(["program_process", "--exact", "--nocapture", "--test-threads=1"])
            .env("FLECHE_TEST_DIRECTORY", directory.path())
            .env("FLECHE_TEST_EXECUTOR", executor)
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let mut program = Self { child, lines, directory };
        program.expect("ready");
        program
    }

    fn expect(&mut self, line: &str) {
        let found = self.lines.by_ref().map_while(Result::ok).any(|said| said == line);
        assert!(found, "the program did not print `{line}`");
    }

    fn interrupt(&self) {
        kill(Pid::from_raw(i32::try_from(self.child.id()).unwrap()), Signal::SIGINT).unwrap();
    }

    /// Interrupts the program, and waits until its queued jobs are cancelled.
    fn interrupt_once(&mut self) {
        self.interrupt();
        for _ in 0..3 {
            self.expect("Err(Cancelled)");
        }
    }
}

fn keeps_what_runs(executor: &str) {
    let mut program = Program::start(executor);
    program.interrupt_once();
    fs::write(program.directory.path().join("gate"), b"").unwrap();
    program.expect("Ok(0)");
    assert!(program.child.wait().unwrap().success());
    let _active = cache(program.directory.path()).enter();
    let recorded = |x| held::load(program.directory.path().to_owned(), x).unwrap();
    assert_eq!((0..4).map(recorded).collect::<Vec<_>>(), [Some(0), None, None, None]);
}

#[test]
fn interrupt_cancels_queued_tasks_and_keeps_running_ones_in_threads() {
    keeps_what_runs("threads");
}

#[test]
fn interrupt_cancels_queued_tasks_and_keeps_running_ones_in_processes() {
    keeps_what_runs("processes");
}

#[test]
fn second_interrupt_ends_the_program_by_the_signal() {
    for executor in ["threads", "processes"] {
        let mut program = Program::start(executor);
        program.interrupt_once();
        program.interrupt();
        assert_eq!(program.child.wait().unwrap().signal(), Some(Signal::SIGINT as i32));
    }
}

#[test]
fn second_interrupt_ends_the_program_while_callbacks_still_run() {
    let mut program = Program::start("never cancelled");
    program.interrupt();
    program.expect("cancelling");
    program.interrupt();
    assert_eq!(program.child.wait().unwrap().signal(), Some(Signal::SIGINT as i32));
}
