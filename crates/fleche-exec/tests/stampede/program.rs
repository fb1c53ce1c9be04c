//! The programs: what they are told, a line each, and what they answer.

use std::{
    env,
    fs::{self, OpenOptions},
    io::{BufRead, BufReader, Lines, Write, stdin},
    path::{Path, PathBuf},
    process::{Child, ChildStdin, ChildStdout, Command, Stdio},
    sync::{Barrier, mpsc},
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

/// Longer than anything here takes: what is not there by then hangs.
pub(crate) const HANGS: Duration = Duration::from_mins(2);

/// What a program does with the words of a line; the answer is a line too.
pub(crate) type Act = fn(&Path, &[&str]) -> String;

/// All that programs can be told.
const ACTS: &[(&str, Act)] = &[
    ("stampede", crate::many::stampede),
    ("tasks", crate::many::tasks),
    ("pool", crate::many::pool),
    ("fatal", crate::kills::call),
    ("fails", crate::ends::fails),
    ("stops", crate::ends::stops),
    ("circles", crate::circles::circles),
];

const DIRECTORY: &str = "FLECHE_TEST_DIRECTORY";

/// The program. Does what it is told until there is nothing more.
#[test]
fn program() {
    let Some(directory) = env::var_os(DIRECTORY).map(PathBuf::from) else { return };
    let cache = cache(&directory);
    for line in orders() {
        let words: Vec<_> = line.split(' ').collect();
        let (_, act) = ACTS.iter().find(|(name, _)| *name == words[0]).expect("it is an act");
        let _active = cache.enter();
        // The test harness, of this program and of its workers, leaves lines unfinished.
        println!("\ndone {}", act(&directory, &words[1..]));
    }
}

/// What the program is told. It ends with whoever tells it, whatever it is doing.
fn orders() -> mpsc::Receiver<String> {
    let (tell, told) = mpsc::channel();
    thread::spawn(move || {
        for line in stdin().lines().map_while(Result::ok) {
            let _ = tell.send(line);
        }
        std::process::exit(0);
    });
    told
}

/// The cache that all programs share.
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
            .args(["program::program", "--exact", "--nocapture", "--test-threads=1"])
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
        // One that was killed hears nothing.
        let _ = writeln!(self.orders, "{line}");
    }

    /// Its next answer; `None` where it is dead.
    pub(crate) fn answer(&mut self) -> Option<String> {
        let mut lines = self.answers.by_ref().map_while(Result::ok);
        lines.find_map(|line| line.strip_prefix("done ").map(str::to_owned))
    }

    pub(crate) fn signal(&self, signal: Signal) {
        kill(self.pid(), signal).unwrap();
    }

    /// Stops all of it.
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

/// Runs the closure on so many threads at once; what they give, in words.
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

/// Notes that a body runs, in one line that no other tears.
pub(crate) fn note(directory: &Path, what: &str) {
    let mut log = OpenOptions::new().create(true).append(true).open(directory.join("bodies")).unwrap();
    log.write_all(format!("{what} by {}\n", std::process::id()).as_bytes()).unwrap();
}

/// The bodies that have run.
pub(crate) fn noted(directory: &Path) -> Vec<String> {
    fs::read_to_string(directory.join("bodies")).unwrap_or_default().lines().map(str::to_owned).collect()
}

/// Forgets the bodies that have run.
pub(crate) fn forget(directory: &Path) {
    let _ = fs::remove_file(directory.join("bodies"));
}

/// Lets so much time pass, as a body does that works.
pub(crate) fn work_for(time: Duration) {
    let begun = Instant::now();
    while let Some(left) = time.checked_sub(begun.elapsed()) {
        thread::park_timeout(left);
    }
}

/// Returns once it holds.
pub(crate) fn until(what: &str, holds: impl Fn() -> bool) {
    let since = Instant::now();
    while !holds() {
        assert!(since.elapsed() < HANGS, "it never holds that {what}");
        thread::park_timeout(Duration::from_millis(1));
    }
}

/// That nobody has a claim of what is recorded.
pub(crate) fn nothing_is_locked(directory: &Path) -> Result<(), Error> {
    let calls = FileCalls::open(directory.join("calls"))?;
    for key in calls.keys(&DigestPrefix::all())? {
        let key = key?;
        assert!(matches!(calls.claim(&key)?, Claim::Held(_)), "{key} is claimed");
    }
    Ok(())
}
