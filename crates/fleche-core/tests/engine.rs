//! Tests of memoized functions as users see them: the bodies that ran, their caches, and the logged messages.
// Results are compared exactly, and the tests use every kind of option that users have.
#![allow(missing_docs, clippy::float_cmp, clippy::option_option, clippy::unused_async)]

#[path = "engine/asynchronous.rs"]
mod asynchronous;
#[path = "engine/asynchronous_single_flight.rs"]
mod asynchronous_single_flight;
#[path = "engine/asynchronous_stores.rs"]
mod asynchronous_stores;
#[path = "engine/bound.rs"]
mod bound;
#[path = "engine/builder.rs"]
mod builder;
#[expect(unreachable_pub, reason = "the fuzz target shares this file")]
#[path = "../../../fuzz/check_reference.rs"]
mod check_reference;
#[path = "engine/circuit_breaker.rs"]
mod circuit_breaker;
#[path = "engine/companion.rs"]
mod companion;
#[cfg(feature = "zstd")]
#[path = "engine/compressed.rs"]
mod compressed;
#[path = "engine/context.rs"]
mod context;
#[path = "engine/cycles.rs"]
mod cycles;
#[path = "engine/failed_lookups.rs"]
mod failed_lookups;
#[path = "engine/files.rs"]
mod files;
#[path = "engine/fixtures.rs"]
mod fixtures;
#[path = "engine/hashed.rs"]
mod hashed;
#[path = "engine/hooked_store.rs"]
mod hooked_store;
#[path = "engine/identity.rs"]
mod identity;
#[path = "engine/jobs.rs"]
mod jobs;
#[path = "engine/many_jobs.rs"]
mod many_jobs;
#[path = "engine/panics.rs"]
mod panics;
#[path = "engine/parameters.rs"]
mod parameters;
#[path = "engine/read_only_engine.rs"]
mod read_only_engine;
#[path = "engine/records.rs"]
mod records;
#[path = "engine/results.rs"]
mod results;
#[path = "engine/single_flight.rs"]
mod single_flight;
#[path = "engine/skipped_fields.rs"]
mod skipped_fields;
#[path = "engine/stale.rs"]
mod stale;
#[path = "engine/stale_fields.rs"]
mod stale_fields;
#[path = "engine/store_errors.rs"]
mod store_errors;
#[path = "engine/stores.rs"]
mod stores;
#[path = "engine/support.rs"]
mod support;
#[path = "engine/task_panics.rs"]
mod task_panics;
#[path = "engine/text.rs"]
mod text;
#[path = "engine/text_calls.rs"]
mod text_calls;
#[path = "engine/text_pointers.rs"]
mod text_pointers;
#[path = "engine/unstable_arguments.rs"]
mod unstable_arguments;
#[path = "engine/without_claim.rs"]
mod without_claim;
