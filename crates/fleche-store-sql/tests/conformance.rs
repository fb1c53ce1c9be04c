//! Runs the conformance suite, which every backend must pass, on SQLite. `cargo xtask conformance` runs it on
//! PostgreSQL, which needs a server.

fleche_conformance::suite!(fleche_store_sql, "sql-sqlite");
