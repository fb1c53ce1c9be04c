//! Tests the compiler's messages for functions that cannot be memoized, and that all others compile without warnings.
#![allow(missing_docs)]

#[test]
fn mistakes_cause_one_clear_error_at_the_right_place() {
    trybuild::TestCases::new().compile_fail("tests/ui/fail/*.rs");
}

#[test]
fn expansion_compiles_under_strict_lints() {
    trybuild::TestCases::new().pass("tests/ui/pass/*.rs");
}
