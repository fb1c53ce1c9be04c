//! Tests that the checks of crashes, damage and faults find entries that a store has lost or mishandles.

use std::{io, sync::Mutex, time::Duration};

use fleche_conformance::{
    corrupt::{CorruptReport, Extent, run_corruptions},
    crash::{Findings, check, recover, stuck_claims, work},
    faults::{Fault, FaultReport, Part, run_faults, run_panics},
};
use fleche_core::store::BackendInfo;

use super::store::backend;

/// Works until this many operations are acknowledged, closes the stores, and checks them.
fn died(backend: &'static BackendInfo, operations: usize) -> (tempfile::TempDir, Findings) {
    let directory = tempfile::tempdir().unwrap();
    let acknowledged = Mutex::new(Vec::new());
    let worked = work(backend, directory.path(), 7, &|frame| {
        let mut acknowledged = acknowledged.lock().unwrap();
        if acknowledged.len() >= operations * frame.len() {
            return Err(io::ErrorKind::BrokenPipe.into());
        }
        acknowledged.extend_from_slice(frame);
        Ok(())
    });
    worked.unwrap();
    let findings = check(backend, directory.path(), 7, &acknowledged.into_inner().unwrap());
    (directory, findings)
}

#[test]
fn sound_store_loses_nothing() {
    let (_directory, findings) = died(backend!(None, Shared), 2_000);
    let Findings { operations, durable, .. } = findings;
    assert!(operations == 2_000 && durable > 50, "{findings}");
    assert_eq!(findings, Findings { operations, durable, ..Findings::default() });
}

#[test]
fn loss_of_synced_entries_is_a_violation() {
    let backend = backend!(ForgetsOnClose);
    let (_directory, findings) = died(backend, 2_000);
    assert!(findings.lost_durable > 20 && findings.lost_plain > 20, "{findings}");
    let violations = findings.violations(backend);
    assert!(violations.len() == 1 && violations[0].contains("synced entries are lost"), "{violations:?}");
}

#[test]
fn loss_of_unsynced_entries_of_a_shared_store_is_a_violation() {
    let backend = backend!(ForgetsOnClose, Shared);
    let (_directory, findings) = died(backend, 2_000);
    let violations = findings.violations(backend).join(", ");
    assert!(violations.contains("entries of a shared store are lost"), "{violations}");
}

#[test]
fn undone_removals_are_counted() {
    let backend = backend!(UndoesRemovals, Shared);
    let (_directory, findings) = died(backend, 2_000);
    assert!(findings.undone > 10 && findings.lost_durable == 0, "{findings}");
    assert!(findings.violations(backend).join("").contains("removals from a shared store are undone"));
}

#[test]
fn store_that_loses_entries_while_open_is_caught_during_work() {
    let directory = tempfile::tempdir().unwrap();
    let why = work(backend!(LosesSomePuts), directory.path(), 7, &|_| Ok(())).unwrap_err();
    assert!(why.contains("operation"), "{why}");
}

#[test]
fn wrong_content_and_entries_listed_twice_are_violations() {
    for backend in [backend!(ListsTwice), backend!(ReturnsWrongBytes)] {
        let directory = tempfile::tempdir().unwrap();
        // No operation is acknowledged.
        let _ = work(backend!(None), directory.path(), 7, &|_| Err(io::ErrorKind::BrokenPipe.into()));
        let findings = check(backend, directory.path(), 7, &[]);
        assert!(!findings.wrong.is_empty(), "{}", backend.name);
    }
}

#[test]
fn claim_that_is_never_released_is_stuck() {
    let (directory, findings) = died(backend!(KeepsClaims), 2_000);
    assert!(findings.taken > 0);
    let stuck = stuck_claims(backend!(KeepsClaims), directory.path(), Duration::from_millis(1)).unwrap();
    assert!(stuck >= findings.taken, "{stuck}");
    assert_eq!(stuck_claims(backend!(None), directory.path(), Duration::from_millis(1)), Ok(0));
}

#[test]
fn recover_reads_entries_until_acknowledging_fails() {
    let (directory, _) = died(backend!(None), 500);
    let passes = Mutex::new(0);
    let count = |_: &_| {
        *passes.lock().unwrap() += 1;
        if *passes.lock().unwrap() > 3 { Err(io::ErrorKind::BrokenPipe.into()) } else { Ok(()) }
    };
    recover(backend!(None), directory.path(), &count).unwrap();
    assert_eq!(*passes.lock().unwrap(), 4);
}

const SOME: Extent = Extent::About(100);

#[test]
fn sound_store_reports_and_repairs_every_damage() {
    let report = run_corruptions(backend!(None), SOME).unwrap();
    let CorruptReport { files, tried, reported, .. } = report;
    assert_eq!(report.failures, [""; 0]);
    assert!(files > 20 && tried > 80 && reported > tried / 2, "{report}");
}

#[test]
fn store_that_serves_damaged_bytes_is_caught() {
    let report = run_corruptions(backend!(ReadsUnverified), SOME).unwrap();
    assert!(report.failures.iter().any(|failure| failure.contains("wrong")), "{report} {:?}", report.failures);
}

#[test]
fn store_that_is_not_repaired_is_caught() {
    let report = run_corruptions(backend!(FirstWriterWinsOverDamage), SOME).unwrap();
    assert!(report.unrepaired.iter().any(|failure| failure.contains("is not repaired")), "{report}");
}

#[test]
fn panic_at_damage_is_reported_although_calls_survive_it() {
    let report = run_corruptions(backend!(PanicsAtDamage), SOME).unwrap();
    assert!(report.panicked.iter().any(|panic| panic.contains("a panic in the store")), "{report}");
}

#[test]
fn store_may_refuse_to_open_damaged_files() {
    let report = run_corruptions(backend!(RefusesDamage), SOME).unwrap();
    assert_eq!(report.failures, [""; 0]);
    assert!(report.refused > report.tried / 2, "{report}");
}

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
