//! Measures the cost of an uncontended claim: misses with it, compared with misses without it.

use std::time::{Duration, Instant};

use fleche_core::{CallKey, CallStore, Digest, claim::Claim, fleche};
use fleche_store_file::FileCalls;

use crate::{
    caches,
    fresh::{fresh, missed},
    rounds::{Measure, medians},
    scratch,
    table::{Row, Table},
};

const WITHOUT: &str = "without a claim";

#[fleche]
fn claimed(x: i64) -> i64 {
    x + 1
}

#[fleche(wait = false)]
fn unclaimed(x: i64) -> i64 {
    x + 1
}

/// Runs the benchmark and returns its table.
///
/// # Errors
/// Fails if a store cannot be opened, or a call cannot be claimed.
pub(crate) fn run(quick: bool) -> Result<Table, String> {
    let (rounds, calls) = if quick { (1, 100) } else { (9, 20_000) };
    let few = calls / 10;
    let directory = scratch::directory()?;
    let (memory, files) = (caches::memory(), caches::files(&directory)?);
    let records = FileCalls::open(directory.join("calls")).map_err(|error| error.to_string())?;
    let mut measures: Vec<Measure<'_>> = vec![
        Box::new(|| Ok(memory.scope(|| missed(unclaimed, calls)))),
        Box::new(|| Ok(memory.scope(|| missed(claimed, calls)))),
        Box::new(|| Ok(files.scope(|| missed(unclaimed, few)))),
        Box::new(|| Ok(files.scope(|| missed(claimed, few)))),
        Box::new(|| claims_alone(&records, few)),
    ];
    let times = medians(rounds, &mut measures)?;
    #[allow(clippy::cast_precision_loss)] // There are only thousands of calls.
    let each = |at: usize, calls: i64| times[at].as_secs_f64() / calls as f64;
    Ok(Table(vec![
        Row::against("memory: a miss", each(1, calls), (WITHOUT, each(0, calls)), None),
        Row::against("file: a miss", each(3, few), (WITHOUT, each(2, few)), None),
        Row::time("file: a claim, taken and released", each(4, few)),
    ]))
}

/// Measures the time to claim and release this many calls, one after the other.
fn claims_alone(records: &FileCalls, calls: i64) -> Result<Duration, String> {
    let from = fresh(calls);
    let keys: Vec<_> = (from..from + calls).map(|x| CallKey::from(Digest::of(&x.to_le_bytes()))).collect();
    let begun = Instant::now();
    for key in &keys {
        match records.claim(key).map_err(|error| error.to_string())? {
            Claim::Held(held) => drop(held),
            other => return Err(format!("cannot claim a call that no other process holds: {other:?}")),
        }
    }
    Ok(begun.elapsed())
}
