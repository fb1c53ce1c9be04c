//! The behaviour that every backend must show, and the promise that one is written in under 100 lines.

fleche_conformance::suite!(fleche_example_backend, "example");

#[test]
fn a_backend_takes_under_a_hundred_lines() {
    assert!(include_str!("../src/lib.rs").lines().count() < 100);
}
