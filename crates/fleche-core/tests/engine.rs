//! Tests of memoized functions as users see them: which bodies ran, under which cache, and what was logged.
// Results are compared exactly, and the tests use every kind of option that users have.
#![allow(missing_docs, clippy::float_cmp, clippy::option_option, clippy::unused_async)]

#[path = "engine/asynchronous.rs"]
mod asynchronous;
#[path = "engine/asynchronous_stores.rs"]
mod asynchronous_stores;
#[path = "engine/asynchronous_turns.rs"]
mod asynchronous_turns;
#[path = "engine/bound.rs"]
mod bound;
#[path = "engine/boxed_stores.rs"]
mod boxed_stores;
#[expect(unreachable_pub, reason = "the fuzz target shares this file")]
#[path = "../../../fuzz/check_reference.rs"]
mod check_reference;
#[path = "engine/circles.rs"]
mod circles;
#[path = "engine/companion.rs"]
mod companion;
#[path = "engine/context.rs"]
mod context;
#[path = "engine/disk.rs"]
mod disk;
#[path = "engine/events.rs"]
mod events;
#[path = "engine/faults.rs"]
mod faults;
#[path = "engine/files.rs"]
mod files;
#[path = "engine/forged.rs"]
mod forged;
#[path = "engine/guard.rs"]
mod guard;
#[path = "engine/hashed.rs"]
mod hashed;
#[path = "engine/identity.rs"]
mod identity;
#[path = "engine/jobs.rs"]
mod jobs;
#[path = "engine/long_result.rs"]
mod long_result;
#[path = "engine/many_jobs.rs"]
mod many_jobs;
#[cfg(target_os = "linux")]
#[path = "engine/mapped_files.rs"]
mod mapped_files;
#[path = "engine/outages.rs"]
mod outages;
#[path = "engine/panics.rs"]
mod panics;
#[path = "engine/panics_of_tasks.rs"]
mod panics_of_tasks;
#[path = "engine/parameters.rs"]
mod parameters;
#[path = "engine/programs.rs"]
mod programs;
#[path = "engine/read_only_turns.rs"]
mod read_only_turns;
#[path = "engine/records.rs"]
mod records;
#[path = "engine/results.rs"]
mod results;
#[path = "engine/runtimes.rs"]
mod runtimes;
#[path = "engine/skipped_fields.rs"]
mod skipped_fields;
#[path = "engine/stale.rs"]
mod stale;
#[path = "engine/stale_fields.rs"]
mod stale_fields;
#[path = "engine/support.rs"]
mod support;
#[path = "engine/text.rs"]
mod text;
#[path = "engine/text_calls.rs"]
mod text_calls;
#[path = "engine/text_pointers.rs"]
mod text_pointers;
#[path = "engine/turns.rs"]
mod turns;
#[path = "engine/unanswered.rs"]
mod unanswered;
#[path = "engine/unclaimed.rs"]
mod unclaimed;
