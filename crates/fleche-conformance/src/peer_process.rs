//! A second process of a case, as seen by the suite: requests and their outcomes.

use std::{
    env,
    ffi::OsString,
    fs,
    process::{Command, Stdio},
};

use fleche_core::store::{CallStoreConfig, ValueStoreConfig};
use serde::{Deserialize, Serialize};

use crate::test_data::Item;

/// The environment variable that tells a peer the directory of its request.
pub(crate) const REQUESTED: &str = "FLECHE_CONFORMANCE_VISIT";
pub(crate) const REQUEST: &str = "request.json";
pub(crate) const OUTCOME: &str = "outcome.json";

/// The arguments with which this program is started again, so that it reaches the suite.
#[derive(Clone, Debug)]
pub(crate) struct Program {
    arguments: Vec<OsString>,
}

/// The request to a peer.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum Request {
    Visit(Visit),
    Task(Task, Pair),
}

/// A request to open a store, look for one item, and put another.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Visit {
    pub(crate) store: PeerStore,
    pub(crate) look_for: u64,
    pub(crate) put: u64,
}

#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum PeerStore {
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
    /// Gives up root privileges, and makes calls of which this scene has recorded one with a damaged result.
    ReadOnly { scene: u64 },
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
pub(crate) enum PeerOutcome {
    /// The store did not open, with this error.
    Refused(String),
    /// The store opened, and the other item was put. `found` tells whether the first one was found.
    Opened { found: bool },
    /// The store opened, and then this panic occurred.
    Failed(String),
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
    pub(crate) fn visit(&self, store: PeerStore, look_for: Item, put: Item) -> PeerOutcome {
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
        let report =
            || format!("it ended with {} and printed: {}", output.status, String::from_utf8_lossy(&output.stderr));
        let outcome = fs::read(scratch.path().join(OUTCOME)).unwrap_or_else(|error| {
            panic!(
                "the second process did not handle its request ({error}); a program that runs the suite must call \
                 `fleche_conformance::run_peer()` first in `main`; {}",
                report()
            )
        });
        serde_json::from_slice(&outcome).unwrap_or_else(|_| panic!("the second process did not finish: {}", report()))
    }
}
