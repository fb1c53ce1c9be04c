//! Checks that the claims of a killed process can be taken, at once or after its leases have expired.

use std::{
    path::Path,
    sync::{Arc, mpsc},
    time::{Duration, Instant},
};

use fleche_core::{
    Result as StoreResult,
    claim::{Claim, Held},
    store::BackendInfo,
};

use super::script::{THREADS, claimed};
use crate::{patience::within, stores::Stores};

/// Returns the number of claims that cannot be taken at once.
pub(super) fn taken(stores: &Stores) -> Result<u64, String> {
    let mut taken = 0;
    for key in (0..THREADS).flat_map(claimed) {
        let claim = stores.calls.claim(&key).map_err(|error| format!("a claim fails: {error}"))?;
        taken += u64::from(matches!(claim, Claim::Taken(_)));
    }
    Ok(taken)
}

/// Returns the number of calls that a killed process may have claimed and that cannot be claimed within this time.
///
/// # Errors
/// Fails if the stores do not open, or if a claim fails with an error.
pub fn stuck_claims(backend: &'static BackendInfo, directory: &Path, patience: Duration) -> Result<u64, String> {
    let directory = directory.to_owned();
    let look = move || {
        let stores = Stores::open(backend, &directory)?;
        let until = Instant::now() + patience;
        let mut stuck = 0;
        for key in (0..THREADS).flat_map(claimed) {
            let claim = stores.calls.claim(&key).map_err(|error| format!("a claim fails: {error}"))?;
            if let Claim::Taken(taken) = claim {
                let (sender, held) = mpsc::channel::<StoreResult<Arc<dyn Held>>>();
                // The receiver may have timed out.
                taken.when_held(Box::new(move |held| drop(sender.send(held))));
                match held.recv_timeout(until.saturating_duration_since(Instant::now())) {
                    Ok(Ok(_)) => {}
                    Ok(Err(error)) => return Err(format!("a claim fails: {error}")),
                    Err(_) => stuck += 1,
                }
            }
        }
        Ok(stuck)
    };
    within(2 * patience + Duration::from_mins(1), "claims after a death", look)?
}
