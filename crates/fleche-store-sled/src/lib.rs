//! Stores in a [sled](https://docs.rs/sled/0.34) database: one directory, one process at a time.
//!
//! [`SledValues`] keeps values, [`SledCalls`] records; both may name one directory or two. sled is beta: read this crate's
//! README first. `fleche-store-redb` does the same for the same programs and keeps more promises; `fleche-store-file` is
//! for several processes.
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
//! # What is in the database
//!
//! | tree | key | value |
//! |---|---|---|
//! | `values` | digest | the value's encoding, as it is |
//! | `ages` | digest | when it was put: nanoseconds since 1970, 8 bytes, big endian |
//! | `records` | call key | the record's bytes, as they are |
//! | `calls of functions` | 8 bytes of the name's digest, then the call key | 4 bytes for each argument |
//! | `damaged` | a number, 8 bytes, big endian | `v` or `r`, the digest or call key, then what was found there; the last 64 |
//! | `fleche` | `format` | 1, 8 bytes, big endian |
//!
//! Every read is verified: the bytes of a value against its digest, a record against its checksum.

mod aside;
mod calls;
mod config;
mod database;
mod error;
mod index;
mod values;

pub use calls::SledCalls;
pub use config::{SledCallsConfig, SledValuesConfig};
pub use values::SledValues;

use fleche_core::{register_backend, store::Reach};

register_backend! {
    name: "sled",
    summary: "a sled database, which is beta, for one process at a time",
    reach: Reach::Exclusive,
    durable: true,
    scratch: |directory| {
        let path = directory.join("sled");
        (Box::new(SledValuesConfig::new(&path)), Box::new(SledCallsConfig::new(&path)))
    },
}
