//! Tests of processes whose clocks differ by minutes and that share a directory.
#![cfg(all(target_os = "linux", target_pointer_width = "64", target_env = "gnu"))]

use std::{
    env, fs,
    io::{self, BufRead, BufReader, Write},
    path::Path,
    process::{self, Child, ChildStdin, ChildStdout, Command, Stdio},
    sync::Arc,
    time::{Duration, SystemTime},
};

use fleche_conformance::skew_clock;
use fleche_core::{
    CallStore, Digest, ValueStore,
    claim::{Claim, ClaimGuard},
};
use fleche_store_file::{ClaimMethod, FileCalls, FileCallsConfig, FileValues};

const MINUTE: Duration = Duration::from_mins(1);
const VALUE: &[u8] = b"value";

/// A child process whose clock is ahead or behind, and which executes orders.
struct Skewed {
    child: Child,
    orders: ChildStdin,
    answers: BufReader<ChildStdout>,
}

impl Skewed {
    /// Starts the process with a clock that differs by this number of seconds.
    fn new(offset: i64, root: &Path) -> Self {
        let mut command = Command::new(env::current_exe().unwrap());
        command.args(["--exact", "child_process", "--nocapture"]).env("FLECHE_CHILD_ROOT", root);
        skew_clock(&mut command, offset, root);
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let answers = BufReader::new(child.stdout.take().unwrap());
        let mut skewed = Self { orders: child.stdin.take().unwrap(), child, answers };
        let its_clock: u64 = skewed.request("clock").parse().unwrap();
        let skew = seconds().abs_diff(its_clock);
        assert!((4 * 60..6 * 60).contains(&skew), "the clock of the child process differs by {skew} s");
        skewed
    }

    fn request(&mut self, order: &str) -> String {
        writeln!(self.orders, "{order}").unwrap();
        loop {
            let mut line = String::new();
            assert_ne!(self.answers.read_line(&mut line).unwrap(), 0, "the child process ended");
            if let Some((_, answer)) = line.trim_end().split_once("> ") {
                return answer.to_owned();
            }
        }
    }
}

impl Drop for Skewed {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn seconds() -> u64 {
    SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap().as_secs()
}

const OFFSETS: [i64; 2] = [5 * 60, -5 * 60];

/// Returns the processes with clocks that are ahead and behind, in both orders.
fn pairs(root: &Path) -> [[Skewed; 2]; 2] {
    let [ahead, behind] = OFFSETS;
    [[ahead, behind], [behind, ahead]].map(|pair| pair.map(|offset| Skewed::new(offset, root)))
}

/// Executes the orders in a child process; does nothing in the parent process.
#[test]
fn child_process() {
    let Some(root) = env::var_os("FLECHE_CHILD_ROOT") else { return };
    let values = FileValues::open(Path::new(&root).join("values")).unwrap();
    let config = FileCallsConfig::new(Path::new(&root).join("calls")).claims(ClaimMethod::Leases);
    let calls = FileCalls::open_with(&config).unwrap();
    let (key, id) = (Digest::hash(b"call").into(), Digest::hash(VALUE));
    let mut held: Option<Arc<dyn ClaimGuard>> = None;
    for order in io::stdin().lines() {
        let answer = match order.unwrap().as_str() {
            "clock" => seconds().to_string(),
            "claim" => match calls.claim(&key).unwrap() {
                Claim::Held(claim) => {
                    held = Some(claim);
                    "held".to_owned()
                }
                other => format!("{other:?}"),
            },
            "holds" => held.as_ref().is_some_and(|claim| !claim.is_expired()).to_string(),
            "release" => held.take().is_some().to_string(),
            "put" => format!("{:?}", values.put(&id, VALUE)),
            "age" => values.age(&id).unwrap().unwrap().as_secs().to_string(),
            "collect" => values.remove(&id, Some(MINUTE)).unwrap().to_string(),
            other => panic!("unknown order {other}"),
        };
        // One write, since the test harness may have begun a line.
        io::stdout().write_all(format!("> {answer}\n").as_bytes()).unwrap();
    }
    process::exit(0);
}

#[test]
fn lease_is_respected_by_processes_with_other_clocks() {
    let root = tempfile::tempdir().unwrap();
    for [mut holder, mut other] in pairs(root.path()) {
        assert_eq!(holder.request("claim"), "held");
        for _ in 0..10 {
            assert_eq!(other.request("claim"), "Taken");
        }
        assert_eq!(holder.request("holds"), "true");
        assert_eq!(holder.request("release"), "true");
        assert_eq!(other.request("claim"), "held");
        assert_eq!(holder.request("claim"), "Taken");
    }
}

#[test]
fn expired_lease_is_taken_over_by_processes_with_other_clocks() {
    let root = tempfile::tempdir().unwrap();
    for [mut holder, mut other] in pairs(root.path()) {
        assert_eq!(holder.request("claim"), "held");
        let lease = fs::read_dir(root.path().join("calls/leases")).unwrap().next().unwrap().unwrap().path();
        // The time of the holder's last renewal is half a minute ago, by the clock of the file system.
        let expired = SystemTime::now() - Duration::from_secs(31);
        fs::File::open(lease).unwrap().set_modified(expired).unwrap();
        assert_eq!(other.request("claim"), "held");
        assert_eq!(holder.request("claim"), "Taken");
    }
}

#[test]
fn fresh_value_is_not_collected_by_processes_with_other_clocks() {
    let root = tempfile::tempdir().unwrap();
    for [mut writer, mut other] in pairs(root.path()) {
        // The first `put` writes the value, and the second one sets its time.
        for _ in 0..2 {
            assert_eq!(writer.request("put"), "Ok(())");
            for process in [&mut writer, &mut other] {
                let age: u64 = process.request("age").parse().unwrap();
                assert!(age < 60, "{age} s");
                assert_eq!(process.request("collect"), "false");
            }
        }
    }
}

#[test]
fn old_value_is_collected_by_processes_with_other_clocks() {
    let root = tempfile::tempdir().unwrap();
    let id = Digest::hash(VALUE).to_string();
    for offset in OFFSETS {
        let mut process = Skewed::new(offset, root.path());
        assert_eq!(process.request("put"), "Ok(())");
        let file = root.path().join("values").join(&id[..2]).join(&id[2..]);
        fs::File::open(file).unwrap().set_modified(SystemTime::now() - 2 * MINUTE).unwrap();
        assert_eq!(process.request("collect"), "true");
    }
}
