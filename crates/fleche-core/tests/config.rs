//! Tests of configuration files: which are trusted, what they may contain, and which messages they cause.
#![cfg(unix)]

// Linked so that configurations can name this backend.
use fleche_store_file as _;

#[path = "config/child.rs"]
mod child;
#[path = "config/environment.rs"]
mod environment;
#[path = "config/modes.rs"]
mod modes;
#[path = "config/trust.rs"]
mod trust;

#[path = "engine/support.rs"]
#[allow(dead_code)]
mod support;
