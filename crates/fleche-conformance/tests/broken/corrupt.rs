//! Tests that `run_corruptions` finds stores that mishandle damage.

use fleche_conformance::corrupt::{CorruptReport, Extent, run_corruptions};

use super::backend::backend;

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
