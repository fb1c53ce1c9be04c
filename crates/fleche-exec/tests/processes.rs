//! Process pools: what reaches them, what the parent sees of it, and how workers end.
#![cfg(target_os = "linux")]

#[path = "processes/common.rs"]
mod common;
#[path = "processes/portable.rs"]
mod portable;
#[path = "processes/records.rs"]
mod records;

fleche_exec::worker_test!();
