//! Tests of isolated functions: the directories of their bodies, the context that is passed to them, and the files they leave.
//!
//! Each test runs in its own process, because working directories and cache locations belong to the process.
#![allow(missing_docs)]
#![cfg(target_os = "linux")]

#[path = "isolate/directories.rs"]
mod directories;
#[path = "process_wide/own_process.rs"]
mod own_process;
#[path = "isolate/passed_context.rs"]
mod passed_context;
#[path = "isolate/processes.rs"]
mod processes;
#[path = "engine/support.rs"]
mod support;
