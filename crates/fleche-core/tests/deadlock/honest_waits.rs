//! Tests of waits that look like a deadlock but are not, and of one wait for a lock that is.

use std::{
    io::{BufRead, BufReader, Write},
    process::{Command, Stdio},
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, Ordering::SeqCst},
        mpsc,
    },
    thread,
    time::Duration,
};

use fleche_core::{Cache, fleche};
use fleche_store_memory::{MemoryCalls, MemoryValues};

/// The environment variable that selects the task of a child process of this test binary; not set in an ordinary run.
const CHILD: &str = "FLECHE_TEST_HONEST_WAITS";

/// How long the holder of a lock rests: longer than it takes to conclude that the caller holds the lock.
const RESTS: Duration = Duration::from_secs(9);

/// A time limit that is longer than any wait here.
const HANGS: Duration = Duration::from_mins(2);

static RUNS: AtomicU64 = AtomicU64::new(0);
static LINES: Mutex<Option<mpsc::Receiver<String>>> = Mutex::new(None);

/// Waits for a line that another thread reads from standard input.
#[fleche]
fn read_elsewhere(x: u64) -> String {
    RUNS.fetch_add(1, SeqCst);
    let lines = LINES.lock().unwrap().take().expect("a second body runs");
    lines.recv().unwrap_or_else(|_| x.to_string())
}

/// Prints while it is computed.
#[fleche]
fn printed(x: u64) -> u64 {
    RUNS.fetch_add(1, SeqCst);
    thread::sleep(Duration::from_millis(300));
    println!("computing {x}");
    x
}

/// Computes while it holds the lock.
#[fleche(local, ignore(lock))]
fn locked(lock: &Mutex<u64>, x: u64) -> u64 {
    RUNS.fetch_add(1, SeqCst);
    x + *lock.lock().unwrap()
}

fn memory() -> Cache {
    Cache::new(MemoryValues::new(), MemoryCalls::new())
}

#[test]
fn child_process() {
    match std::env::var(CHILD).as_deref() {
        Ok("stdin") => {
            let (tell, lines) = mpsc::channel();
            *LINES.lock().unwrap() = Some(lines);
            thread::spawn(move || std::io::stdin().lock().lines().try_for_each(|line| tell.send(line.unwrap())));
            let cache = memory();
            let results: Vec<_> = thread::scope(|scope| {
                let calls: Vec<_> = (0..3).map(|_| scope.spawn(|| cache.scope(|| read_elsewhere(1)))).collect();
                calls.into_iter().map(|call| call.join().unwrap()).collect()
            });
            assert_eq!((&*results, RUNS.load(SeqCst)), (&["x".to_owned(), "x".to_owned(), "x".to_owned()][..], 1));
            println!("stdin was waited for");
        }
        Ok(kind @ ("stdout" | "stdout of a ticker")) => {
            // A progress ticker: a thread that sleeps and wakes. It may have a pointer to the lock of standard output.
            let out = (kind == "stdout of a ticker").then(std::io::stdout);
            thread::spawn(move || {
                let out = std::hint::black_box(out);
                loop {
                    thread::sleep(Duration::from_millis(250));
                    eprint!(".");
                    std::hint::black_box(&out);
                }
            });
            let cache = memory();
            thread::scope(|scope| {
                let other = scope.spawn(|| cache.scope(|| printed(1)));
                while cache.stats().misses == 0 {
                    thread::yield_now();
                }
                let mut out = std::io::stdout().lock();
                writeln!(out, "the result is {}", cache.scope(|| printed(1))).unwrap();
                drop(out);
                assert_eq!(other.join().unwrap(), 1);
            });
        }
        Ok(rest @ ("sleep" | "recv_timeout" | "park_timeout" | "join")) => {
            let rest = rest.to_owned();
            let (lock, cache) = (Arc::new(Mutex::new(1)), memory());
            let (tell, told) = mpsc::channel();
            let held = lock.clone();
            let holder = thread::spawn(move || {
                let guard = held.lock().unwrap();
                let sleeper = (rest == "join").then(|| thread::spawn(|| thread::sleep(RESTS)));
                let (_tells, never) = mpsc::channel::<()>();
                tell.send(()).unwrap();
                match &*rest {
                    "sleep" => thread::sleep(RESTS),
                    "recv_timeout" => drop(never.recv_timeout(RESTS)),
                    "park_timeout" => thread::park_timeout(RESTS),
                    _ => sleeper.unwrap().join().unwrap(),
                }
                drop(guard);
            });
            told.recv().unwrap();
            let lock = std::hint::black_box(lock);
            thread::scope(|scope| {
                let other = scope.spawn(|| cache.scope(|| locked(&lock, 1)));
                while cache.stats().misses == 0 {
                    thread::yield_now();
                }
                assert_eq!((cache.scope(|| locked(&lock, 1)), other.join().unwrap()), (2, 2));
            });
            holder.join().unwrap();
            println!("bodies: {}, cycles: {}", RUNS.load(SeqCst), cache.stats().cycles_broken);
        }
        _ => {}
    }
}

fn spawn(kind: &str) -> std::process::Child {
    let mut child = Command::new(std::env::current_exe().unwrap());
    child.args(["--exact", "honest_waits::child_process", "--nocapture"]).env(CHILD, kind);
    child.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap()
}

/// Returns whether the child prints this line and ends. Kills it if it does not end.
fn says(child: &mut std::process::Child, line: &str) -> bool {
    let (tell, told) = mpsc::channel();
    let out = BufReader::new(child.stdout.take().unwrap());
    thread::spawn(move || tell.send(out.lines().map_while(Result::ok).collect::<Vec<_>>()));
    let Ok(said) = told.recv_timeout(HANGS) else {
        child.kill().unwrap();
        return false;
    };
    said.iter().any(|said| said.contains(line))
}

#[test]
fn body_that_waits_for_stdin_is_not_computed_twice() {
    let mut child = spawn("stdin");
    let mut stdin = child.stdin.take().unwrap();
    // Longer than it takes to detect a deadlock.
    thread::sleep(Duration::from_secs(8));
    writeln!(stdin, "x").unwrap();
    assert!(says(&mut child, "stdin was waited for"));
    assert!(child.wait().unwrap().success());
}

#[test]
fn call_waits_for_a_lock_that_a_resting_thread_holds() {
    for mut child in ["sleep", "recv_timeout", "park_timeout", "join"].map(spawn) {
        assert!(says(&mut child, "bodies: 1, cycles: 0"));
        assert!(child.wait().unwrap().success());
    }
}

#[test]
fn waiting_caller_that_holds_a_lock_proceeds() {
    for mut child in ["stdout", "stdout of a ticker"].map(spawn) {
        assert!(says(&mut child, "the result is 1"));
        assert!(child.wait().unwrap().success());
    }
}
