//! Stores in memory: the fastest ones. They are dropped with their last handle and not shared between processes.
//!
#![doc = include_str!("../README.md")]

mod calls;
mod compact;
mod config;
mod digest_map;
mod error;
mod values;

pub use calls::MemoryCalls;
pub use config::{MemoryCallsConfig, MemoryValuesConfig};
pub use values::MemoryValues;

use fleche_core::{register_backend, store::Reach};

register_backend! {
    name: "memory",
    summary: "in memory, for one process while it runs",
    reach: Reach::Process,
    durable: false,
    scratch: |_| {
        let values = MemoryValuesConfig::with_id(digest_map::random_id());
        (Box::new(values), Box::new(MemoryCallsConfig::with_id(digest_map::random_id())))
    },
}
