//! Tests of guarantees of the redb stores beyond the conformance suite, one concern per file.

mod store {
    mod commits;
    pub(crate) mod common;
    mod config;
    mod damage;
    mod hostile;
    mod index;
    mod processes;
    mod sharing;
    mod size;
}
