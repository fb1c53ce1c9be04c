//! Tests of process pools: the calls that they run, the events in the pool's process, and the end of workers.
#![cfg(target_os = "linux")]

#[path = "processes/cancel.rs"]
mod cancel;
#[path = "processes/channels.rs"]
mod channels;
#[path = "processes/circuit_breaker.rs"]
mod circuit_breaker;
#[path = "processes/claims.rs"]
mod claims;
#[path = "processes/common.rs"]
mod common;
#[path = "processes/errors.rs"]
mod errors;
#[path = "processes/files.rs"]
mod files;
#[path = "processes/hooked_store.rs"]
mod hooked_store;
#[path = "processes/load.rs"]
mod load;
#[path = "processes/named.rs"]
mod named;
#[path = "processes/portable.rs"]
mod portable;
#[path = "processes/programs.rs"]
mod programs;
#[path = "processes/records.rs"]
mod records;
#[path = "processes/resources.rs"]
mod resources;
#[path = "processes/shared.rs"]
mod shared;
#[path = "processes/shutdown.rs"]
mod shutdown;
#[path = "processes/stand_ins.rs"]
mod stand_ins;
#[path = "processes/text.rs"]
mod text;
#[path = "processes/waiting.rs"]
mod waiting;
#[path = "processes/worker_loss.rs"]
mod worker_loss;

fleche_exec::worker_test!();
