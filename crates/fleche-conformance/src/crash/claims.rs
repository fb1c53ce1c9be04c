//! Claims of the dead: to be had at once, or after their leases have ended.

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

/// How many claims are not to be had at once.
pub(super) fn taken(stores: &Stores) -> Result<u64, String> {
    let mut taken = 0;
    for key in (0..THREADS).flat_map(claimed) {
        let claim = stores.calls.claim(&key).map_err(|error| format!("a claim fails: {error}"))?;
        taken += u64::from(matches!(claim, Claim::Taken(_)));
    }
    Ok(taken)
}

/// How many of the calls that a killed process may have claimed cannot be claimed, however long one waits, up to this.
///
/// # Errors
/// Why the stores do not open, or a claim fails.
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
                // Who waits may have given up.
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
