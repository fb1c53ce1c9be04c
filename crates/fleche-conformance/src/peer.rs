//! A second process of a case, which opens the stores as another program or a worker does.

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
    shelf::{Calls, StoreKind, Values},
};

/// The environment variable that tells a peer the directory of its request.
const REQUESTED: &str = "FLECHE_CONFORMANCE_VISIT";
const REQUEST: &str = "request.json";
const OUTCOME: &str = "outcome.json";

/// The arguments with which this program is started again, so that it reaches the suite.
#[derive(Clone, Debug)]
pub(crate) struct Program {
    arguments: Vec<OsString>,
}

/// The request to a peer.
#[derive(Debug, Serialize, Deserialize)]
enum Request {
    Visit(Visit),
    Task(Task, Pair),
}

/// A request to open a store, look for one item, and put another.
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

/// The body of a case that runs in a process of its own, since it changes the state of the process.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub(crate) enum Task {
    /// Forks children.
    Fork,
    /// Sets a limit for the size of files, and makes calls with results of this length.
    LimitFiles { length: usize },
    /// Gives up root privileges.
    ReadOnly,
}

/// The stores on which a task works.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Pair {
    pub(crate) values: Box<dyn ValueStoreConfig>,
    pub(crate) calls: Box<dyn CallStoreConfig>,
    /// Whether the stores are durable.
    pub(crate) durable: bool,
}

/// The outcome of a visit.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Outcome {
    /// The store did not open, with this error.
    Refused(String),
    /// The store opened, and the other item was put. `found` tells whether the first one was found.
    Opened { found: bool },
    /// The store opened, and then this panic occurred.
    Failed(String),
}

/// If this process was started as the second process of a case, does its work and exits.
///
/// The suite starts the program that runs it again, with the same arguments, to see a store from another process. A program
/// whose `main` does other work before it calls [`run`](crate::run) should call this first.
///
/// # Panics
/// Panics in the second process if the files of its request are missing.
pub fn run_peer() {
    let Some(directory) = env::var_os(REQUESTED) else { return };
    let directory = Path::new(&directory);
    let request = fs::read(directory.join(REQUEST)).expect("a peer can read its request");
    let request: Request = serde_json::from_slice(&request).expect("a peer understands its request");
    // The file is created first, since a task may give up the permission to do so.
    let mut file = File::create(directory.join(OUTCOME)).expect("a peer can write its outcome");
    let outcome = match request {
        Request::Visit(visit) => serde_json::to_vec(&visit.run()),
        Request::Task(task, pair) => serde_json::to_vec(&capture(|| match task {
            Task::Fork => processes::in_peer(&pair),
            Task::LimitFiles { length } => places::limited_in_peer(&pair, length),
            Task::ReadOnly => places::read_only_in_peer(&pair),
        })),
    };
    file.write_all(&outcome.expect("an outcome is JSON")).expect("a peer can write its outcome");
    process::exit(0);
}

impl Program {
    /// Returns the arguments of this process.
    pub(crate) fn this() -> Self {
        Self { arguments: env::args_os().skip(1).collect() }
    }

    /// Returns the arguments that run one test of this test binary. `path` is the test's `module_path!()` and name.
    pub(crate) fn test(path: &str) -> Self {
        let name = path.split_once("::").map_or(path, |(_crate, name)| name);
        Self { arguments: ["--exact", name, "--nocapture"].map(OsString::from).into() }
    }

    /// Starts another process that opens the store, looks for the first item, and puts the second.
    pub(crate) fn visit(&self, store: Store, look_for: Item, put: Item) -> Outcome {
        self.request(&Request::Visit(Visit { store, look_for: look_for.nth, put: put.nth }))
    }

    /// Starts another process that performs this task.
    ///
    /// # Panics
    /// Panics if the task fails.
    pub(crate) fn perform(&self, task: Task, pair: Pair) {
        let outcome: Result<(), String> = self.request(&Request::Task(task, pair));
        outcome.unwrap_or_else(|why| panic!("in the second process: {why}"));
    }

    fn request<T: for<'a> Deserialize<'a>>(&self, request: &Request) -> T {
        let scratch = tempfile::tempdir().unwrap();
        fs::write(scratch.path().join(REQUEST), serde_json::to_vec(request).unwrap()).unwrap();
        let mut peer = Command::new(env::current_exe().unwrap());
        peer.args(&self.arguments).env(REQUESTED, scratch.path()).stdin(Stdio::null());
        let output = peer.output().unwrap_or_else(|error| panic!("cannot start a second process: {error}"));
        let said =
            || format!("it ended with {} and printed: {}", output.status, String::from_utf8_lossy(&output.stderr));
        let outcome = fs::read(scratch.path().join(OUTCOME)).unwrap_or_else(|error| {
            panic!(
                "the second process did not handle its request ({error}); a program that runs the suite must call \
                 `fleche_conformance::run_peer()` first in `main`; {}",
                said()
            )
        });
        serde_json::from_slice(&outcome).unwrap_or_else(|_| panic!("the second process did not finish: {}", said()))
    }
}

impl Visit {
    fn run(&self) -> Outcome {
        match &self.store {
            Store::Values(config) => self.pay::<Values>(config),
            Store::Calls(config) => self.pay::<Calls>(config),
        }
    }

    fn pay<S: StoreKind>(&self, config: &S::Config) -> Outcome {
        let visited = capture(|| {
            let opened = match S::try_open(config) {
                Ok(opened) => opened,
                Err(error) => return Outcome::Refused(error.to_string()),
            };
            let found = opened.get(Item::small(self.look_for));
            opened.put(Item::small(self.put));
            // The store is closed before the process exits.
            drop(opened);
            Outcome::Opened { found }
        });
        visited.unwrap_or_else(Outcome::Failed)
    }
}
