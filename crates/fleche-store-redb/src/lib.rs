//! Stores in a [redb](https://www.redb.org) database: one file, for one process at a time with very many small entries.
//!
//! [`RedbValues`] stores values, [`RedbCalls`] stores records; they can share a file. Choose them for one long-running
//! process with many small results, and `fleche-store-file` if several processes share the results.
//!
//! ```
//! use fleche_core::{Digest, ValueStore};
//! use fleche_store_redb::{RedbCalls, RedbValues};
//!
//! # let directory = tempfile::tempdir().unwrap();
//! # let path = directory.path().join("cache/fleche.redb");
//! let (values, calls) = (RedbValues::open(&path)?, RedbCalls::open(&path)?);
//! let id = Digest::of(b"a value");
//! values.put(&id, b"a value")?;
//! assert_eq!(values.get(&id)?.as_deref(), Some(&b"a value"[..]));
//! # drop(calls);
//! # Ok::<(), fleche_core::Error>(())
//! ```
//!
//! # Sharing
//!
//! A process that opens the file for writing must be the only one that has it open ([`Reach::Exclusive`]): until it closes
//! the file, opening fails in every other process with an error that says what to do. Several processes can have the file
//! open at the same time if none of them may write to it: see [Reading only](#reading-only). Within a process, all handles
//! to the file, of both kinds and with any spelling of the path, share one open database. Dropping the last handle
//! closes it.
//!
//! # Reading only
//!
//! If this user may not write to the file, it is opened for reading only: calls are answered from it, and new results are
//! recorded nowhere ([`SkipReason::StoreRefused`](fleche_core::SkipReason::StoreRefused)). Any number of processes can read
//! the file like this at the same time; while they do, no process can open it for writing. A file that was not closed,
//! because its process was killed, may need a repair by a user who may write to it.
//!
//! # Durability
//!
//! A new entry is visible to all threads when `put` returns. It stays in memory until a commit writes all pending
//! entries, of all threads, in one transaction. A commit happens 60 ms after the first pending entry under
//! [`Durability::Eventual`]; when a caller waits for the disk, lists or searches; and when the pending entries exceed a
//! twelfth of the file (at least 128 KiB, at most 16 MiB, which take up to 48 MiB of memory). From half of that limit
//! on, a thread of the store commits in the background, so that callers of `put` rarely wait. Values of more than 64
//! KiB are not copied: `put` commits them itself. [`Durability`] determines when a commit is on disk.
//!
//! If a commit fails, its entries stay pending for the next one; callers that wait for the commit, or whose entries
//! exceed the limit, get the error. A handle that is never dropped, such as one in a static, is never closed: entries
//! that were put in the last 100 ms before the process ends are lost under [`Durability::Eventual`]. A crash loses only
//! whole commits, the last ones; it never leaves a partial one.
//!
//! # Layout of the file
//!
//! | table | key | value |
//! |---|---|---|
//! | `values` | digest | the unmodified encoding of the value |
//! | `ages` | digest | the time of the last `put`: nanoseconds since the Unix epoch, `u64` |
//! | `records` | call key | the unmodified bytes of the record |
//! | `index` | 8 bytes of the digest of the function's name, or of that and an argument, then the call key | |
//! | `damaged` | a number | `v` or `r`, the digest or call key, the quarantined bytes; the last 64 |
//! | `fleche` | `format` | 2; a file with another number is refused |
//!
//! Every read is verified: the bytes of a value against its digest, a record against its checksum.
//!
//! # Damage
//!
//! A damaged entry is moved to the table `damaged`. If pages of the file itself are damaged, an operation that reads
//! one fails, and the next commit, or closing, reads the whole file. If damage is confirmed, a copy of the file is kept
//! as `NAME.damaged-1` (to `-4`; then the file is not repaired until you remove them), and all intact entries that can
//! be read are moved to a new file in its place. During a repair, the disk needs free space of twice the file's size. A
//! failed repair is retried after a minute. A file that redb stops reading after an error of the operating system is
//! reopened, at most once a second.
//!
//! Files of up to 4 MiB are verified as a whole when they are opened, in about ten milliseconds. In larger files, redb
//! does not verify the pages that it reads: if one page is in the place of another, entries may be missing. So after
//! each commit, up to 64 of its entries are looked up, and if one is missing or out of order, the file is repaired. If
//! redb cannot read a file at all, for example because it was truncated, opening replaces it with an empty one and
//! keeps the damaged file, provided that it contains the names of fleche's tables. Otherwise the file is refused and
//! left alone, as is a file of another program or of a later version of redb. The store cannot recover from some kinds
//! of damage to larger files: redb panics while it unwinds from a panic, which ends the process.

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
