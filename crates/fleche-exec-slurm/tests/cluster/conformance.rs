//! The behaviour that every executor must show.

use fleche_conformance::{Selection, executor, run_executor};

#[test]
#[ignore = "needs a Slurm cluster"]
fn executor_keeps_every_promise() {
    let report = run_executor(executor("slurm").unwrap(), &Selection::all());
    for outcome in &report.outcomes {
        println!("{} {:.1} s", outcome.case, outcome.seconds);
    }
    let failures: Vec<_> = report.failures().collect();
    assert!(failures.is_empty(), "{failures:?}");
}
