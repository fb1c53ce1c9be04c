//! Tests of process pools: the calls that they run, the events in the pool's process, and the end of workers.
#![cfg(target_os = "linux")]

#[path = "processes/cancel.rs"]
mod cancel;
#[path = "processes/channels.rs"]
mod channels;
#[path = "processes/claims.rs"]
mod claims;
#[path = "processes/common.rs"]
mod common;
#[path = "processes/ends.rs"]
mod ends;
#[path = "processes/errors.rs"]
mod errors;
#[path = "processes/exclusive.rs"]
mod exclusive;
#[path = "processes/files.rs"]
mod files;
#[path = "processes/guard.rs"]
mod guard;
#[path = "processes/hot.rs"]
mod hot;
#[path = "processes/loads.rs"]
mod loads;
#[path = "processes/losses.rs"]
mod losses;
#[path = "processes/modes.rs"]
mod modes;
#[path = "processes/outages.rs"]
mod outages;
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
#[path = "processes/stand_ins.rs"]
mod stand_ins;
#[path = "processes/text.rs"]
mod text;
#[path = "processes/waiting.rs"]
mod waiting;

fleche_exec::worker_test!();
