//! Measures stores, compared with the engines they are built on: values of several sizes, and commits shared by threads.

mod commits;
mod sql;

use std::{path::Path, sync::Arc};

use fleche_core::{CallStore, ValueStore};
use fleche_store_file::{FileCalls, FileValues};
use fleche_store_redb::{RedbCalls, RedbValues};
use fleche_store_sled::{SledCalls, SledValues};
use fleche_store_sql::{SqlCalls, SqlValues};

use crate::{
    measure::{Measure, medians, scratch_directory},
    peers,
    peers::{Item, Raw, timed},
    table::{Row, Table},
};

/// The sizes of values: label, bytes, and the number of values that a round puts and gets.
const SIZES: [(&str, usize, u64); 4] =
    [("64 B", 64, 1_000), ("4 KB", 4_096, 500), ("1 MB", 1 << 20, 16), ("64 MB", 64 << 20, 1)];

/// Runs the benchmark and returns its table.
///
/// # Errors
/// Fails if a store cannot be opened, written or read.
pub(crate) fn run(quick: bool) -> Result<Table, String> {
    let mut rows = Vec::new();
    for (label, size, count) in SIZES.into_iter().take(if quick { 2 } else { SIZES.len() }) {
        let count = if quick { count.min(20) } else { count };
        rows.extend(measure_size(label, size, count, if quick { 1 } else { 5 })?);
    }
    rows.extend(commits::run_shared(quick)?);
    rows.extend(commits::run_single(quick)?);
    rows.extend(sql::run_sqlite(quick)?);
    rows.extend(sql::run_postgres(quick)?);
    Ok(Table(rows))
}

/// A store of fleche and its peer, the engine it is built on.
struct Pair {
    name: &'static str,
    ours: FlecheStores,
    /// The peer's name in the table.
    peer: &'static str,
    raw: Raw,
}

struct FlecheStores {
    values: Arc<dyn ValueStore>,
    calls: Arc<dyn CallStore>,
}

fn pairs(directory: &Path) -> Result<Vec<Pair>, String> {
    let at = |name: &str| directory.join(name);
    let message = |error: fleche_core::Error| error.report().to_string();
    let pair = |name, values: Arc<dyn ValueStore>, calls: Arc<dyn CallStore>, (peer, raw)| Pair {
        name,
        ours: FlecheStores { values, calls },
        peer,
        raw,
    };
    let url = format!("sqlite:{}", at("ours.db").display());
    Ok(vec![
        pair(
            "file",
            Arc::new(FileValues::open(at("values")).map_err(message)?),
            Arc::new(FileCalls::open(at("calls")).map_err(message)?),
            ("the same files", peers::files(&at("raw files"))?),
        ),
        pair(
            "redb",
            Arc::new(RedbValues::open(at("ours.redb")).map_err(message)?),
            Arc::new(RedbCalls::open(at("ours.redb")).map_err(message)?),
            ("raw redb", peers::redb(&at("raw.redb"))?),
        ),
        pair(
            "sled",
            Arc::new(SledValues::open(at("ours sled")).map_err(message)?),
            Arc::new(SledCalls::open(at("ours sled")).map_err(message)?),
            ("raw sled", peers::sled(&at("raw sled"))?),
        ),
        pair(
            "sqlite",
            Arc::new(SqlValues::open(&url).map_err(message)?),
            Arc::new(SqlCalls::open(&url).map_err(message)?),
            ("raw rusqlite", peers::sqlite(&at("raw.db"))?),
        ),
    ])
}

/// Compares every store with its peer: the puts of a miss, and the gets of a hit.
fn measure_size(label: &str, size: usize, count: u64, rounds: usize) -> Result<Vec<Row>, String> {
    let directory = scratch_directory()?;
    let mut rows = Vec::new();
    for Pair { name, ours, peer, raw } in pairs(&directory)? {
        // Each round puts new entries, and gets the same entries.
        let next = std::cell::Cell::new(0);
        let fresh = || next.replace(next.get() + count)..next.get();
        let items = |range: std::ops::Range<u64>| range.map(|nth| Item::new(nth, size)).collect::<Vec<_>>();
        let (put, got) = (std::cell::RefCell::new(Vec::new()), std::cell::RefCell::new(Vec::new()));
        let mut measures: Vec<Measure<'_>> = vec![
            Box::new(|| {
                *put.borrow_mut() = items(fresh());
                timed(&put.borrow(), |item| ours.put(item))
            }),
            Box::new(|| timed(&put.borrow(), |item| ours.get(item))),
            Box::new(|| {
                *got.borrow_mut() = items(fresh());
                timed(&got.borrow(), |item| {
                    if let Some(digest) = item.record.result.stored() {
                        raw.put(digest.as_bytes(), &item.value)?;
                    }
                    raw.put(item.key.digest().as_bytes(), &item.bytes)
                })
            }),
            Box::new(|| {
                timed(&got.borrow(), |item| {
                    raw.get(item.key.digest().as_bytes(), item.bytes.len())?;
                    item.record.result.stored().map_or(Ok(()), |digest| raw.get(digest.as_bytes(), item.value.len()))
                })
            }),
        ];
        let times = medians(rounds, &mut measures)?;
        #[allow(clippy::cast_precision_loss)] // There are only thousands of entries.
        let each = |at: usize| times[at].as_secs_f64() / count as f64;
        for (what, ours, raw) in [("miss", 0, 2), ("hit", 1, 3)] {
            // The peer of a SQLite miss writes one row into one table without indices, so that has no target.
            let target = (name == "sqlite" && what == "hit" && size <= 4_096).then_some(2.0);
            rows.push(Row::against(format!("{name}, {label}, {what}"), each(ours), (peer, each(raw)), target));
        }
    }
    Ok(rows)
}

impl FlecheStores {
    fn put(&self, item: &Item) -> Result<(), String> {
        if let Some(digest) = item.record.result.stored() {
            self.values.put(digest, &item.value).map_err(|error| error.report().to_string())?;
        }
        self.calls.put(&item.key, &item.record).map_err(|error| error.report().to_string())
    }

    /// Reads what a hit needs.
    fn get(&self, item: &Item) -> Result<(), String> {
        let record = self.calls.summary(&item.key).map_err(|error| error.report().to_string())?;
        let record = record.ok_or("a record that was put is missing")?;
        if let Some(digest) = record.result.stored() {
            let value = self.values.get(digest).map_err(|error| error.report().to_string())?;
            if value.is_none_or(|value| value.len() != item.value.len()) {
                return Err("a value that was put is missing or has another length".to_owned());
            }
        }
        Ok(())
    }
}
