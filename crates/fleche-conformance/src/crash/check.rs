//! Opens what a killed process has left, and compares it with what the process acknowledged.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::Path,
    time::Duration,
};

use fleche_core::{DigestPrefix, Error, Result as StoreResult, store::BackendInfo};

use super::{
    Findings, claims,
    expected::{Expected, Loss, expected},
    script::{Entry, Kind},
    work::Unread,
};
use crate::{patience::within, stores::Stores};

/// Opening and reading the stores of one round takes no more than this.
const PATIENCE: Duration = Duration::from_mins(2);

/// Opens the stores that a process, which did [`work`](super::work) with this seed, has left in the directory, and
/// compares what they hold with what it acknowledged. Afterwards the stores must work.
pub fn check(backend: &'static BackendInfo, directory: &Path, seed: u64, acknowledged: &[u8]) -> Findings {
    let (expected, mut findings) = expected(seed, acknowledged);
    let directory = directory.to_owned();
    let looked = within(PATIENCE, "check after a death", move || look(backend, &directory, &expected));
    match looked.and_then(|looked| looked) {
        Ok(found) => findings.add(found),
        Err(why) => findings.wrong.push(why),
    }
    findings
}

fn look(backend: &BackendInfo, directory: &Path, expected: &BTreeMap<Entry, Expected>) -> Result<Findings, String> {
    let stores = Stores::open(backend, directory)?;
    let mut findings = Findings::default();
    let mut listed = listed(&stores)?;
    for (entry, expected) in expected {
        let was_listed = listed.remove(&name(*entry));
        let found = match stores.read(*entry) {
            Err(Unread::Failed(Error::Damaged { .. })) => {
                findings.damaged += 1;
                None
            }
            Ok(found) => {
                if found.is_some() != was_listed {
                    findings.wrong.push(format!("{entry:?} is {found:?}, and listed: {was_listed}"));
                }
                found
            }
            Err(why) => {
                findings.wrong.push(format!("{entry:?}: {why}"));
                continue;
            }
        };
        match expected.loss(found) {
            Loss::None => {}
            Loss::Durable if expected.is_synced() => findings.lost_durable += 1,
            Loss::Durable => findings.wrong.push(format!("{entry:?} is {found:?}, which was never acknowledged")),
            Loss::Plain => findings.lost_plain += 1,
            Loss::Undone => findings.undone += 1,
        }
    }
    findings.wrong.extend(listed.into_iter().map(|(_, name)| format!("{name} is listed, and nobody put it")));
    findings.taken = claims::taken(&stores)?;
    works(&stores)?;
    Ok(findings)
}

/// An entry's name on its list.
fn name(entry: Entry) -> (Kind, String) {
    let name = match entry.kind {
        Kind::Value => entry.id().to_string(),
        Kind::Record => entry.key().to_string(),
    };
    (entry.kind, name)
}

/// The names of all entries, each of which is listed once.
fn listed(stores: &Stores) -> Result<BTreeSet<(Kind, String)>, String> {
    let ids = stores.values.ids(&DigestPrefix::all()).and_then(Iterator::collect::<StoreResult<Vec<_>>>);
    let keys = stores.calls.keys(&DigestPrefix::all()).and_then(Iterator::collect::<StoreResult<Vec<_>>>);
    let cannot = |error| format!("the entries cannot be listed: {error}");
    let ids = ids.map_err(cannot)?.into_iter().map(|id| (Kind::Value, id.to_string()));
    let keys = keys.map_err(cannot)?.into_iter().map(|key| (Kind::Record, key.to_string()));
    let mut listed = BTreeSet::new();
    for name in ids.chain(keys) {
        if !listed.insert(name.clone()) {
            return Err(format!("{} is listed twice", name.1));
        }
    }
    Ok(listed)
}

/// Asserts that the stores take entries and give them back.
fn works(stores: &Stores) -> Result<(), String> {
    for entry in Entry::all().step_by(7) {
        let cannot = |why: &dyn std::fmt::Display| format!("afterwards {entry:?} cannot be put and read: {why}");
        stores.put(entry, 0).map_err(|error| cannot(&error))?;
        match stores.read(entry) {
            Ok(Some(0)) => {}
            Ok(found) => return Err(cannot(&format!("found {found:?}"))),
            Err(why) => return Err(cannot(&why)),
        }
    }
    Ok(())
}
