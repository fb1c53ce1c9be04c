//! Stores that keep each entry in a file of its own in a directory: the default choice.
//!
//! [`FileValues`] stores values, [`FileCalls`] stores records. Any number of processes may use one directory at once,
//! on one host or, over a network file system, on many; no server is needed. Choose `fleche-store-redb` if one process
//! stores very many small results, `fleche-store-memory` if nothing should outlive the process.
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
//! # Layout of the directory
//!
//! | name | content |
//! |---|---|
//! | `ab/cdef…` | the entry with digest `abcdef…`: the unmodified encoding of the value or bytes of the record |
//! | `ab/.tmp-<host>-<process>-…` | an entry that is being written; it is renamed once it is complete |
//! | `ab/.trash-<host>-<process>-…` | an entry that is being removed |
//! | `damaged/abcdef….…` | a quarantined entry, whose content did not match its name; you may inspect and remove it |
//! | `.fleche-values`, `.fleche-calls` | a marker that tells the two kinds of stores apart |
//! | `.fleche-claims` | the lock file of claims: its locked bytes are the claims, its content describes the claim holders |
//! | `claims/abcdef…` | the lock file of one claim, on systems without open file description locks |
//!
//! The `b3sum` of a value's file is the name of its directory followed by its own name. Files of the second and third
//! kind that a killed process left behind are removed by the next process that lists their directory; a store does so
//! when it first writes an entry there. All other files in the directory are left alone.
//!
//! Entries appear by renaming, so a reader sees a complete entry or none, without a lock. Every read is verified.
//!
//! # System calls
//!
//! | operation | system calls |
//! |---|---|
//! | a hit whose result encodes to at most 64 bytes | open, read, close: the result is inline in the record |
//! | a larger result | the same, for a second file; from 4 KiB on also fstat and a second read, into the returned memory |
//! | a miss | open, which fails |
//! | its claim | fstat of the lock file, lock, query of other locks, write of the claim holder, unlock |
//! | the second lookup under the claim, since another process may have stored the result by then | open, which fails |
//! | each entry that is written | open, write, close, rename |
//! | a value that exists already | open, fstat, set its time, close, stat |
//!
//! Nothing is synced, unless the body took over a second or [`Durability`] asks for it. `cargo xtask bench cold misses`
//! compares these costs with those of reading and writing the same files without fleche.
//!
//! # Claims
//!
//! Among the processes that miss a call at the same time, one gets the claim to compute it, and the others wait. Claims
//! are file locks: the system releases them when the process ends for any reason, so there is nothing to clean up. A
//! store locks only files of its own user, or with `shared = true` in the configuration also files of other users in
//! the directory's group. Claims only save work. The lock files may be deleted while no process uses the directory. If
//! a file system cannot lock, a warning is logged once, and two processes may compute the same call. A forked child
//! process computes without the store, unless it executes another program.

mod calls;
#[cfg(unix)]
mod claims;
mod config;
mod directory;
mod error;
mod quarantine;
mod read;
mod temp_files;
mod values;
mod write;

pub use calls::FileCalls;
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
