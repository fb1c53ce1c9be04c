//! Fuzz target that decodes arbitrary bytes. The corpus has an example of each form of the format and of each violation.
#![no_main]

#[path = "../check_bytes.rs"]
mod check_bytes;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| check_bytes::check(bytes));
