//! Tests of guarantees of the redb stores beyond the conformance suite, one concern per file.

mod store {
    pub(crate) mod common;
    mod damage;
    mod database;
    mod index;
    mod opening;
    mod processes;
}
