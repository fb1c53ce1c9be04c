//! Stores in a [sled](https://docs.rs/sled/0.34) database: one directory, for one process at a time.
//!
//! [`SledValues`] stores values, [`SledCalls`] stores records; they can share a directory. sled is beta: read this
//! crate's README first. `fleche-store-redb` suits the same programs and guarantees more; `fleche-store-file` suits
//! several processes.
//!
//! ```
//! use fleche_core::{Digest, ValueStore};
//! use fleche_store_sled::{SledCalls, SledValues};
//!
//! # let directory = tempfile::tempdir().unwrap();
//! # let path = directory.path().join("cache/sled");
//! let (values, calls) = (SledValues::open(&path)?, SledCalls::open(&path)?);
//! let id = Digest::of(b"a value");
//! values.put(&id, b"a value")?;
//! assert_eq!(values.get(&id)?.as_deref(), Some(&b"a value"[..]));
//! # drop(calls);
//! # Ok::<(), fleche_core::Error>(())
//! ```
//!
//! # Layout of the database
//!
//! | tree | key | value |
//! |---|---|---|
//! | `values` | digest | the unmodified encoding of the value |
//! | `ages` | digest | the time of the last `put`: nanoseconds since the Unix epoch, 8 bytes, big endian |
//! | `records` | call key | the unmodified bytes of the record |
//! | `calls of functions` | 8 bytes of the name's digest, then the call key | 4 bytes for each argument |
//! | `damaged` | a number, 8 bytes, big endian | `v` or `r`, the digest or call key, the quarantined bytes; the last 64 |
//! | `fleche` | `format` | 1, 8 bytes, big endian |
//!
//! Every read is verified: the bytes of a value against its digest, a record against its checksum.

mod calls;
mod config;
mod database;
mod engine;
mod error;
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
