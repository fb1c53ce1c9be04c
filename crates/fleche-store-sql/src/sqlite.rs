//! SQLite files through `rusqlite`, on the calling thread: connections, and the repair of damaged files.

mod execute;
pub(crate) mod file_access;
pub(crate) mod files;
mod group;
pub(crate) mod path;
pub(crate) mod pool;
mod recover;
pub(crate) mod repair;
