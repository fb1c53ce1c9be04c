//! Single flight among programs that share a directory: each program is this test binary, run again.
#![cfg(target_os = "linux")]

#[path = "stampede/circles.rs"]
mod circles;
#[path = "stampede/ends.rs"]
mod ends;
#[path = "stampede/kills.rs"]
mod kills;
#[path = "stampede/many.rs"]
mod many;
#[path = "stampede/program.rs"]
mod program;

fleche_exec::worker_test!();
