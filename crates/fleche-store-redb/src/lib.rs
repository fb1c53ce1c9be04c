//! Stores in a [redb](https://www.redb.org) database: one file, one process at a time, very many small entries.
//!
//! [`RedbValues`] keeps values, [`RedbCalls`] records; both may name one file or two. Choose them for one long-running
//! process with many small results; `fleche-store-file` where several processes share the results.
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
//! # Who may open the file
//!
//! One process ([`Reach::Exclusive`]): another one is refused with an error that says what to do. Within the process
//! every handle, of whatever spelling of the path and of both kinds, leads to one open database, which the last of them
//! closes.
//!
//! # What survives
//!
//! What is put is seen by everybody at once, and kept in memory until a commit writes all that was put by then, by whatever
//! thread: after 60 ms under [`Durability::Eventual`], and when somebody waits for the disk, lists or searches, or when more
//! is pending than a twelfth of the file (16 MiB at most, with what it takes in memory up to 48 MiB). When half of that is
//! pending, a thread of the store begins, so that those who put seldom have to wait for it. Values of more than
//! 64 KiB are not copied: whoever puts one commits it. When a commit is on disk, [`Durability`] says. Where a commit fails, what
//! it had stays pending for the next; whoever waits for it, or puts more than may be pending, is told. A handle that is never
//! dropped, as one in a static, is never closed: what it put in the last 100 ms before the process ends is lost under
//! [`Durability::Eventual`]. What is lost is lost as a whole, from some commit on; nothing is ever half there.
//!
//! # What is in the file
//!
//! | table | key | value |
//! |---|---|---|
//! | `values` | digest | the value's encoding, as it is |
//! | `ages` | digest | when it was put: nanoseconds since 1970, `u64` |
//! | `records` | call key | the record's bytes |
//! | `index` | 8 bytes of a digest of the function's name, or of that and an argument, then the call key | |
//! | `damaged` | a number | `v` or `r`, the digest or call key, then what was found there; the last 64 |
//! | `fleche` | `format` | 2; a file with another number is refused |
//!
//! Every read is verified: the bytes of a value against its digest, a record against its checksum.
//!
//! # Damage
//!
//! A damaged entry is moved to the table `damaged`. Where pages of the file itself are damaged, an operation that meets one fails
//! with an error, and the next commit, or closing, reads all of the file: if it is damaged indeed, a copy of it stays as
//! `NAME.damaged-1` (to `-4`; then it is healed no more until somebody removes them), and what can be read and is whole goes into
//! a new one in its place. That takes room for two more of the file on the disk for a while. What fails is tried again after a
//! minute; a file that redb reads no more after an error of the system's is opened anew, at most once a second.
//!
//! Files of up to 4 MiB are verified as a whole when they are opened, in some ten milliseconds. Of larger ones redb does not verify the pages that it reads:
//! where one has another's place, entries may be out of sight. So after each commit up to 64 of its entries are looked for, and
//! one that is not found, or not in order, has the file healed. A file of which redb reads nothing, as one that was cut short, is
//! set aside likewise when it is opened, for an empty one, if the names of our tables stand in it; else it is refused, and left
//! alone, as a file of another program or of a later version of redb is. What the store cannot catch: at some damages of a larger
//! file redb ends the process, since it panics while it cleans up after a panic.

mod apply;
mod aside;
mod calls;
mod closing;
mod commit;
mod config;
mod database;
mod error;
mod flusher;
mod heal;
mod health;
mod index;
mod list;
mod open;
mod pending;
mod read;
mod salvage;
mod tables;
mod values;
mod write;

pub use calls::RedbCalls;
pub use commit::CommitStats;
pub use config::{Durability, RedbCallsConfig, RedbValuesConfig};
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
