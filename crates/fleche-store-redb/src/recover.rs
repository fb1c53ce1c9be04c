//! Recovery: copies the entries that can still be read from a damaged database to a new one.

use std::{collections::HashSet, fs, ops::RangeInclusive, path::Path};

use fleche_core::{
    CallKey, Digest, Record,
    store::kit::{Direction, StoreName, read_around_damage},
};
use redb::{
    Builder, ReadTransaction, ReadableDatabase as _, ReadableTable as _, ReadableTableMetadata as _, TableDefinition,
};

use crate::{
    db_handle::DbHandle,
    error::{catch_panic, needs_reopen},
    tables::{AGES, Blob, Bytes32, INDEX, RECORDS, Tables, VALUES, call_of, create, index_rows, now},
};

type Key = [u8; 32];
type Definition = TableDefinition<'static, Bytes32, Blob>;

/// A function that stores an entry, and returns whether the entry is intact. The flag says whether a lookup finds the entry
/// at its key.
type StoreEntry<'a> = dyn FnMut(&Key, &[u8], bool, &ReadTransaction) -> Result<bool, redb::Error> + 'a;

/// The database that is recovered.
pub(crate) struct Source<'a> {
    redb: &'a mut DbHandle,
    name: &'a StoreName,
    path: &'a Path,
    met_damage: bool,
}

impl<'a> Source<'a> {
    /// Wraps a database that has just been opened.
    pub(crate) fn new(redb: &'a mut DbHandle, name: &'a StoreName, path: &'a Path) -> Self {
        Self { redb, name, path, met_damage: false }
    }

    /// Runs `read` on the last commit; returns `None` if it meets damage. After an error of the operating system, for
    /// example if a page refers beyond the end of the file, redb has to be reopened before it reads anything else.
    fn try_read<T>(
        &mut self,
        read: impl FnOnce(&ReadTransaction) -> Result<T, redb::Error>,
    ) -> Result<Option<T>, redb::Error> {
        let redb = self.redb.get()?;
        let error = match catch_panic(|| read(&redb.begin_read()?)) {
            Ok(found) => return Ok(Some(found)),
            Err(error) => error,
        };
        self.met_damage = true;
        if needs_reopen(&error) {
            self.redb.reopen(self.name, self.path)?;
        }
        Ok(None)
    }

    /// Checks a table whose entries are derived from other tables: only their order and number.
    fn check<const N: usize, V: redb::Value>(
        &mut self,
        table: TableDefinition<'static, &'static [u8; N], V>,
    ) -> Result<(), redb::Error> {
        self.try_read(|reading| {
            let table = reading.open_table(table)?;
            let (mut count, mut last) = (0, None);
            for entry in table.iter()? {
                let key = *entry?.0.value();
                if last.is_some_and(|last| last >= key) {
                    return Err(redb::Error::Corrupted("keys are not in order".to_owned()));
                }
                (count, last) = (count + 1, Some(key));
            }
            if count == table.len()? { Ok(()) } else { Err(redb::Error::Corrupted("entries are missing".to_owned())) }
        })
        .map(drop)
    }
}

/// The result of a recovery.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Recovered {
    pub(crate) values: u64,
    pub(crate) records: u64,
    /// Whether any data could not be read, or was in the wrong place.
    pub(crate) met_damage: bool,
}

/// Creates a database in this new file from all intact entries of the other that can be read. It is durable when this
/// returns.
pub(crate) fn recover(mut from: Source<'_>, to: &Path) -> Result<Recovered, redb::Error> {
    let redb = Builder::new().create(to)?;
    let transaction = redb.begin_write()?;
    create(&transaction)?;
    let mut tables = Tables::new(&transaction);
    let mut recovered = Recovered::default();
    let now = now();
    each(&mut from, VALUES, &mut |id, bytes, is_placed, reading| {
        let id = Digest::from_bytes(*id);
        let is_intact = Digest::hash(bytes) == id;
        // An entry that is damaged in itself is quarantined when it is read.
        if !is_intact && !is_placed {
            return Ok(false);
        }
        let put = catch_panic(|| Ok(reading.open_table(AGES)?.get(id.as_bytes())?.map(|put| put.value())));
        let tables = tables.values()?;
        tables.values.insert(id.as_bytes(), bytes)?;
        tables.ages.insert(id.as_bytes(), put.ok().flatten().unwrap_or(now))?;
        recovered.values += u64::from(is_intact);
        Ok(is_intact)
    })?;
    // The records whose rows are unknown: of a later format, or damaged.
    let mut later = HashSet::new();
    each(&mut from, RECORDS, &mut |key, bytes, is_placed, _| {
        let call = CallKey::from(Digest::from_bytes(*key));
        let record = Record::from_bytes(&call, bytes);
        let is_intact = record.is_ok();
        let rows = match record {
            Ok(Some(record)) => index_rows(&call, &record),
            Err(_) if !is_placed => return Ok(false),
            Ok(None) | Err(_) => {
                later.insert(*key);
                Vec::new()
            }
        };
        let tables = tables.records()?;
        tables.records.insert(key, bytes)?;
        rows.iter().try_for_each(|row| tables.index.insert(row, ()).map(drop))?;
        recovered.records += u64::from(is_intact);
        Ok(is_intact)
    })?;
    if !later.is_empty() {
        copy_rows(&mut from, &later, &mut tables)?;
    }
    drop(tables);
    transaction.commit()?;
    from.check(AGES)?;
    from.check(INDEX)?;
    Ok(Recovered { met_damage: from.met_damage, ..recovered })
}

/// Copies the index rows of these calls, as far as they can be read.
fn copy_rows(from: &mut Source<'_>, calls: &HashSet<Key>, tables: &mut Tables<'_>) -> Result<(), redb::Error> {
    let mut rows = Vec::new();
    // Only the rows before the first damage can be read.
    from.try_read(|reading| {
        let index = reading.open_table(INDEX)?;
        for row in index.iter()?.take(bound(index.len()?)) {
            let row = *row?.0.value();
            if calls.contains(call_of(&row).digest().as_bytes()) {
                rows.push(row);
            }
        }
        Ok(())
    })?;
    let index = &mut tables.records()?.index;
    rows.iter().try_for_each(|row| index.insert(row, ()).map(drop))?;
    Ok(())
}

/// Returns the maximum number of entries that are read from a table that claims this length. Damaged pages may form a cycle.
fn bound(len: u64) -> usize {
    usize::try_from(len.saturating_mul(2).saturating_add(1024)).unwrap_or(usize::MAX)
}

/// Passes every readable entry to `store`, the intact ones once.
fn each(from: &mut Source<'_>, table: Definition, store: &mut StoreEntry<'_>) -> Result<(), redb::Error> {
    // A damaged page may claim far too many entries; each takes at least the size of its key.
    let max = fs::metadata(from.path)?.len() / size_of::<Key>() as u64;
    let len = from.try_read(|reading| Ok(reading.open_table(table)?.len()?))?.map_or(max, |len| len.min(max));
    let min_width = u128::MAX / (4 * u128::from(len.max(1)));
    let mut reader = Reader { from, table, store, stored: HashSet::new(), passed: 0, left: bound(len) };
    read_around_damage(0..=u128::MAX, min_width, |gap, direction| reader.read(&gap, direction))?;
    if reader.passed < len {
        reader.from.met_damage = true;
    }
    Ok(())
}

struct Reader<'a, 's, 'k> {
    from: &'a mut Source<'s>,
    table: Definition,
    store: &'a mut StoreEntry<'k>,
    stored: HashSet<Key>,
    /// The number of entries that were read; equals the table's length if nothing is damaged.
    passed: u64,
    /// The number of further entries that may be read.
    left: usize,
}

impl Reader<'_, '_, '_> {
    /// Reads the keys in this gap, given by their first 16 bytes. Returns `None` at the end of the gap, otherwise the
    /// prefix that reading reached before it met damage.
    fn read(&mut self, gap: &RangeInclusive<u128>, direction: Direction) -> Result<Option<u128>, redb::Error> {
        let (first, last) = (key(*gap.start(), 0), key(*gap.end(), u8::MAX));
        let mut reached = if direction == Direction::Up { *gap.start() } else { *gap.end() };
        let mut not_stored = None;
        let (table, store, stored) = (self.table, &mut self.store, &mut self.stored);
        let (left, passed) = (&mut self.left, &mut self.passed);
        let mut is_misplaced = false;
        let read = self.from.try_read(|reading| {
            let table = reading.open_table(table)?;
            let mut entries = table.range::<&Key>(&first..=&last)?;
            loop {
                let entry = if direction == Direction::Up { entries.next() } else { entries.next_back() };
                let Some(entry) = entry.transpose()? else { return Ok(()) };
                *left =
                    left.checked_sub(1).ok_or_else(|| redb::Error::Corrupted("the entries do not end".to_owned()))?;
                *passed += 1;
                let (key, bytes) = (*entry.0.value(), entry.1.value());
                let is_placed = table.get(&key)?.is_some();
                if !stored.contains(&key) {
                    match store(&key, bytes, is_placed, reading) {
                        Ok(true) => drop(stored.insert(key)),
                        Ok(false) => {}
                        Err(error) => {
                            not_stored = Some(error);
                            return Ok(());
                        }
                    }
                }
                // A misplaced entry does not show how far the reading has come.
                if is_placed {
                    reached = prefix(&key).clamp(*gap.start(), *gap.end());
                } else {
                    is_misplaced = true;
                }
            }
        })?;
        self.from.met_damage |= is_misplaced;
        match (not_stored, read) {
            (Some(error), _) => Err(error),
            (None, Some(())) => Ok(None),
            (None, None) => Ok(Some(reached)),
        }
    }
}

fn prefix(key: &Key) -> u128 {
    u128::from_be_bytes(std::array::from_fn(|at| key[at]))
}

/// Returns the key with this prefix, filled up with the byte `rest`.
fn key(prefix: u128, rest: u8) -> Key {
    let begin = prefix.to_be_bytes();
    std::array::from_fn(|at| begin.get(at).copied().unwrap_or(rest))
}
