//! Faults are found that a store, or the cache before it, does not survive.

use fleche_conformance::faults::{Fault, FaultReport, run_faults, run_panics};

use super::backend::backend;

#[test]
fn a_sound_store_survives_every_fault() {
    for fault in Fault::ALL {
        let FaultReport { operations, failures, .. } = run_faults(backend!(None), fault);
        assert!(operations > 30, "{fault:?} at {operations} operations");
        assert_eq!(failures, [""; 0], "{fault:?}");
    }
}

#[test]
fn a_store_that_serves_wrong_bytes_is_caught() {
    let report = run_faults(backend!(ReturnsWrongBytes), Fault::Once);
    assert!(
        report.failures.iter().all(|failure| failure.contains("is wrong")) && !report.failures.is_empty(),
        "{report}"
    );
}

#[test]
fn a_store_that_loses_entries_is_caught_once_the_fault_is_gone() {
    let report = run_faults(backend!(LosesSomePuts), Fault::Once);
    assert!(report.failures.iter().any(|failure| failure.contains("should be recorded")), "{report}");
}

#[test]
fn a_store_that_forgets_everything_is_caught_when_it_is_opened_again() {
    let report = run_faults(backend!(ForgetsOnClose), Fault::Delay);
    assert!(report.failures.iter().any(|failure| failure.contains("after reopening")), "{report}");
}

#[test]
fn panics_in_types_cost_no_call_whatever_the_store_does() {
    for backend in [backend!(None), backend!(LosesSomePuts)] {
        let report = run_panics(backend);
        assert_eq!((report.parts, &report.failures[..]), (5, &[][..]));
    }
}
