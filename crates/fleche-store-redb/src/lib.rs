//! Stores in a [redb](https://www.redb.org) database: one file, for one process at a time with very many small entries.
//!
#![doc = include_str!("../README.md")]

mod apply;
mod calls;
mod commit;
mod config;
mod database;
mod db_handle;
mod error;
mod flusher;
mod list;
mod pending;
mod read;
mod recover;
mod repair;
mod repair_files;
mod tables;
mod values;
mod write;

pub use calls::RedbCalls;
pub use config::{RedbCallsConfig, RedbValuesConfig};
pub use pending::CommitStats;
pub use tables::Durability;
pub use values::RedbValues;

use fleche_core::{register_backend, store::Reach};

register_backend! {
    name: "redb",
    summary: "a redb database in one file, for one process at a time with many small entries",
    reach: Reach::Exclusive,
    durable: true,
    scratch: |directory| {
        let path = directory.join("fleche.redb");
        (Box::new(RedbValuesConfig::new(&path)), Box::new(RedbCallsConfig::new(&path)))
    },
}
