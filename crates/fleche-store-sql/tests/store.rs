//! Tests of guarantees of the SQL stores beyond the conformance suite, one concern per file. `cargo xtask postgres
//! cargo test --package fleche-store-sql -- --ignored` runs the tests that need a PostgreSQL server.

mod store {
    mod claims;
    pub(crate) mod common;
    mod config;
    mod entries;
    mod format;
    mod processes;
    mod repair;
    mod schema;
    mod timeouts;
}
