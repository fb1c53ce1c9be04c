//! One of two test targets that each define a function of the same name; `twin_one.rs` is the other.
#![allow(missing_docs)]

#[path = "twins/check.rs"]
mod check;

use std::sync::atomic::Ordering::SeqCst;

use fleche_core::fleche;

#[fleche(name = "twins::add")]
fn add(x: u64) -> Vec<u64> {
    check::RUNS.fetch_add(1, SeqCst);
    vec![x + 2; 20]
}

#[test]
fn target_gets_results_of_its_own_code() {
    check::assert_calls_return(add, &[3; 20]);
}
