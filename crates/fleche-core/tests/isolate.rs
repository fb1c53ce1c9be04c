//! Isolated functions: where their bodies run, what they carry, and what stays behind.
//!
//! Each test runs in a process of its own, since working directories and the place of caches belong to the process.
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
