//! Stores in a [sled](https://docs.rs/sled/0.34) database: one directory, for one process at a time.
//!
#![doc = include_str!("../README.md")]

mod calls;
mod config;
mod database;
mod engine;
mod error;
mod key_value;
mod values;

pub use calls::SledCalls;
pub use config::{SledCallsConfig, SledValuesConfig};
pub use values::SledValues;

use fleche_core::{register_backend, store::Reach};

register_backend! {
    name: "sled",
    summary: "a sled database, for one process at a time; sled is beta",
    reach: Reach::Exclusive,
    durable: true,
    scratch: |directory| {
        let path = directory.join("sled");
        (Box::new(SledValuesConfig::new(&path)), Box::new(SledCallsConfig::new(&path)))
    },
}
