//! Isolated functions: where their bodies run, what is passed to them, and what is left behind.
//!
//! Each test runs in its own process, because working directories and cache locations belong to the process.
#![allow(missing_docs)]
#![cfg(target_os = "linux")]

#[path = "isolate/carried.rs"]
mod carried;
#[path = "isolate/directories.rs"]
mod directories;
#[path = "isolate/elsewhere.rs"]
mod elsewhere;
#[path = "isolate/process.rs"]
mod process;
#[path = "isolate/refused.rs"]
mod refused;
#[path = "engine/support.rs"]
mod support;
