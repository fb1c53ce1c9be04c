//! The second process of a case: it performs the request, and opens the stores as another program or a worker does.

use std::{
    env,
    fs::{self, File},
    io::Write as _,
    path::Path,
    process,
};

use crate::{
    capture::capture,
    cases::environment,
    peer_process::{OUTCOME, Outcome, PeerStore, REQUEST, REQUESTED, Request, Task, Visit},
    store_kind::{Calls, StoreKind, Values},
    test_data::Item,
};

/// Does the work of the second process of a case and exits, if this process was started as one.
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
            Task::Fork => environment::fork_in_peer(&pair),
            Task::LimitFiles { length } => environment::limited_in_peer(&pair, length),
            Task::ReadOnly => environment::read_only_in_peer(&pair),
        })),
    };
    file.write_all(&outcome.expect("an outcome is JSON")).expect("a peer can write its outcome");
    process::exit(0);
}

impl Visit {
    fn run(&self) -> Outcome {
        match &self.store {
            PeerStore::Values(config) => self.open_and_use::<Values>(config),
            PeerStore::Calls(config) => self.open_and_use::<Calls>(config),
        }
    }

    fn open_and_use<S: StoreKind>(&self, config: &S::Config) -> Outcome {
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
