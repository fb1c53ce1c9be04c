//! Tests that `run_faults` and `run_panics` find stores that do not survive faults.

use fleche_conformance::faults::{Fault, FaultReport, Part, run_faults, run_panics};

use super::backend::backend;

#[test]
fn sound_store_survives_every_fault() {
    for fault in Fault::ALL {
        let FaultReport { operations, failures, .. } = run_faults(backend!(None), fault);
        assert!(operations > 30, "{fault:?}: only {operations} operations failed");
        assert_eq!(failures, [""; 0], "{fault:?}");
    }
}

#[test]
fn store_that_serves_wrong_bytes_is_caught() {
    let report = run_faults(backend!(ReturnsWrongBytes), Fault::Once);
    assert!(
        report.failures.iter().all(|failure| failure.contains("is wrong")) && !report.failures.is_empty(),
        "{report}"
    );
}

#[test]
fn store_that_loses_entries_is_caught_after_the_fault() {
    let report = run_faults(backend!(LosesEveryPut), Fault::Once);
    assert!(report.failures.iter().any(|failure| failure.contains("should be recorded")), "{report}");
}

#[test]
fn store_that_loses_everything_on_close_is_caught_after_reopening() {
    let report = run_faults(backend!(ForgetsOnClose), Fault::Delay);
    assert!(report.failures.iter().any(|failure| failure.contains("after reopening")), "{report}");
}

#[test]
fn calls_survive_panics_in_types_with_any_store() {
    for backend in [backend!(None), backend!(LosesSomePuts)] {
        for part in Part::ALL {
            let report = run_panics(backend, part);
            assert_eq!(report.failures, [""; 0]);
            assert!(report.calls > 0, "{part:?}");
        }
    }
}
