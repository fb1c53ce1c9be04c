//! Tests that depend on process-wide state: defaults, configuration files and logging. Each runs in its own process.
#![allow(missing_docs)]

#[path = "process_wide/default_cache.rs"]
mod default_cache;
#[path = "process_wide/ignored_configuration.rs"]
mod ignored_configuration;
#[path = "process_wide/installed_cache.rs"]
mod installed_cache;
#[path = "process_wide/log.rs"]
mod log;
#[path = "process_wide/long_waits.rs"]
mod long_waits;
#[path = "process_wide/main_error.rs"]
mod main_error;
#[path = "process_wide/own_process.rs"]
#[allow(dead_code)]
mod own_process;
#[path = "process_wide/small_stack.rs"]
mod small_stack;
#[path = "engine/support.rs"]
#[allow(dead_code)]
mod support;
#[path = "process_wide/unbound_guard.rs"]
mod unbound_guard;
