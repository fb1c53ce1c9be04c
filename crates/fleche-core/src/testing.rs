//! Helpers for tests of programs that use memoized functions.
//!
//! A test of a memoized function should test its code, not a result that an earlier run recorded. `cargo test` runs in
//! the package's directory, so it finds a `fleche.toml` there, and a test that enters no cache uses the program's own
//! cache. Each of these prevents that:
//!
//! - [`ignore_configuration`] makes calls run without a cache on every thread, unless the test enters one;
//! - [`scratch`] creates a cache in memory, for tests that count hits or need memoization;
//! - `FLECHE=off cargo test` runs every body of every test, worker processes included.
//!
//! ```
//! use fleche_core::{fleche, testing};
//! # use fleche_store_memory as _;
//!
//! #[fleche]
//! fn energy(x: f64) -> f64 {
//!     0.5 * x * x
//! }
//!
//! // #[test]
//! fn energy_is_quadratic() {
//!     let _configuration = testing::ignore_configuration();
//!     assert_eq!(energy(2.0), 2.0); // Its body runs, regardless of the caches of the program.
//! }
//!
//! // #[test]
//! fn energy_is_computed_once() {
//!     let cache = testing::scratch();
//!     let _active = cache.enter();
//!     assert_eq!((energy(2.0), energy(2.0)), (2.0, 2.0));
//!     assert_eq!(cache.stats().computed, 1);
//! }
//! # energy_is_quadratic();
//! # energy_is_computed_once();
//! ```

use crate::{cache::Cache, config, context};

/// Creates an empty cache in memory that nothing else uses. It lives as long as its last handle.
///
/// # Panics
/// Panics if the program has no in-memory store: add `fleche-store-memory` to `[dev-dependencies]`, and
/// `use fleche_store_memory as _;` to the tests.
pub fn scratch() -> Cache {
    config::new_memory().unwrap_or_else(|error| {
        panic!(
            "a scratch cache needs the store in memory: add `fleche-store-memory` to [dev-dependencies], and `use \
             fleche_store_memory as _;` to the tests ({})",
            error.report()
        )
    })
}

/// Makes the whole process ignore configuration files and `FLECHE_CONFIG` while the guard lives.
///
/// Calls on threads that have entered no cache run without one, unless a default is [set](crate::set_default_cache).
/// [`Cache::from_environment`] returns the cache that stores nothing. [`Cache::named`] knows only the built-in names.
/// [`executor_named`](crate::executor_named) knows only the linked types.
///
/// Tests of one binary run on threads of one process, so the guard of one test affects the others. This is harmless to a
/// test that also creates a guard, or that enters its own cache. Create one in each test, for example in a function that
/// all tests call.
pub fn ignore_configuration() -> IgnoredConfiguration {
    config::ignore(true);
    context::default_changed();
    IgnoredConfiguration(())
}

/// A guard that makes the process ignore configuration until it is dropped; see [`ignore_configuration`].
#[must_use = "configuration is ignored until this is dropped: bind it, `let _configuration = …;`"]
#[derive(Debug)]
pub struct IgnoredConfiguration(());

impl Drop for IgnoredConfiguration {
    fn drop(&mut self) {
        config::ignore(false);
        context::default_changed();
    }
}
