//! The tests of the listed cases, by subject. A test panics if a backend breaks its promise.

pub(crate) mod basic;
pub(crate) mod calls;
pub(crate) mod concurrent;
pub(crate) mod damage;
pub(crate) mod environment;
pub(crate) mod layers;
pub(crate) mod listing;
pub(crate) mod values;
