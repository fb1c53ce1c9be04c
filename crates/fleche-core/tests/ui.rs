//! What the compiler says of functions that cannot be memoized, and that it has nothing to say of the others.
#![allow(missing_docs)]

#[test]
fn mistakes_are_one_clear_error_at_the_right_place() {
    trybuild::TestCases::new().compile_fail("tests/ui/fail/*.rs");
}

#[test]
fn the_expansion_satisfies_strict_crates() {
    trybuild::TestCases::new().pass("tests/ui/pass/*.rs");
}
