//! Runs the conformance suite for the example backend, and checks that the backend has under 100 lines.

fleche_conformance::suite!(fleche_example_backend, "example");

#[test]
fn example_backend_has_under_100_lines() {
    assert!(include_str!("../src/lib.rs").lines().count() < 100);
}
