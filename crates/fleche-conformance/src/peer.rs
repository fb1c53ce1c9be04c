//! A second process of a case, which sees the stores as another program or a worker does.

use std::{
    env,
    ffi::OsString,
    fs::{self, File},
    io::Write as _,
    path::Path,
    process::{self, Command, Stdio},
};

use fleche_core::store::{CallStoreConfig, ValueStoreConfig};
use serde::{Deserialize, Serialize};

use crate::{
    capture::capture,
    cases::{places, processes},
    item::Item,
    shelf::{Calls, Shelf, Values},
};

/// Names, in the environment of a peer, the directory with its request.
const REQUESTED: &str = "FLECHE_CONFORMANCE_VISIT";
const REQUEST: &str = "request.json";
const OUTCOME: &str = "outcome.json";

/// How to start this program again so that it reaches the suite.
#[derive(Clone, Debug)]
pub(crate) struct Program {
    arguments: Vec<OsString>,
}

/// What a peer is to do.
#[derive(Debug, Serialize, Deserialize)]
enum Request {
    Visit(Visit),
    Task(Task, Pair),
}

/// What a peer is to do with one store: look for one item, and put another.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Visit {
    store: Store,
    look_for: u64,
    put: u64,
}

#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum Store {
    Values(Box<dyn ValueStoreConfig>),
    Calls(Box<dyn CallStoreConfig>),
}

/// A case that runs in a process of its own, since it changes the process.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub(crate) enum Task {
    /// Forks children.
    Fork,
    /// Limits the size of its files.
    LimitFiles,
    /// Gives up the rights of root.
    ReadOnly,
}

/// The stores that a task is about.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Pair {
    pub(crate) values: Box<dyn ValueStoreConfig>,
    pub(crate) calls: Box<dyn CallStoreConfig>,
    /// Whether they keep entries when they are closed.
    pub(crate) durable: bool,
}

/// The outcome of a visit.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Outcome {
    /// The store does not open, for this reason.
    Refused(String),
    /// It opens; whether the item was there. The other one was put.
    Opened { found: bool },
    /// It opens, and then this happens.
    Failed(String),
}

/// Runs as the second process of a case if this process was started for that, and then exits.
///
/// The suite starts the program that runs it again, with the same arguments, to see a store from another process. A program
/// whose `main` does other work before it calls [`run`](crate::run) should call this first.
///
/// # Panics
/// Panics in the second process if the files of its request are gone.
pub fn run_peer() {
    let Some(directory) = env::var_os(REQUESTED) else { return };
    let directory = Path::new(&directory);
    let request = fs::read(directory.join(REQUEST)).expect("a peer can read its request");
    let request: Request = serde_json::from_slice(&request).expect("a peer understands its request");
    // Created now: a task may give up the right to do so.
    let mut file = File::create(directory.join(OUTCOME)).expect("a peer can write its outcome");
    let outcome = match request {
        Request::Visit(visit) => serde_json::to_vec(&visit.run()),
        Request::Task(task, pair) => {
            let run = match task {
                Task::Fork => processes::in_peer,
                Task::LimitFiles => places::limited_in_peer,
                Task::ReadOnly => places::read_only_in_peer,
            };
            serde_json::to_vec(&capture(|| run(&pair)))
        }
    };
    file.write_all(&outcome.expect("an outcome is JSON")).expect("a peer can write its outcome");
    process::exit(0);
}

impl Program {
    /// The program with its own arguments.
    pub(crate) fn this() -> Self {
        Self { arguments: env::args_os().skip(1).collect() }
    }

    /// The test binary, with one test of it: `module_path!()` of the test, with its name.
    pub(crate) fn test(path: &str) -> Self {
        let name = path.split_once("::").map_or(path, |(_crate, name)| name);
        Self { arguments: ["--exact", name, "--nocapture"].map(OsString::from).into() }
    }

    /// Has another process visit the store: look for the first item, and put the second.
    pub(crate) fn visit(&self, store: Store, look_for: Item, put: Item) -> Outcome {
        self.request(&Request::Visit(Visit { store, look_for: look_for.nth, put: put.nth }))
    }

    /// Has another process do this task. Panics where the task fails.
    pub(crate) fn perform(&self, task: Task, pair: Pair) {
        let outcome: Result<(), String> = self.request(&Request::Task(task, pair));
        outcome.unwrap_or_else(|why| panic!("in a process of its own: {why}"));
    }

    fn request<T: for<'a> Deserialize<'a>>(&self, request: &Request) -> T {
        let scratch = tempfile::tempdir().unwrap();
        fs::write(scratch.path().join(REQUEST), serde_json::to_vec(request).unwrap()).unwrap();
        let mut peer = Command::new(env::current_exe().unwrap());
        peer.args(&self.arguments).env(REQUESTED, scratch.path()).stdin(Stdio::null());
        let output = peer.output().unwrap_or_else(|error| panic!("no second process starts: {error}"));
        let said = || format!("it ended with {} and said: {}", output.status, String::from_utf8_lossy(&output.stderr));
        let outcome = fs::read(scratch.path().join(OUTCOME)).unwrap_or_else(|error| {
            panic!(
                "the second process has not read its request ({error}); a program that runs the suite calls \
                 `fleche_conformance::run_peer()` first in `main`; {}",
                said()
            )
        });
        serde_json::from_slice(&outcome).unwrap_or_else(|_| panic!("the second process has not finished: {}", said()))
    }
}

impl Visit {
    fn run(&self) -> Outcome {
        match &self.store {
            Store::Values(config) => self.pay::<Values>(config),
            Store::Calls(config) => self.pay::<Calls>(config),
        }
    }

    fn pay<S: Shelf>(&self, config: &S::Config) -> Outcome {
        let visited = capture(|| {
            let opened = match S::try_open(config) {
                Ok(opened) => opened,
                Err(error) => return Outcome::Refused(error.to_string()),
            };
            let found = opened.get(Item::small(self.look_for));
            opened.put(Item::small(self.put));
            // Closed before the process ends.
            drop(opened);
            Outcome::Opened { found }
        });
        visited.unwrap_or_else(Outcome::Failed)
    }
}
