//! Tests of the one database that all handles to a file share: its commits and its size.

use std::{fs, path::Path, sync::Arc, thread};

use fleche_core::{Cache, CallStore, Digest, DigestPrefix, Query, ValueStore};
use fleche_store_redb::{Durability, RedbCalls, RedbCallsConfig, RedbValues, RedbValuesConfig};

use super::common::{file, noise, put, put_record, record};

#[test]
fn caches_on_two_spellings_of_a_path_share_a_database() {
    let (directory, path) = file();
    let other = directory.path().join("a/../store.redb");
    std::fs::create_dir(directory.path().join("a")).unwrap();
    let (values, calls) = (RedbValues::open(&path).unwrap(), RedbCalls::open(&other).unwrap());
    let first = Cache::new(values.clone(), calls.clone());
    let second = Cache::new(RedbValues::open(&other).unwrap(), RedbCalls::open(&path).unwrap());
    let (key, found) = record("f", 1);
    put_record(&calls, &(key, found));
    put(&values, &noise(1, 100));
    assert!(first.contains(&key).unwrap() && second.contains(&key).unwrap());
    let id = put(&values, b"a value");
    assert!(RedbValues::open(&other).unwrap().contains(&id).unwrap());
    values.sync(&id).unwrap();
    assert_eq!((values.stats(), values.stats().operations), (calls.stats(), 3));
    assert_eq!(calls.identity(), RedbCalls::open(&path).unwrap().identity());
}

#[test]
fn file_can_be_opened_while_another_thread_closes_it() {
    let (_directory, path) = file();
    thread::scope(|scope| {
        for thread in 0..4 {
            let path = &path;
            scope.spawn(move || {
                for round in 0..20 {
                    let values = RedbValues::open(path).unwrap();
                    put(&values, &noise(1000 * thread + round, 100));
                }
            });
        }
    });
    assert_eq!(RedbValues::open(&path).unwrap().ids(&DigestPrefix::all()).unwrap().count(), 80);
}

#[test]
fn compact_does_not_wait_for_open_iterators_and_loses_nothing() {
    let (_directory, path) = file();
    let (values, calls) = (RedbValues::open(&path).unwrap(), RedbCalls::open(&path).unwrap());
    let ids: Vec<_> = (0..600).map(|number| put(&values, &noise(number, 10_000))).collect();
    (0..600).for_each(|number| put_record(&calls, &record("f", number)));
    values.remove_all(&ids[10..], None).unwrap();
    values.sync(&ids[0]).unwrap();
    let before = std::fs::metadata(&path).unwrap().len();
    let query = Query::new().function("f");
    let mut open = calls.find(&query).unwrap();
    assert!(open.next().unwrap().is_ok());
    assert!(values.compact().unwrap());
    let after = std::fs::metadata(&path).unwrap().len();
    assert!(after < before / 4, "{before} bytes became {after}");
    assert_eq!(open.filter_map(Result::ok).count(), 599);
    assert!(ids[..10].iter().all(|id| values.get(id).unwrap().is_some()));
    put_record(&calls, &record("f", 600));
    assert_eq!(calls.find(&query).unwrap().count(), 601);
}

#[test]
fn concurrent_operations_and_compact_see_intact_entries() {
    let (_directory, path) = file();
    let values = Arc::new(RedbValues::open(&path).unwrap());
    thread::scope(|scope| {
        for thread in 0..4u64 {
            let values = &values;
            scope.spawn(move || {
                for round in 0..100 {
                    let bytes = noise(round % 10, if round % 7 == 0 { 100_000 } else { 100 });
                    let id = put(&**values, &bytes);
                    assert!(values.get(&id).unwrap().is_none_or(|found| found == bytes));
                    if round % 3 == 0 {
                        values.remove(&id, None).unwrap();
                    }
                    if round % 25 == thread {
                        values.ids(&DigestPrefix::all()).unwrap().for_each(|id| assert!(id.is_ok()));
                        values.compact().unwrap();
                    }
                }
            });
        }
    });
}

#[test]
fn entries_of_several_threads_are_committed_together() {
    let (_directory, path) = file();
    let lazy = RedbCalls::open_with(&RedbCallsConfig::new(&path).durability(Durability::None)).unwrap();
    thread::scope(|scope| {
        for thread in 0..8 {
            let lazy = &lazy;
            scope.spawn(move || (0..10).for_each(|number| put_record(lazy, &record("f", 10 * thread + number))));
        }
    });
    assert_eq!((lazy.stats().commits, lazy.stats().operations), (0, 0));
    RedbCalls::open(&path).unwrap().sync(&record("f", 0).0).unwrap();
    let stats = lazy.stats();
    assert_eq!((stats.commits, stats.durable, stats.operations), (1, 1, 80));
    assert_eq!(stats.to_string(), "1 commit, 1 durable, of 80 operations");
    assert!((0..80).all(|number| lazy.get(&record("f", number).0).unwrap().is_some()));
}

#[test]
fn large_value_is_committed_after_earlier_entries() {
    let (_directory, path) = file();
    let values = RedbValues::open_with(&RedbValuesConfig::new(&path).durability(Durability::None)).unwrap();
    let large = noise(1, 100_000);
    let small = put(&values, b"small");
    let id = put(&values, &large);
    assert_eq!((values.stats().commits, values.stats().operations), (1, 2));
    assert_eq!(values.get(&id).unwrap().as_deref(), Some(&*large));
    assert!(values.remove(&id, None).unwrap() && !values.contains(&id).unwrap());
    assert!(values.contains(&small).unwrap());
    put(&values, &large);
    assert!(values.contains(&id).unwrap(), "the value put after its removal must exist");
}

#[test]
fn pending_changes_are_visible_to_all_reads() {
    let (_directory, path) = file();
    let values = RedbValues::open_with(&RedbValuesConfig::new(&path).durability(Durability::None)).unwrap();
    let id = put(&values, b"a value");
    assert!(values.contains(&id).unwrap() && values.age(&id).unwrap().is_some());
    assert_eq!(values.get(&id).unwrap().as_deref(), Some(&b"a value"[..]));
    assert!(!values.remove(&id, Some(std::time::Duration::from_hours(1))).unwrap());
    assert!(values.remove(&id, None).unwrap() && !values.remove(&id, None).unwrap());
    assert!(!values.contains(&id).unwrap() && values.age(&id).unwrap().is_none() && values.get(&id).unwrap().is_none());
    assert_eq!(values.stats().commits, 0, "no change must have reached redb");
}

const VALUE: usize = 1000;

/// Returns the file's size on the disk. redb sometimes doubles its length, but parts that were never written take no
/// space.
fn taken(path: &Path) -> u64 {
    let metadata = fs::metadata(path).unwrap();
    #[cfg(unix)]
    return std::os::unix::fs::MetadataExt::blocks(&metadata) * 512;
    #[cfg(not(unix))]
    metadata.len()
}

/// Puts `live` values and then, with this durability, removes one value for each new one, while there are readers and
/// open iterators. Returns the file's maximum size on the disk and its maximum length after the fill, as multiples of
/// the values' size.
fn mixed(live: usize, rounds: u64, durability: Durability) -> (f64, f64) {
    let (_directory, path) = file();
    let filling = RedbValues::open_with(&RedbValuesConfig::new(&path).durability(Durability::None)).unwrap();
    let mut kept: Vec<Digest> = (0..live as u64).map(|number| put(&filling, &noise(number, VALUE))).collect();
    let values = RedbValues::open_with(&RedbValuesConfig::new(&path).durability(durability)).unwrap();
    let mut open = Vec::new();
    let (mut most, mut longest) = (0, 0);
    for number in 0..rounds {
        kept.push(put(&values, &noise(live as u64 + number, VALUE)));
        let removed = kept.swap_remove(usize::try_from(number * 7919).unwrap() % live);
        assert!(values.remove(&removed, None).unwrap());
        if number % 200 == 0 {
            open.push(values.ids(&DigestPrefix::all()).unwrap());
        }
        for ids in &mut open {
            ids.next();
        }
        if number % 10 == 0 {
            assert!(values.get(&kept[0]).unwrap().is_some());
            most = most.max(taken(&path));
            longest = longest.max(fs::metadata(&path).unwrap().len());
        }
    }
    #[allow(clippy::cast_precision_loss)] // Some megabytes.
    let times = |bytes: u64| bytes as f64 / (live * VALUE) as f64;
    println!(
        "{durability:?}, {live} values: {:.2} times their size on the disk, {:.2} times in length",
        times(most),
        times(longest)
    );
    (times(most), times(longest))
}

#[test]
fn one_megabyte_takes_at_most_four_under_mixed_load() {
    assert!(mixed(1000, 1500, Durability::Eventual).0 < 4.0);
}

#[test]
fn one_megabyte_takes_at_most_four_without_durability() {
    assert!(mixed(1000, 1500, Durability::None).0 < 4.0);
}

#[test]
fn one_megabyte_takes_at_most_four_with_immediate_durability() {
    assert!(mixed(1000, 300, Durability::Immediate).0 < 4.0);
}

#[test]
fn file_of_three_megabytes_is_at_most_four_times_as_long_as_its_data() {
    let (taken, length) = mixed(3000, 1500, Durability::Eventual);
    assert!(taken < 4.0 && length < 4.0, "{taken} {length}");
}
