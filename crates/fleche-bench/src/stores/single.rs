//! Measures misses and hits of one thread in the redb store, compared with redb alone.
//!
//! For misses, redb alone commits the same batches with the same durability; for hits, it also decodes the records.

use std::{
    hint::black_box,
    path::Path,
    time::{Duration, Instant},
};

use fleche_core::{CallStore, Record};
use fleche_store_redb::RedbCalls;
use redb::{Database, ReadableDatabase};

use super::{
    Item,
    group::{ROUNDS, alone, item, shared},
};
use crate::{
    alone::TABLE,
    rounds::{Measure, medians},
    scratch,
    table::Row,
};

/// Runs the comparison and returns its rows.
pub(super) fn run(quick: bool) -> Result<Vec<Row>, String> {
    let records: u64 = if quick { 800 } else { 100_000 };
    let directory = scratch::directory()?;
    let file = |whose: &str, round: u32| directory.join(format!("{whose}{round}.redb"));
    let items: Vec<_> = (0..records).map(item).collect();
    let (mut ours, mut raw) = (Duration::ZERO, Duration::ZERO);
    for round in 0..ROUNDS {
        let (time, stats) = shared(&file("ours", round), &items, 1)?;
        ours += time;
        raw += alone(&file("raw", round), &items, stats)?;
    }
    let (hit, got) = hits(&file("ours", 0), &file("raw", 0), &items, if quick { 1 } else { 5 })?;
    let ratio = |ours: Duration, raw: Duration| ours.as_secs_f64() / raw.as_secs_f64();
    Ok(vec![
        Row::held("redb, one thread: a miss, against raw redb with the same batches", ratio(ours, raw), 1.3),
        Row::held("redb, one thread: a hit, against raw redb and decoding", ratio(hit, got), 1.5),
    ])
}

/// Measures getting all items from the store, and from redb alone with decoding.
fn hits(ours: &Path, raw: &Path, items: &[Item], rounds: usize) -> Result<(Duration, Duration), String> {
    let store = RedbCalls::open(ours).map_err(|error| error.to_string())?;
    let database = Database::open(raw).map_err(|error| error.to_string())?;
    let get = |item: &Item| -> Result<Option<Record>, redb::Error> {
        let found = database.begin_read()?.open_table(TABLE)?.get(item.key.digest().as_bytes())?;
        let bytes = found.map(|bytes| bytes.value().to_vec());
        Ok(bytes.and_then(|bytes| Record::from_bytes(&item.key, &bytes).ok().flatten()))
    };
    let timed = |one: &dyn Fn(&Item) -> Result<Option<Record>, String>| {
        let begun = Instant::now();
        for item in items {
            black_box(one(item)?).ok_or("a record that was put is missing")?;
        }
        Ok(begun.elapsed())
    };
    let mut measures: [Measure<'_>; 2] = [
        Box::new(|| timed(&|item| store.get(&item.key).map_err(|error| error.to_string()))),
        Box::new(|| timed(&|item| get(item).map_err(|error| error.to_string()))),
    ];
    let took = medians(rounds, &mut measures)?;
    Ok((took[0], took[1]))
}
