//! Runs the conformance suite for the example backend, and checks that the backend has under 120 lines.

fleche_conformance::suite!(fleche_example_backend, "example");

#[test]
fn example_backend_has_under_120_lines() {
    assert!(include_str!("../src/lib.rs").lines().count() < 120);
}
