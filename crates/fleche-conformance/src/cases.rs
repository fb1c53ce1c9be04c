//! The tests of the listed cases, by subject. A test panics if a backend breaks its promise.

pub(crate) mod basic;
pub(crate) mod calls;
pub(crate) mod concurrent;
pub(crate) mod config;
pub(crate) mod damage;
pub(crate) mod find;
pub(crate) mod iterate;
pub(crate) mod layers;
pub(crate) mod places;
pub(crate) mod processes;
pub(crate) mod reopen;
pub(crate) mod values;
