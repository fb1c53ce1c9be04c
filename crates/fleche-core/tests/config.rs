//! Configuration files: which are obeyed, what they may say, and what programs are told of them.
#![cfg(unix)]

#[path = "config/trust.rs"]
mod trust;

#[path = "engine/support.rs"]
#[allow(dead_code)]
mod support;
