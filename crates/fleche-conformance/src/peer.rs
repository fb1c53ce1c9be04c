//! A second process that opens the stores of a case, as another program or a worker does.

use std::{
    env,
    ffi::OsString,
    fs,
    path::Path,
    process::{self, Command, Stdio},
};

use fleche_core::store::{CallStoreConfig, ValueStoreConfig};
use serde::{Deserialize, Serialize};

use crate::{
    capture::capture,
    item::Item,
    shelf::{Calls, Shelf, Values},
};

/// The environment variable that tells a peer the directory of its request.
const VISIT: &str = "FLECHE_CONFORMANCE_VISIT";
const REQUEST: &str = "request.json";
const OUTCOME: &str = "outcome.json";

/// The arguments with which this program is started again, so that it reaches the suite.
#[derive(Clone, Debug)]
pub(crate) struct Program {
    arguments: Vec<OsString>,
}

/// The request to a peer: open a store, look for one item, and put another.
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

/// The outcome of a visit.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Outcome {
    /// The store did not open, with this error.
    Refused(String),
    /// The store opened, and the other item was put. Whether the first was found.
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
    let Some(directory) = env::var_os(VISIT) else { return };
    let directory = Path::new(&directory);
    let request = fs::read(directory.join(REQUEST)).expect("a peer must be able to read its request");
    let visit: Visit = serde_json::from_slice(&request).expect("a peer must be able to parse its request");
    let outcome = match &visit.store {
        Store::Values(config) => visit.pay::<Values>(config),
        Store::Calls(config) => visit.pay::<Calls>(config),
    };
    let outcome = serde_json::to_vec(&outcome).expect("an outcome can be written as JSON");
    fs::write(directory.join(OUTCOME), outcome).expect("a peer must be able to write its outcome");
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
        let scratch = tempfile::tempdir().unwrap();
        let visit = Visit { store, look_for: look_for.nth, put: put.nth };
        fs::write(scratch.path().join(REQUEST), serde_json::to_vec(&visit).unwrap()).unwrap();
        let mut peer = Command::new(env::current_exe().unwrap());
        peer.args(&self.arguments).env(VISIT, scratch.path()).stdin(Stdio::null());
        let output = peer.output().unwrap_or_else(|error| panic!("cannot start a second process: {error}"));
        let outcome = fs::read(scratch.path().join(OUTCOME)).unwrap_or_else(|error| {
            panic!(
                "the second process wrote no outcome ({error}); a program that runs the suite must call \
                 `fleche_conformance::run_peer()` first in `main`. It ended with {} and printed: {}",
                output.status,
                String::from_utf8_lossy(&output.stderr)
            )
        });
        serde_json::from_slice(&outcome).unwrap()
    }
}

impl Visit {
    fn pay<S: Shelf>(&self, config: &S::Config) -> Outcome {
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
