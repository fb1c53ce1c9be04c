//! Stores that keep each entry in a file of its own in a directory: the default choice.
//!
#![doc = include_str!("../README.md")]

mod calls;
mod claim_method;
#[cfg(unix)]
mod claims;
mod clock;
mod config;
mod directory;
mod error;
mod open;
mod quarantine;
mod read;
mod temp_files;
mod values;
mod write;

pub use calls::FileCalls;
pub use claim_method::ClaimMethod;
pub use config::{FileCallsConfig, FileValuesConfig};
use fleche_core::{register_backend, store::Reach};
pub use values::FileValues;
pub use write::Durability;

register_backend! {
    name: "file",
    summary: "a directory with one file per entry, for any number of processes",
    reach: Reach::Shared,
    durable: true,
    scratch: |directory| {
        let values = FileValuesConfig::new(directory.join("values"));
        (Box::new(values), Box::new(FileCallsConfig::new(directory.join("calls"))))
    },
}
