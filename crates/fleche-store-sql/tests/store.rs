//! What the SQL stores promise beyond the conformance suite, one concern a file. Tests that need a server of PostgreSQL
//! are run by `cargo xtask postgres cargo test --package fleche-store-sql -- --ignored`.

mod store {
    mod calls;
    mod claims;
    pub(crate) mod common;
    mod config;
    mod damage;
    mod heal;
    mod processes;
    mod rights;
    mod schema;
    mod timeouts;
    mod values;
}
