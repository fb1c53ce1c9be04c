//! Opens the stores that a killed process left, compares them with the acknowledged operations, and checks that its claims
//! can be taken, at once or after its leases have expired.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::Path,
    sync::{Arc, mpsc},
    time::{Duration, Instant},
};

use fleche_core::{
    DigestPrefix, Error, Result as StoreResult,
    claim::{Claim, ClaimGuard},
    error::Report,
    store::BackendInfo,
};

use super::{
    Findings,
    expected::{Expected, Loss, expected},
    script::{Entry, Kind, THREADS, claimed},
    work::Unread,
};
use crate::{capture::run_with_timeout, fixture::Stores};

/// The time limit for the check of one round.
const TIMEOUT: Duration = Duration::from_mins(2);

/// Opens the stores that a process left in the directory, and compares them with the operations that it acknowledged.
///
/// The process must have called [`work`](super::work) with the same seed. The check also puts and reads entries, to see that
/// the stores still work.
pub fn check(backend: &'static BackendInfo, directory: &Path, seed: u64, acknowledged: &[u8]) -> Findings {
    let (expected, mut findings) = expected(seed, acknowledged);
    let directory = directory.to_owned();
    let checked = run_with_timeout(TIMEOUT, "check after a death", move || compare(backend, &directory, &expected));
    match checked.and_then(|checked| checked) {
        Ok(found) => findings.add(found),
        Err(why) => findings.wrong.push(why),
    }
    findings
}

fn compare(backend: &BackendInfo, directory: &Path, expected: &BTreeMap<Entry, Expected>) -> Result<Findings, String> {
    let stores = Stores::open(backend, directory)?;
    let mut findings = Findings::default();
    let mut left = listed(&stores)?;
    for (entry, expected) in expected {
        let mut was_listed = left.remove(&name(*entry));
        let mut read = stores.read(*entry);
        if read.as_ref().is_ok_and(|found| found.is_some() != was_listed) {
            // A server may execute the last statement of the dead process between the listing and this read.
            was_listed = listed(&stores)?.contains(&name(*entry));
            read = stores.read(*entry);
        }
        let found = match read {
            Err(Unread::Failed(Error::Damaged { .. })) => {
                findings.damaged += 1;
                None
            }
            Ok(found) => {
                if found.is_some() != was_listed {
                    findings
                        .wrong
                        .push(format!("{entry:?} reads as {found:?}, but whether it is listed: {was_listed}"));
                }
                found
            }
            Err(why) => {
                findings.wrong.push(format!("{entry:?}: {}", Report::new(&why)));
                continue;
            }
        };
        match expected.loss(found) {
            Loss::None => {}
            Loss::Durable if expected.is_synced() => findings.lost_durable += 1,
            Loss::Durable => findings.wrong.push(format!("{entry:?} reads as {found:?}, which was never put")),
            Loss::Plain => findings.lost_plain += 1,
            Loss::Undone => findings.undone += 1,
        }
    }
    findings.wrong.extend(left.into_iter().map(|(_, name)| format!("{name} is listed, but was never put")));
    findings.taken = taken_claims(&stores)?;
    check_usable(&stores)?;
    Ok(findings)
}

/// Returns the name under which an entry is listed.
fn name(entry: Entry) -> (Kind, String) {
    let name = match entry.kind {
        Kind::Value => entry.id().to_string(),
        Kind::Record => entry.key().to_string(),
    };
    (entry.kind, name)
}

/// Returns the names of all entries, or an error if an entry is listed twice.
fn listed(stores: &Stores) -> Result<BTreeSet<(Kind, String)>, String> {
    let ids = stores.values.ids(&DigestPrefix::all()).and_then(Iterator::collect::<StoreResult<Vec<_>>>);
    let keys = stores.calls.keys(&DigestPrefix::all()).and_then(Iterator::collect::<StoreResult<Vec<_>>>);
    let cannot = |error| format!("cannot list the entries: {error:?}");
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

/// Puts some entries and reads them back.
fn check_usable(stores: &Stores) -> Result<(), String> {
    for entry in Entry::all().step_by(7) {
        let cannot = |why: &dyn std::fmt::Display| format!("after the check, {entry:?} cannot be put and read: {why}");
        stores.put(entry, 0).map_err(|error| cannot(&error.report()))?;
        match stores.read(entry) {
            Ok(Some(0)) => {}
            Ok(found) => return Err(cannot(&format!("found {found:?}"))),
            Err(why) => return Err(cannot(&Report::new(&why))),
        }
    }
    Ok(())
}

/// Returns the number of claims that cannot be taken at once.
fn taken_claims(stores: &Stores) -> Result<u64, String> {
    let mut taken = 0;
    for key in (0..THREADS).flat_map(claimed) {
        let claim = stores.calls.claim(&key).map_err(|error| format!("a claim fails: {error:?}"))?;
        taken += u64::from(matches!(claim, Claim::Taken(_)));
    }
    Ok(taken)
}

/// Returns the number of calls that a killed process may have claimed and that cannot be claimed within this time.
///
/// # Errors
/// Fails if the stores do not open, or if a claim fails with an error.
pub fn stuck_claims(backend: &'static BackendInfo, directory: &Path, timeout: Duration) -> Result<u64, String> {
    let directory = directory.to_owned();
    let count = move || {
        let stores = Stores::open(backend, &directory)?;
        let until = Instant::now() + timeout;
        let mut stuck = 0;
        for key in (0..THREADS).flat_map(claimed) {
            let claim = stores.calls.claim(&key).map_err(|error| format!("a claim fails: {error:?}"))?;
            if let Claim::Taken(taken) = claim {
                let (sender, held) = mpsc::channel::<StoreResult<Arc<dyn ClaimGuard>>>();
                // The receiver may have timed out.
                taken.when_acquired(Box::new(move |held| drop(sender.send(held))));
                match held.recv_timeout(until.saturating_duration_since(Instant::now())) {
                    Ok(Ok(_)) => {}
                    Ok(Err(error)) => return Err(format!("a claim fails: {error:?}")),
                    Err(_) => stuck += 1,
                }
            }
        }
        Ok(stuck)
    };
    run_with_timeout(2 * timeout + Duration::from_mins(1), "claims after a death", count)?
}
