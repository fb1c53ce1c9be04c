//! A cookbook: recipes for common tasks.
//!
#![doc = include_str!("../docs/cookbook.md")]

#[doc = include_str!("../docs/cookbook/parameter_sweep.md")]
pub mod parameter_sweep {}

#[doc = include_str!("../docs/cookbook/files_as_arguments.md")]
pub mod files_as_arguments {}

#[doc = include_str!("../docs/cookbook/large_shared_argument.md")]
pub mod large_shared_argument {}

#[doc = include_str!("../docs/cookbook/external_program.md")]
pub mod external_program {}

#[doc = include_str!("../docs/cookbook/worker_processes.md")]
pub mod worker_processes {}

#[doc = include_str!("../docs/cookbook/rayon_iterators.md")]
pub mod rayon_iterators {}

#[doc = include_str!("../docs/cookbook/async_functions.md")]
pub mod async_functions {}

#[doc = include_str!("../docs/cookbook/errors.md")]
pub mod errors {}

#[doc = include_str!("../docs/cookbook/versions_and_stale_results.md")]
pub mod versions_and_stale_results {}

#[doc = include_str!("../docs/cookbook/find_and_evict.md")]
pub mod find_and_evict {}

#[doc = include_str!("../docs/cookbook/garbage_collection.md")]
pub mod garbage_collection {}

#[doc = include_str!("../docs/cookbook/shared_store.md")]
pub mod shared_store {}

#[doc = include_str!("../docs/cookbook/several_hosts.md")]
pub mod several_hosts {}

#[doc = include_str!("../docs/cookbook/tests_of_memoized_code.md")]
pub mod tests_of_memoized_code {}

#[doc = include_str!("../docs/cookbook/tags_and_metadata.md")]
pub mod tags_and_metadata {}
