//! Stores in a directory, one file an entry: the default choice.
//!
//! [`FileValues`] keeps values, [`FileCalls`] records. Any number of processes may use one directory at once, on one
//! host or, over a network file system, on many; nothing has to run for it. Choose `fleche-store-redb` where one
//! process keeps very many small results, `fleche-store-memory` where nothing should outlive the process.
//!
//! ```
//! use fleche_core::{Digest, ValueStore};
//! use fleche_store_file::FileValues;
//!
//! # let directory = tempfile::tempdir().unwrap();
//! # let root = directory.path().join("cache/values");
//! let values = FileValues::open(&root)?;
//! let id = Digest::of(b"a value");
//! values.put(&id, b"a value")?;
//! assert_eq!(values.get(&id)?.as_deref(), Some(&b"a value"[..]));
//! # Ok::<(), fleche_core::Error>(())
//! ```
//!
//! # What is in the directory
//!
//! | name | what it is |
//! |---|---|
//! | `ab/cdef…` | the entry with digest `abcdef…`: the value's encoding, or the record's bytes, as they are |
//! | `ab/.tmp-<host>-<process>-…` | an entry that is being written; it takes its name when it is whole |
//! | `ab/.trash-<host>-<process>-…` | an entry that is being removed |
//! | `damaged/abcdef….…` | an entry that did not hold what its name says; yours to look at and to remove |
//! | `.fleche-values`, `.fleche-calls` | which of the two stores this is |
//! | `.fleche-claims` | whose locked bytes say which missing calls are being computed, and what is known of by whom |
//! | `claims/abcdef…` | the same for one call, where the system cannot lock bytes so |
//!
//! `b3sum` of a value's file prints its directory's and its own name. What a killed process leaves of the second and
//! third kind is removed by whoever lists that directory next: a store does so with the first entry that it puts there.
//! Anything else in the directory is left alone.
//!
//! Entries appear and vanish by renaming, so a reader sees a whole entry or none, without any lock. Every read is
//! verified.
//!
//! # What it asks of the system
//!
//! | for | system calls |
//! |---|---|
//! | a hit whose result encodes to at most 64 bytes | open, read, close: the result stands in the record |
//! | a larger result | the same, for a second file; a file of 4 KiB or more takes a look at its size and a second read, right into the memory that is handed on |
//! | a look-up that misses | open, which finds nothing |
//! | its claim | a look at whether the lock file is still there, lock, look for others, a note of whose it is, and the release |
//! | the look after the claim, since somebody may have been faster | open, which finds nothing |
//! | each entry that is written | open, write, close, rename |
//! | an entry that is there already | open, a look at its size, setting its time, close, a look whether it is still there |
//!
//! Nothing is synced, unless the body took over a second or [`Durability`] asks for it. Where a file system has no locks,
//! that is logged once, and two processes may compute one call at once. `cargo xtask bench cold misses` measures it beside
//! the same files read and written without fleche.
//!
//! # Who computes
//!
//! Of all processes that miss a call at the same time, one gets the claim to compute it and the others wait. Claims are
//! locks, which end with the process however it ends: nothing is left to be cleaned up. Only files of this user are locked,
//! or with `shared = true` in the configuration also those of the directory's group. They only save work. What holds
//! them may be deleted while no process uses the directory; where a file system cannot lock, a warning says so once, and
//! two processes may compute one call. A child that a program forked computes without the store, unless it executes a program.

mod aside;
mod calls;
#[cfg(unix)]
mod claims;
mod config;
mod durability;
mod error;
mod list;
mod read;
mod remove;
mod tree;
mod unfinished;
mod values;
mod write;

pub use calls::FileCalls;
pub use config::{Durability, FileCallsConfig, FileValuesConfig};
pub use values::FileValues;

use fleche_core::{register_backend, store::Reach};

register_backend! {
    name: "file",
    summary: "a directory with one file an entry, for any number of processes",
    reach: Reach::Shared,
    durable: true,
    scratch: |directory| {
        let values = FileValuesConfig::new(directory.join("values"));
        (Box::new(values), Box::new(FileCallsConfig::new(directory.join("calls"))))
    },
}
