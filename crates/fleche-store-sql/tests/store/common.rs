//! Helpers of the tests: scratch databases, records, statements that bypass the store, and child processes that run
//! this test binary.

use std::{
    collections::BTreeMap,
    env,
    process::{Child, Command, Stdio},
    time::Duration,
};

use fleche_core::{
    CallKey, CallStore, Digest, DigestPrefix, FunctionId, Record, ValueRef,
    call::{Argument, RecordFields, Timestamp, Writer},
    encoding,
    metadata::Metadata,
};
use fleche_store_sql::{SqlCalls, SqlCallsConfig, SqlValues, SqlValuesConfig};
use rusqlite::Connection;
use tempfile::TempDir;
use tokio_postgres::NoTls;

/// The configurations of stores in an empty database.
pub(crate) struct Scratch {
    pub(crate) directory: TempDir,
    pub(crate) values: SqlValuesConfig,
    pub(crate) calls: SqlCallsConfig,
}

impl Scratch {
    pub(crate) fn sqlite() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let url = format!("sqlite:{}/test.db", directory.path().display());
        Self::of(directory, SqlValuesConfig::new(url.clone()), SqlCallsConfig::new(url))
    }

    pub(crate) fn postgres() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let url = env::var("FLECHE_POSTGRES").expect("`cargo xtask postgres` starts a server and sets FLECHE_POSTGRES");
        let schema =
            format!("test_{}", &Digest::hash(directory.path().as_os_str().as_encoded_bytes()).to_string()[..32]);
        let values = SqlValuesConfig::new(url.clone()).schema(schema.clone());
        Self::of(directory, values, SqlCallsConfig::new(url).schema(schema))
    }

    /// Sets a timeout that suffices on a busy machine.
    fn of(directory: TempDir, values: SqlValuesConfig, calls: SqlCallsConfig) -> Self {
        const PATIENCE: Duration = Duration::from_mins(2);
        Self { directory, values: values.timeout(PATIENCE), calls: calls.timeout(PATIENCE) }
    }

    pub(crate) fn open_values(&self) -> SqlValues {
        SqlValues::open_with(&self.values).unwrap()
    }

    pub(crate) fn open_calls(&self) -> SqlCalls {
        SqlCalls::open_with(&self.calls).unwrap()
    }

    /// Runs the statement on the SQLite file, bypassing the store.
    pub(crate) fn execute(&self, sql: &str) {
        self.outside().execute_batch(sql).unwrap();
    }

    /// Returns the number that the query selects from the SQLite file, bypassing the store.
    pub(crate) fn number(&self, sql: &str) -> i64 {
        self.outside().query_row(sql, [], |row| row.get(0)).unwrap()
    }

    fn outside(&self) -> Connection {
        Connection::open(self.directory.path().join("test.db")).unwrap()
    }
}

/// Runs the SQL on the PostgreSQL server, bypassing the store.
pub(crate) fn execute_on_server(sql: &str) {
    let url = env::var("FLECHE_POSTGRES").unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let (client, connection) = tokio_postgres::connect(&url, NoTls).await.unwrap();
        let connection = tokio::spawn(connection);
        client.batch_execute(sql).await.unwrap();
        drop(client);
        connection.await.unwrap().unwrap();
    });
}

/// Defines two tests of each behaviour: with a SQLite file, and with a PostgreSQL server.
macro_rules! on_both {
    ($($name:ident)+) => {
        mod sqlite {
            $(#[test]
            fn $name() {
                super::$name(&super::Scratch::sqlite());
            })+
        }
        mod postgres {
            $(#[test]
            #[ignore = "needs a server: cargo xtask postgres"]
            fn $name() {
                super::$name(&super::Scratch::postgres());
            })+
        }
    };
}
pub(crate) use on_both;

pub(crate) fn key(number: u32) -> CallKey {
    Digest::hash(&number.to_le_bytes()).into()
}

pub(crate) fn argument(name: &'static str, value: u32) -> Argument {
    Argument(name.into(), ValueRef::new(&encoding::to_vec(&value).unwrap()))
}

/// Returns the fields of a record of `f(nth)`, written `nth` nanoseconds after the Unix epoch.
pub(crate) fn fields(nth: u32) -> RecordFields {
    RecordFields {
        function: FunctionId { name: "f".into(), version: 1, code: Digest::hash(b"code"), hash_code: false },
        arguments: vec![argument("nth", nth)],
        result: ValueRef::new(&nth.to_le_bytes()),
        metadata: Metadata::default(),
        written: Timestamp(nth.into()),
        writer: Writer { host: "host".into(), process: 1, program: "program".into() },
        other: BTreeMap::new(),
    }
}

pub(crate) fn record(nth: u32) -> Record {
    Record::new(fields(nth))
}

/// Returns the number of records.
pub(crate) fn count(calls: &SqlCalls) -> u32 {
    u32::try_from(calls.keys(&DigestPrefix::all()).unwrap().count()).unwrap()
}

/// Starts the test `store::processes::child_process` of this binary in a child process, with this database.
pub(crate) fn child(task: &str, scratch: &Scratch) -> Child {
    child_command(task, scratch).spawn().unwrap()
}

pub(crate) fn child_command(task: &str, scratch: &Scratch) -> Command {
    let mut command = Command::new(env::current_exe().unwrap());
    command
        .args(["--exact", "store::processes::child_process", "--nocapture"])
        .env("FLECHE_CHILD_TASK", task)
        .env("FLECHE_CHILD_CALLS", serde_json::to_string(&scratch.calls).unwrap())
        .env("FLECHE_CHILD_DIRECTORY", scratch.directory.path())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped());
    command
}
