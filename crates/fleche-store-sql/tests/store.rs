//! Tests of guarantees of the SQL stores beyond the conformance suite, one concern per file. `cargo xtask postgres
//! cargo test --package fleche-store-sql --all-features -- --ignored` runs the tests that need a PostgreSQL server.

mod store {
    mod claims;
    pub(crate) mod common;
    mod config;
    mod entries;
    mod format;
    mod processes;
    mod repair;
    mod schema;
    #[cfg(unix)]
    mod server;
    mod timeouts;
}
