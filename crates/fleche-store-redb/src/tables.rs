//! The tables of the file, the tables that a transaction has open, the durability of their entries, and the rows of the
//! index of records.

use std::{
    borrow::Cow,
    fmt,
    ops::RangeInclusive,
    time::{Duration, SystemTime},
};

use fleche_core::{
    CallKey, Digest, Query, Record, ValueRef,
    call::{Argument, INLINE_LIMIT},
};
use redb::{ReadOnlyTable, ReadTransaction, Table, TableDefinition, WriteTransaction};
use serde::{Deserialize, Serialize};

pub(crate) type Bytes32 = &'static [u8; 32];
pub(crate) type Blob = &'static [u8];

pub(crate) const VALUES: TableDefinition<Bytes32, Blob> = TableDefinition::new("values");
pub(crate) const AGES: TableDefinition<Bytes32, u64> = TableDefinition::new("ages");
pub(crate) const RECORDS: TableDefinition<Bytes32, Blob> = TableDefinition::new("records");
pub(crate) const INDEX: TableDefinition<&'static RowKey, ()> = TableDefinition::new("index");
pub(crate) const DAMAGED: TableDefinition<u64, Blob> = TableDefinition::new("damaged");
pub(crate) const FLECHE: TableDefinition<&'static str, u64> = TableDefinition::new("fleche");

/// The key of the file format in [`FLECHE`], and the format of this version.
pub(crate) const FORMAT: (&str, u64) = ("format", 2);

/// Creates the tables of a new file.
pub(crate) fn create(transaction: &WriteTransaction) -> Result<(), redb::Error> {
    transaction.open_table(VALUES)?;
    transaction.open_table(AGES)?;
    transaction.open_table(RECORDS)?;
    transaction.open_table(INDEX)?;
    transaction.open_table(DAMAGED)?;
    transaction.open_table(FLECHE)?.insert(FORMAT.0, FORMAT.1)?;
    Ok(())
}

/// The tables that reads use, as of one commit.
pub(crate) struct Snapshot {
    pub(crate) values: ReadOnlyTable<Bytes32, Blob>,
    pub(crate) ages: ReadOnlyTable<Bytes32, u64>,
    pub(crate) records: ReadOnlyTable<Bytes32, Blob>,
    pub(crate) index: ReadOnlyTable<&'static RowKey, ()>,
}

impl Snapshot {
    pub(crate) fn new(transaction: &ReadTransaction) -> Result<Self, redb::Error> {
        Ok(Self {
            values: transaction.open_table(VALUES)?,
            ages: transaction.open_table(AGES)?,
            records: transaction.open_table(RECORDS)?,
            index: transaction.open_table(INDEX)?,
        })
    }

    /// Returns when the value was put, in nanoseconds since the Unix epoch, or `None` if it is absent.
    pub(crate) fn put(&self, id: &Digest) -> Result<Option<u64>, redb::Error> {
        Ok(self.ages.get(id.as_bytes())?.map(|put| put.value()))
    }
}

/// The tables that a commit has used so far. They are opened on first use, since opening one costs as much as a change.
pub(crate) struct Tables<'t> {
    transaction: &'t WriteTransaction,
    values: Option<ValueTables<'t>>,
    records: Option<RecordTables<'t>>,
}

/// The tables of values, open for changes.
pub(crate) struct ValueTables<'t> {
    pub(crate) values: Table<'t, Bytes32, Blob>,
    pub(crate) ages: Table<'t, Bytes32, u64>,
}

/// The tables of records, open for changes.
pub(crate) struct RecordTables<'t> {
    pub(crate) records: Table<'t, Bytes32, Blob>,
    pub(crate) index: Table<'t, &'static RowKey, ()>,
}

impl<'t> Tables<'t> {
    pub(crate) fn new(transaction: &'t WriteTransaction) -> Self {
        Self { transaction, values: None, records: None }
    }

    pub(crate) fn values(&mut self) -> Result<&mut ValueTables<'t>, redb::Error> {
        match &mut self.values {
            Some(tables) => Ok(tables),
            closed => {
                let (values, ages) = (self.transaction.open_table(VALUES)?, self.transaction.open_table(AGES)?);
                Ok(closed.insert(ValueTables { values, ages }))
            }
        }
    }

    pub(crate) fn records(&mut self) -> Result<&mut RecordTables<'t>, redb::Error> {
        match &mut self.records {
            Some(tables) => Ok(tables),
            closed => {
                let (records, index) = (self.transaction.open_table(RECORDS)?, self.transaction.open_table(INDEX)?);
                Ok(closed.insert(RecordTables { records, index }))
            }
        }
    }

    pub(crate) fn damaged(&self) -> Result<Table<'t, u64, Blob>, redb::Error> {
        Ok(self.transaction.open_table(DAMAGED)?)
    }
}

/// The time from which entries survive the end of the process and a power failure. In each case, closing the database, which
/// happens when the last handle is dropped, makes all entries durable.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Durability {
    /// When `put` returns: it waits for a commit to disk, which concurrent callers of `put` share.
    Immediate,
    /// Within 100 ms, or when `sync` returns.
    #[default]
    Eventual,
    /// When the database is closed; `sync` does nothing. Before many entries are pending, they are made durable anyway.
    None,
}

/// Writes the name in configurations: `immediate`.
impl fmt::Display for Durability {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Immediate => "immediate",
            Self::Eventual => "eventual",
            Self::None => "none",
        })
    }
}

/// Returns the age of a value that was put at this time. A time in the future counts as one equally far in the past.
pub(crate) fn age(put: u64) -> Duration {
    Duration::from_nanos(now().abs_diff(put))
}

/// Returns the present time, in nanoseconds since the Unix epoch.
pub(crate) fn now() -> u64 {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    since.as_nanos().try_into().unwrap_or(u64::MAX)
}

/// The key of a row: an 8-byte selector, then the key of the call. A record has a row for its function and one for each
/// of its arguments. The rows are derived from the record, so rows that damage has added or lost are detected or
/// rewritten together with the record.
pub(crate) type RowKey = [u8; SELECTOR_LEN + KEY_LEN];

const SELECTOR_LEN: usize = 8;
const KEY_LEN: usize = 32;

/// The first bytes of a digest of the property that a query selects by. Collisions are resolved by checking the records.
type Selector = [u8; SELECTOR_LEN];

/// Returns the rows of a record.
pub(crate) fn index_rows(key: &CallKey, record: &Record) -> Vec<RowKey> {
    let name = &record.function.name;
    let arguments = record.arguments.iter().map(|argument| of_argument(name, argument));
    std::iter::once(of_function(name)).chain(arguments).map(|selector| row(selector, key.digest().as_bytes())).collect()
}

/// Returns the key of the record that a row leads to.
pub(crate) fn call_of(row: &RowKey) -> CallKey {
    Digest::from_bytes(std::array::from_fn(|at| row[SELECTOR_LEN + at])).into()
}

/// The rows that a query for a function selects.
pub(crate) struct Wanted {
    /// The rows of one of the query's arguments, or of the function if it has none.
    pub(crate) rows: RangeInclusive<RowKey>,
    others: Vec<Selector>,
}

impl Wanted {
    pub(crate) fn new(function: &str, query: &Query) -> Self {
        let mut selectors: Vec<_> = query.arguments().iter().map(|argument| of_argument(function, argument)).collect();
        let first = selectors.pop().unwrap_or_else(|| of_function(function));
        Self { rows: row(first, &[0; KEY_LEN])..=row(first, &[u8::MAX; KEY_LEN]), others: selectors }
    }

    /// Returns the rows of the query's other arguments, which a matching record with this row must also have.
    pub(crate) fn others<'a>(&'a self, found: &'a RowKey) -> impl Iterator<Item = RowKey> + 'a {
        let key: [u8; KEY_LEN] = std::array::from_fn(|at| found[SELECTOR_LEN + at]);
        self.others.iter().map(move |selector| row(*selector, &key))
    }
}

fn row(selector: Selector, key: &[u8; KEY_LEN]) -> RowKey {
    let mut row = [0; SELECTOR_LEN + KEY_LEN];
    row[..SELECTOR_LEN].copy_from_slice(&selector);
    row[SELECTOR_LEN..].copy_from_slice(key);
    row
}

fn of_function(name: &str) -> Selector {
    selector(name.as_bytes())
}

/// Computes the selector from the function's name, the argument's name, its form and its reference.
fn of_argument(function: &str, Argument(name, value): &Argument) -> Selector {
    let (form, reference): (u8, Cow<'_, [u8]>) = match value {
        ValueRef::Inline(encoded) => (0, encoded.as_slice().into()),
        ValueRef::Stored(digest) => (1, digest.as_bytes()[..].into()),
    };
    let mut bytes = Vec::with_capacity(function.len() + name.len() + 3 + INLINE_LIMIT);
    bytes.extend_from_slice(function.as_bytes());
    bytes.push(0);
    bytes.extend_from_slice(name.as_bytes());
    bytes.extend_from_slice(&[0, form]);
    bytes.extend_from_slice(&reference);
    selector(&bytes)
}

fn selector(bytes: &[u8]) -> Selector {
    let digest = Digest::hash(bytes);
    std::array::from_fn(|at| digest.as_bytes()[at])
}
