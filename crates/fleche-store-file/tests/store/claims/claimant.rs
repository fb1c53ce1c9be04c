//! Child processes that request claims on command.

use std::{
    collections::HashMap,
    env,
    fs::File,
    io::{self, BufRead, BufReader, Write},
    path::Path,
    process::{self, Child, ChildStdin, Command, Stdio},
    sync::{Arc, Mutex, mpsc},
    thread,
};

use fleche_core::{
    CallStore,
    claim::{Claim, ClaimGuard},
};
use fleche_store_file::{ClaimMethod, FileCalls, FileCallsConfig};

use super::TIMEOUT;
use crate::store::common::{key, task};

/// Starts two processes that wait for claim 1, which another process holds.
pub(super) fn two_waiting(root: &Path) -> [Claimant; 2] {
    [(); 2].map(|()| {
        let mut claimant = Claimant::new(root);
        assert_eq!(claimant.request("wait 1"), "waiting");
        claimant
    })
}

/// Checks that claim 1 goes to one of two waiting processes, and to the other one after the first has released it.
pub(super) fn assert_claim_goes_to_one_after_the_other(mut waiting: [Claimant; 2]) {
    while waiting[0].has_sent_nothing() {
        waiting.swap(0, 1);
        thread::yield_now();
    }
    let [first, second] = &mut waiting;
    assert_eq!(second.request("claim 1"), "taken");
    assert_eq!(first.request("release 1"), "released");
    assert_eq!(second.receive(), "got 1");
}

/// A child process of this test binary that executes orders.
pub(super) struct Claimant {
    pub(super) child: Child,
    orders: ChildStdin,
    answers: mpsc::Receiver<String>,
}

impl Claimant {
    pub(super) fn new(root: &Path) -> Self {
        Self::with("", root)
    }

    /// Starts a child process with a task to run before the orders.
    pub(super) fn with(before: &str, root: &Path) -> Self {
        let mut child = Command::new(env::current_exe().unwrap())
            .args(["--exact", "store::claims::claimant::claimant_process", "--nocapture"])
            .env("FLECHE_CHILD_TASK", before)
            .env("FLECHE_CHILD_ROOT", root)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let (sender, answers) = mpsc::channel();
        let output = BufReader::new(child.stdout.take().unwrap());
        thread::spawn(move || {
            let lines = output.lines().map_while(Result::ok);
            let mut said = lines.filter_map(|line| Some(line.split_once("> ")?.1.to_owned()));
            said.all(|line| sender.send(line).is_ok())
        });
        Self { orders: child.stdin.take().unwrap(), child, answers }
    }

    pub(super) fn send(&mut self, order: &str) {
        writeln!(self.orders, "{order}").unwrap();
    }

    pub(super) fn receive(&self) -> String {
        self.answers.recv_timeout(TIMEOUT).unwrap()
    }

    pub(super) fn has_sent_nothing(&self) -> bool {
        self.answers.try_recv().is_err()
    }

    pub(super) fn request(&mut self, order: &str) -> String {
        self.send(order);
        self.receive()
    }

    pub(super) fn id(&self) -> u32 {
        self.child.id()
    }

    pub(super) fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }
}

impl Drop for Claimant {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Returns whether another process sees any lock: a locked byte of the lock file, or a lock file of a claim.
pub(super) fn is_locked(root: &Path) -> bool {
    Claimant::new(root).request("probe") == "locked"
}

type Claims = Arc<Mutex<HashMap<u32, Arc<dyn ClaimGuard>>>>;

/// Executes the orders in a child process; does nothing in the parent process.
#[test]
fn claimant_process() {
    let Some((before, root)) = task() else { return };
    let (method, before) = match before.strip_prefix("by locks") {
        Some(rest) => (ClaimMethod::Locks, rest),
        None if before == "by leases" => (ClaimMethod::Leases, ""),
        None => (ClaimMethod::Auto, before.as_str()),
    };
    #[cfg(target_os = "linux")]
    if let Some(what) = before.trim_start().strip_prefix("without ") {
        super::without_locks::without(what);
    }
    let calls = FileCalls::open_with(&FileCallsConfig::new(&root).claims(method)).unwrap();
    let claims = Claims::default();
    for order in io::stdin().lines() {
        let order = order.unwrap();
        let (verb, argument) = order.split_once(' ').unwrap_or((&order, "0"));
        let number = argument.parse().unwrap();
        match verb {
            "claim" => match calls.claim(&key(number)).unwrap() {
                Claim::WithinProcess => print_line("within process"),
                Claim::Taken(_) => print_line("taken"),
                Claim::Held(held) => {
                    claims.lock().unwrap().insert(number, held);
                    print_line("held");
                }
            },
            "wait" => wait(&calls, number, &claims),
            "release" => {
                let held = claims.lock().unwrap().remove(&number).unwrap();
                // Reported before the release, so that no two processes seem to hold the claim at the same time.
                print_line("released");
                drop(held);
            }
            "await" => {
                claims.lock().unwrap()[&number].publish_waits(Some(&[key(number + 1)]));
                print_line("awaiting");
            }
            "turns" => take_turns(&calls, number, &root.with_extension("turn")),
            "probe" => print_line(if probe(&root) { "locked" } else { "free" }),
            #[cfg(target_os = "linux")]
            "fork" => super::dead_holders::fork(|| ()),
            #[cfg(target_os = "linux")]
            "fork-and-release" => super::dead_holders::fork(|| drop(claims.lock().unwrap().drain())),
            other => panic!("unknown order {other}"),
        }
    }
    process::exit(0);
}

pub(super) fn print_line(words: &str) {
    // One write, since several threads write lines, and the test harness may have begun one.
    io::stdout().write_all(format!("> {words}\n").as_bytes()).unwrap();
}

fn wait(calls: &FileCalls, number: u32, claims: &Claims) {
    let claims = Arc::clone(claims);
    let got = move |held| {
        claims.lock().unwrap().insert(number, held);
        print_line(&format!("got {number}"));
    };
    match calls.claim(&key(number)).unwrap() {
        Claim::Taken(taken) => {
            print_line("waiting");
            taken.when_acquired(Box::new(move |held| got(held.unwrap())));
        }
        Claim::Held(held) => got(held),
        Claim::WithinProcess => print_line("within process"),
    }
}

/// Acquires the claim many times, and checks that no other process holds it at the same time.
fn take_turns(calls: &FileCalls, times: u32, turn: &Path) {
    for _ in 0..times {
        let held = match calls.claim(&key(1)).unwrap() {
            Claim::Held(held) => held,
            Claim::Taken(taken) => {
                let (sender, receiver) = mpsc::channel();
                taken.when_acquired(Box::new(move |held| sender.send(held.unwrap()).unwrap()));
                receiver.recv_timeout(TIMEOUT).unwrap()
            }
            Claim::WithinProcess => panic!("locks are not supported here"),
        };
        File::create_new(turn).unwrap();
        std::fs::remove_file(turn).unwrap();
        drop(held);
    }
    print_line("took turns");
}

#[cfg(target_os = "linux")]
fn probe(root: &Path) -> bool {
    use nix::{
        fcntl::{FcntlArg, fcntl},
        libc,
    };
    let file = File::open(root.join(".fleche-claims")).unwrap();
    let mut lock = libc::flock {
        l_type: libc::c_short::try_from(libc::F_WRLCK).unwrap(),
        l_whence: libc::c_short::try_from(libc::SEEK_SET).unwrap(),
        l_start: 0,
        l_len: 0,
        l_pid: 0,
    };
    fcntl(&file, FcntlArg::F_OFD_GETLK(&mut lock)).unwrap();
    libc::c_int::from(lock.l_type) != libc::F_UNLCK
}

#[cfg(not(target_os = "linux"))]
fn probe(root: &Path) -> bool {
    std::fs::read_dir(root.join("claims")).unwrap().count() > 0
}
