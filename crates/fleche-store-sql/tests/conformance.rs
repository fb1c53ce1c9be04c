//! The behaviour that every backend must show. For PostgreSQL, whose server must run, `cargo xtask conformance` shows it.

fleche_conformance::suite!(fleche_store_sql, "sql-sqlite");
