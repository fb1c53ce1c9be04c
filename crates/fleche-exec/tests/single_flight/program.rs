//! The programs: they read commands, one per line, and answer each with a line.

use std::{
    env,
    fs::{self, OpenOptions},
    io::{BufRead, BufReader, Lines, Write, stdin},
    path::{Path, PathBuf},
    process::{Child, ChildStdin, ChildStdout, Command, Stdio},
    sync::Barrier,
    thread,
    time::{Duration, Instant},
};

use fleche_core::{Cache, CallStore, DigestPrefix, Error, claim::Claim};
use fleche_store_file::{FileCalls, FileValues};
use nix::{
    sys::{
        signal::{Signal, kill},
        wait::{WaitPidFlag, WaitStatus, waitpid},
    },
    unistd::Pid,
};

/// A time limit that is longer than any test takes: a condition that does not hold by then never will.
pub(crate) const HANGS: Duration = Duration::from_mins(2);

/// A function that performs a command with the words of its line, and returns the answer.
pub(crate) type Action = fn(&Path, &[&str]) -> String;

/// All commands.
const COMMANDS: &[(&str, Action)] = &[
    ("threads", crate::callers::threads),
    ("tasks", crate::callers::tasks),
    ("pool", crate::callers::pool),
    ("cycles", crate::callers::cycles),
    ("fatal", crate::failures::fatal),
    ("fails", crate::failures::fails),
    ("stops", crate::failures::stops),
];

const DIRECTORY: &str = "FLECHE_TEST_DIRECTORY";

/// The program. Performs commands until its stdin ends.
#[test]
fn program_process() {
    let Some(directory) = env::var_os(DIRECTORY).map(PathBuf::from) else { return };
    end_with_parent();
    let cache = cache(&directory);
    for line in stdin().lines().map_while(Result::ok) {
        let words: Vec<_> = line.split(' ').collect();
        let (_, command) = COMMANDS.iter().find(|(name, _)| *name == words[0]).expect("the command is known");
        let _active = cache.enter();
        // The test harness, of this program and of its workers, leaves lines unfinished.
        println!("\ndone {}", command(&directory, &words[1..]));
    }
}

/// Ends the program when the test that started it ends, at any time.
///
/// No thread reads ahead: one that waits for input may be about to continue others, so deadlocks are then noticed only
/// after minutes.
fn end_with_parent() {
    #[cfg(target_os = "linux")]
    nix::sys::prctl::set_pdeathsig(Signal::SIGKILL).unwrap();
}

/// Returns the cache that all programs share.
pub(crate) fn cache(directory: &Path) -> Cache {
    Cache::new(FileValues::open(directory.join("values")).unwrap(), FileCalls::open(directory.join("calls")).unwrap())
}

pub(crate) struct Program {
    child: Child,
    orders: ChildStdin,
    answers: Lines<BufReader<ChildStdout>>,
}

impl Program {
    pub(crate) fn start(directory: &Path) -> Self {
        let mut child = Command::new(env::current_exe().unwrap())
            .args(["program::program_process", "--exact", "--nocapture", "--test-threads=1"])
            .env(DIRECTORY, directory)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let (orders, answers) = (child.stdin.take().unwrap(), child.stdout.take().unwrap());
        Self { child, orders, answers: BufReader::new(answers).lines() }
    }

    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    pub(crate) fn tell(&mut self, line: &str) {
        // A killed program reads nothing.
        let _ = writeln!(self.orders, "{line}");
    }

    /// Returns the program's next answer, or `None` if the program is dead.
    pub(crate) fn answer(&mut self) -> Option<String> {
        let mut lines = self.answers.by_ref().map_while(Result::ok);
        lines.find_map(|line| line.strip_prefix("done ").map(str::to_owned))
    }

    pub(crate) fn signal(&self, signal: Signal) {
        kill(self.pid(), signal).unwrap();
    }

    /// Stops all threads of the program.
    pub(crate) fn stop(&self) {
        self.signal(Signal::SIGSTOP);
        let stopped = waitpid(self.pid(), Some(WaitPidFlag::WUNTRACED)).unwrap();
        assert_eq!(stopped, WaitStatus::Stopped(self.pid(), Signal::SIGSTOP));
    }

    fn pid(&self) -> Pid {
        Pid::from_raw(i32::try_from(self.id()).unwrap())
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Runs the closure on this many threads at the same time. Returns the results, separated by spaces.
pub(crate) fn on_threads(threads: usize, run: impl Fn(usize) -> u64 + Sync) -> String {
    let (barrier, cache) = (Barrier::new(threads), fleche_core::active_cache());
    let results: Vec<_> = thread::scope(|scope| {
        let one = |number| {
            let (barrier, run, cache) = (&barrier, &run, &cache);
            scope.spawn(move || {
                barrier.wait();
                cache.scope(|| run(number)).to_string()
            })
        };
        let threads: Vec<_> = (0..threads).map(one).collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).collect()
    });
    results.join(" ")
}

/// Notes that a body runs, in one write that is not interleaved with others.
pub(crate) fn note(directory: &Path, what: &str) {
    let mut log = OpenOptions::new().create(true).append(true).open(directory.join("bodies")).unwrap();
    log.write_all(format!("{what} by {}\n", std::process::id()).as_bytes()).unwrap();
}

/// Returns the bodies that have run.
pub(crate) fn noted(directory: &Path) -> Vec<String> {
    fs::read_to_string(directory.join("bodies")).unwrap_or_default().lines().map(str::to_owned).collect()
}

/// Forgets the bodies that have run.
pub(crate) fn forget(directory: &Path) {
    let _ = fs::remove_file(directory.join("bodies"));
}

/// Works for this long, like a body.
pub(crate) fn work_for(time: Duration) {
    let begun = Instant::now();
    while let Some(left) = time.checked_sub(begun.elapsed()) {
        thread::park_timeout(left);
    }
}

/// Returns once the condition holds.
pub(crate) fn until(what: &str, holds: impl Fn() -> bool) {
    let since = Instant::now();
    while !holds() {
        assert!(since.elapsed() < HANGS, "timed out waiting until {what}");
        thread::park_timeout(Duration::from_millis(1));
    }
}

/// Checks that no recorded call is claimed.
pub(crate) fn nothing_is_locked(directory: &Path) -> Result<(), Error> {
    let calls = FileCalls::open(directory.join("calls"))?;
    for key in calls.keys(&DigestPrefix::all())? {
        let key = key?;
        assert!(matches!(calls.claim(&key)?, Claim::Held(_)), "{key} is claimed");
    }
    Ok(())
}
