//! Stores in memory: as fast as a lookup gets, gone with the last handle, not shared between processes.
//!
//! [`MemoryValues`] keeps values, [`MemoryCalls`] records. Choose them for tests, for one long process, or where
//! results are only worth keeping while a program runs; `fleche-store-file` keeps them for the next run too.
//!
//! ```
//! use fleche_core::{Digest, ValueStore};
//! use fleche_store_memory::MemoryValues;
//!
//! let values = MemoryValues::new();
//! let id = Digest::of(b"a value");
//! values.put(&id, b"a value")?;
//! assert_eq!(values.get(&id)?.as_deref(), Some(&b"a value"[..]));
//!
//! // Within the process a store's configuration leads back to it.
//! let same = values.config().open()?;
//! assert!(same.contains(&id)?);
//! # Ok::<(), fleche_core::Error>(())
//! ```

mod calls;
mod compact;
mod config;
mod error;
mod identity;
mod shards;
mod values;

pub use calls::MemoryCalls;
pub use config::{MemoryCallsConfig, MemoryValuesConfig};
pub use values::MemoryValues;

use fleche_core::{register_backend, store::Reach};

register_backend! {
    name: "memory",
    summary: "in memory, for one process and as long as it runs",
    reach: Reach::Process,
    durable: false,
    scratch: |_| {
        let values = MemoryValuesConfig::with_id(identity::random_id());
        (Box::new(values), Box::new(MemoryCallsConfig::with_id(identity::random_id())))
    },
}
