//! The interface for the other crates of this workspace, beyond the public API. It may change with any release.

pub use crate::argument::KnownFile;
pub use crate::runtime::internal_threads::{PendingGuard, PendingReplies, ReaderThreadGuard, WaiterThreadGuard};
pub use crate::runtime::{fork, log, mode, process_id, thread_spawner, written_file};
