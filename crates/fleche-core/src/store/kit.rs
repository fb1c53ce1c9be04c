//! The kit for authors of stores: what every store needs beside its engine.
//!
//! A backend has a store of values and a store of records. If its engine keeps bytes under keys, it implements
//! [`KeyValueEngine`]: read an entry, change one entry atomically, list keys. [`KeyValueStore`] builds both stores from it, as the
//! conformance suite demands. Any other backend implements [`ValueStore`](super::ValueStore) and
//! [`CallStore`](super::CallStore) itself, with these parts:
//!
//! | to | use |
//! |---|---|
//! | describe the two stores in users' configurations | [`store_configs!`](crate::store_configs), [`Location`] |
//! | return the open store if a place is opened twice | [`OpenStores`], [`Place`], [`OpenPlaceGuard`] |
//! | check what comes before each operation: forks, a removed file, a store that may only be read | [`Handle`], [`OpenDatabase`], [`BackingFile`] |
//! | verify what is read, and move damaged entries away | [`read_verified`], [`quarantined`] |
//! | write the errors that all stores have | [`StoreName`], [`Entry`], [`damage_reason`], [`catch_engine_panic`] |
//! | list and find entries page by page | [`pages`], [`prefix_bounds`], [`matching_records`] |
//! | read what is left of a damaged file, and keep the file | [`read_around_damage`], [`free_numbered`], [`beside`], [`sync_parent`] |
//! | put a store around another one | [`ValueStoreWrapper`], [`CallStoreWrapper`] |
//!
//! `examples/backend` is a complete backend with an engine in memory.

mod config;
mod files;
mod handle;
mod key_value;
mod listing;
mod name;
mod quarantine;
mod recover;
mod wrapper;

pub use super::{
    BackingFile, FileBacked, OpenPlaceGuard, OpenStores, Place, ensure_not_forked, matching_records, portable_path,
    retry_if_reopened,
};
pub use crate::runtime::{fork::ProcessLocal, lock::LockResultExt, log, thread_spawner::spawn, written_file};
pub use config::{Location, is_default};
pub use files::{beside, free_numbered, sync_parent};
pub use handle::{Handle, OpenDatabase};
pub use key_value::{Change, KeyValueEngine, KeyValueStore, Put, Stored};
pub use listing::{Page, pages, prefix_bounds};
pub use name::{Entry, Kind, StoreName, catch_engine_panic, damage_reason};
pub use quarantine::{MAX_QUARANTINED, Verified, quarantined, read_verified};
pub use recover::{Direction, read_around_damage};
pub use wrapper::{CallStoreWrapper, ValueStoreWrapper};
