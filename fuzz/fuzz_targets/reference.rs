//! Fuzz target that reads arbitrary, forged and edited text of bound callables.
#![no_main]

#[path = "../check_reference.rs"]
mod check_reference;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| check_reference::check(bytes));
