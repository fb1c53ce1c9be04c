//! Stores in SQL databases: a file of SQLite, or a server of PostgreSQL.
//!
//! [`SqlValues`] keeps values, [`SqlCalls`] records; both may be in one database, in tables of their own. Any number of
//! processes may use one database at once: those of one host a file of SQLite, those of many hosts a server of PostgreSQL.
//! Choose them where records are to be found by argument, time or metadata among very many, or where a server is what all
//! hosts share; `fleche-store-file` where values are large, or nothing but a directory is shared.
//!
//! ```
//! use fleche_core::{Digest, ValueStore};
//! use fleche_store_sql::SqlValues;
//!
//! # let directory = tempfile::tempdir().unwrap();
//! # let url = format!("sqlite:{}/cache.db", directory.path().display());
//! let values = SqlValues::open(url)?; // `sqlite:cache.db`, say
//! let id = Digest::of(b"a value");
//! values.put(&id, b"a value")?;
//! assert_eq!(values.get(&id)?.as_deref(), Some(&b"a value"[..]));
//! # Ok::<(), fleche_core::Error>(())
//! ```
//!
//! # Passwords
//!
//! ```toml
//! type = "sql"
//! url = "postgres://me@host/results"
//! password_env = "FLECHE_SQL_PASSWORD"
//! schema = "alloys"
//! ```
//!
//! `password_env` names the environment variable that holds the password, wherever the configuration is opened. A password
//! in the URL is used by this process, and is shown neither by `Debug` nor in errors, logs or configurations that are
//! written: these have `***` in its place. Where such a configuration is opened, by a worker process say, the error says
//! to use `password_env`. What the URL leaves out comes from the variables that PostgreSQL's own programs read, such
//! as `PGHOST` and `PGPASSWORD`, and the password also from `~/.pgpass`. Connections are encrypted with the feature
//! `tls`, and as `?sslmode=…` in the URL says.
//!
//! # What is in the database
//!
//! | table | what it has |
//! |---|---|
//! | `fleche_meta` | the version of the tables; a program that knows only earlier ones refuses to open them |
//! | `fleche_values` | values by digest, and when they were put, in milliseconds by the database's clock |
//! | `fleche_calls` | records by key, with function, version and time of writing |
//! | `fleche_arguments`, `fleche_metadata` | by which records are found: arguments, and fields of metadata |
//! | `fleche_leases` | who computes what |
//! | `fleche_damaged` | entries that did not hold what their keys say; yours to look at and to remove |
//!
//! Names and other text are there as their UTF-8 bytes; names of more than 512 bytes are cut, and end with a digest. A
//! record is written in one transaction with the rows by which it is found. Listings and queries ask for page after page,
//! each from where the last one ended; no transaction stays open in between.
//!
//! # Reading only
//!
//! A database can be opened with rights to read only: by a role of PostgreSQL that may `SELECT` from the tables, on a standby
//! server, or as a file of SQLite that cannot be written to. Calls are then answered from it and recorded nowhere
//! ([`Skip::StoreRefused`](fleche_core::Skip::StoreRefused)), and nothing is claimed. The tables must exist. If the directory
//! of a SQLite file cannot be written to either, the file is read together with the log that a writer has beside it. Without
//! such a log, it is read as it is when it is opened, and later entries may be missing or be reported as damaged.
//!
//! # What survives
//!
//! A crash of the process costs nothing that was put. In SQLite, a power failure may cost the last commits, never the
//! file: it is written with a write-ahead log and `synchronous = NORMAL`, and `sync`, which is asked for when a result took
//! long, waits for the disk. On network file systems, whose locks cannot carry a write-ahead log, each commit waits for
//! the disk (`journal_mode = DELETE`, `synchronous = EXTRA`); a server is the better choice there. PostgreSQL commits as
//! its server was told to, by default to disk.
//!
//! # How long an operation takes
//!
//! Each operation, connecting and waiting for locks included, ends within the `timeout` of the configuration, `"5s"` by
//! default, and a second more for each 4 MiB that it sends. What takes longer fails, and a cache then [leaves the store
//! alone](fleche_core::Cache#when-a-store-fails) for a while. The connection to a server that does not answer
//! is closed; the server may still carry out the operation later. In SQLite the time bounds the wait for locks that other
//! connections hold, in this process or elsewhere. Reading and writing the disk is not bounded. Values of hundreds of
//! megabytes on a slow network need a longer timeout.
//!
//! # Damage
//!
//! An entry that does not hold what its key says is moved to `fleche_damaged`. Where a page of a file of SQLite is damaged,
//! the file heals when an operation meets it: it is copied to `NAME.damaged-1`, up to `NAME.damaged-4`; what can be read is
//! brought over into a new database, which is written over the damaged one under SQLite's locks, so that all who have the
//! file open go on; a warning tells of it, and the operation is done once more. What was lost is absent, and computed again.
//! A file is left as it is, with an error, if nothing tells that it is ours, or it has tables of others or of a later version.
//!
//! # Who computes
//!
//! Of all processes that miss a call at the same time, one gets the claim to compute it and the others wait. A claim is
//! a row with a time limit: ten seconds by the database's clock, which its owner renews every three and a third. So the
//! calls of a process that was killed go to others within ten seconds, even if its clock was ahead. An owner that cannot
//! renew for that long, because it was stopped for instance, is told that it is late, and what it computes replaces nothing.
//! Each grant has a number of its own that is never given again. Only the holder of the last one renews, publishes or releases
//! the claim.

mod access;
mod aside;
mod calls;
mod config;
mod connect;
mod database;
mod dialect;
mod error;
mod find;
mod heal;
mod indexed;
mod keep;
mod keys;
mod leases;
mod link;
mod network;
mod overwrite;
mod raw;
mod register;
mod retry;
mod rows;
mod runtime;
mod salvage;
mod schema;
mod server;
mod statement;
mod url;
mod values;

pub use calls::SqlCalls;
pub use config::{SqlCallsConfig, SqlValuesConfig};
pub use url::DatabaseUrl;
pub use values::SqlValues;
