//! Decodes arbitrary bytes; the corpus holds one example for each form of the format and each way to break it.
#![no_main]

#[path = "../check_bytes.rs"]
mod check_bytes;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| check_bytes::check(bytes));
