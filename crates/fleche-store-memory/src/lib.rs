//! Stores in memory: the fastest ones. They are dropped with their last handle and not shared between processes.
//!
//! [`MemoryValues`] stores values, [`MemoryCalls`] stores records. Choose them for tests, for a single long-running
//! process, or if results are only worth keeping while a program runs. `fleche-store-file` also keeps them for the next
//! run.
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
//! // In the same process, the configuration of a store opens the store itself.
//! # Ok::<(), fleche_core::Error>(())
//! ```

mod calls;
mod compact;
mod config;
mod error;
mod shards;
mod values;

pub use calls::MemoryCalls;
pub use config::{MemoryCallsConfig, MemoryValuesConfig};
pub use values::MemoryValues;

use fleche_core::{register_backend, store::Reach};

register_backend! {
    name: "memory",
    summary: "in memory, for one process while it runs",
    reach: Reach::Process,
    durable: false,
    scratch: |_| {
        let values = MemoryValuesConfig::with_id(shards::random_id());
        (Box::new(values), Box::new(MemoryCallsConfig::with_id(shards::random_id())))
    },
}
