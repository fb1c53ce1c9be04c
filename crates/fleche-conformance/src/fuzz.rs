//! Differential fuzzing: random operations on a store and on a map in memory, which must agree after each operation.

mod calls;
mod entries;
mod machine;
mod values;

use fleche_core::store::BackendInfo;

use crate::{fixture::Fixture, known_limits::scaled};

/// The number of sequences in each of the suite's two cases, which finds coarse mistakes within seconds.
const CASES: usize = 48;
/// The seed of the suite's cases, which try the same sequences every time.
const SEED: u64 = 2026;

/// Tries `cases` random sequences of operations on value stores of the backend, and as many on call stores.
///
/// # Errors
/// Fails with the shortest sequence found that ends in a disagreement, one operation per line, and with the disagreement.
pub fn fuzz_backend(backend: &'static BackendInfo, cases: u32, seed: u64) -> Result<(), String> {
    machine::run::<values::Machine>(backend, cases, seed).map_err(|why| format!("values: {why}"))?;
    machine::run::<calls::Machine>(backend, cases, seed).map_err(|why| format!("calls: {why}"))
}

pub(crate) fn values(fixture: &Fixture) {
    machine::run::<values::Machine>(fixture.backend, cases(), SEED).unwrap_or_else(|why| panic!("{why}"));
}

pub(crate) fn calls(fixture: &Fixture) {
    machine::run::<calls::Machine>(fixture.backend, cases(), SEED).unwrap_or_else(|why| panic!("{why}"));
}

fn cases() -> u32 {
    scaled(CASES).try_into().unwrap_or(u32::MAX)
}
