//! Tests of damage to the pages of a file: no wrong value is returned, no panic leaves the store, readable entries are
//! kept, others can be put again, and the damaged file is kept.

#[path = "store/common.rs"]
#[allow(dead_code)] // Other tests use the rest.
mod common;

use std::{
    fs, panic,
    path::{Path, PathBuf},
    sync::Once,
};

use common::{file, noise, put, put_record, record};
use fleche_core::{CallStore, Digest, DigestPrefix, Error, Query, ValueStore};
use fleche_store_redb::{Durability, RedbCalls, RedbValues, RedbValuesConfig};

const ENTRIES: u64 = 200;

fn values() -> Vec<Vec<u8>> {
    (0..ENTRIES).map(|number| noise(number, 700)).collect()
}

/// Creates a store with 200 values and records and closes it. Returns the content of its file.
fn filled(path: &Path) -> Vec<u8> {
    let (store, calls) = (RedbValues::open(path).unwrap(), RedbCalls::open(path).unwrap());
    for value in values() {
        put(&store, &value);
    }
    (0..ENTRIES).for_each(|number| put_record(&calls, &record("f", number)));
    drop((store, calls));
    fs::read(path).unwrap()
}

fn beside(path: &Path, ending: &str) -> PathBuf {
    path.with_file_name(format!("store.redb{ending}"))
}

/// Returns the pages that contain these bytes: the current one, and older copies of it.
fn pages_of(content: &[u8], bytes: &[u8]) -> Vec<usize> {
    content.windows(bytes.len()).enumerate().filter(|(_, window)| *window == bytes).map(|(at, _)| at / 4096).collect()
}

/// Returns how many values and records there are. Fails on any error.
fn readable(store: &RedbValues, calls: &RedbCalls) -> (usize, usize) {
    let values = values().iter().filter(|value| store.get(&Digest::hash(value)).unwrap().is_some()).count();
    let records = (0..ENTRIES).filter(|number| calls.get(&record("f", *number).0).unwrap().is_some()).count();
    (values, records)
}

/// Zeroes the pages that contain this value. Returns the new content of the file.
fn zero_page_of(path: &Path, value: &[u8]) -> Vec<u8> {
    let mut content = fs::read(path).unwrap();
    for page in pages_of(&content, &value[..64]) {
        content[page * 4096..][..4096].fill(0);
    }
    fs::write(path, &content).unwrap();
    content
}

#[test]
fn repair_keeps_readable_entries_and_the_damaged_file() {
    silence_redb();
    let (_directory, path) = file();
    filled(&path);
    let damaged = zero_page_of(&path, &noise(7, 700));
    let (store, calls) = (RedbValues::open(&path).unwrap(), RedbCalls::open(&path).unwrap());
    let error = store.get(&Digest::hash(&noise(7, 700))).unwrap_err().report().to_string();
    assert!(error.contains("store.redb") && error.contains("damaged"), "{error}");
    put(&store, b"new");
    store.sync(&Digest::hash(b"new")).unwrap();
    let (values, records) = readable(&store, &calls);
    // A page holds at most five of the values.
    assert!((195..200).contains(&values) && records == 200, "{values} {records}");
    assert_eq!(calls.find(&Query::new().function("f")).unwrap().count(), 200);
    assert_eq!(store.get(&Digest::hash(b"new")).unwrap().as_deref(), Some(&b"new"[..]));
    assert!(store.age(&Digest::hash(&noise(150, 700))).unwrap().is_some());
    let kept = fs::read(beside(&path, ".damaged-1")).unwrap();
    assert!(pages_of(&kept, &noise(7, 700)).is_empty());
    assert_eq!(pages_of(&kept, &noise(150, 700)), pages_of(&damaged, &noise(150, 700)));
    assert!(!beside(&path, ".healing").exists() && !beside(&path, ".healing-unfinished").exists());
    // Opening the path again returns the same store.
    let again = RedbValues::open(&path).unwrap();
    for value in self::values() {
        put(&again, &value);
    }
    drop((store, calls, again));
    assert_eq!(readable(&RedbValues::open(&path).unwrap(), &RedbCalls::open(&path).unwrap()), (200, 200));
}

#[test]
fn closing_repairs_a_file_without_new_entries() {
    silence_redb();
    let (_directory, path) = file();
    filled(&path);
    zero_page_of(&path, &noise(7, 700));
    let store = RedbValues::open(&path).unwrap();
    store.get(&Digest::hash(&noise(7, 700))).unwrap_err();
    drop(store);
    assert!(beside(&path, ".damaged-1").exists());
    assert_eq!(RedbValues::open(&path).unwrap().get(&Digest::hash(&noise(7, 700))).unwrap(), None);
}

/// Puts all missing entries, as the engine does after computing them. Returns how many were missing, or `None` if the
/// file does not open.
fn put_missing(path: &Path) -> Option<usize> {
    let (store, calls) = (RedbValues::open(path).ok()?, RedbCalls::open(path).ok()?);
    let mut missing = 0;
    for value in values() {
        if !matches!(store.get(&Digest::hash(&value)), Ok(Some(found)) if found == value) {
            put(&store, &value);
            missing += 1;
        }
    }
    for number in 0..ENTRIES {
        let (key, expected) = record("f", number);
        if !matches!(calls.get(&key), Ok(Some(found)) if found == expected) {
            put_record(&calls, &(key, expected));
            missing += 1;
        }
    }
    Some(missing)
}

/// If pages are swapped, redb may not notice for long, and a new entry may make others unreachable.
#[test]
fn swapped_pages_are_repaired_after_a_few_rounds() {
    silence_redb();
    let (directory, path) = file();
    let intact = filled(&path);
    let is_used = |page: &usize| intact[page * 4096..][..4096].iter().any(|byte| *byte != 0);
    let used: Vec<_> = (0..intact.len() / 4096).filter(is_used).collect();
    let mut healed = 0;
    for pair in used.windows(2) {
        let mut content = intact.clone();
        let (one, other) = content.split_at_mut(pair[1] * 4096);
        one[pair[0] * 4096..][..4096].swap_with_slice(&mut other[..4096]);
        let copy = directory.path().join(format!("swapped-{}", pair[0]));
        fs::write(&copy, content).unwrap();
        let mut rounds = (0..4).map_while(|_| put_missing(&copy));
        let Some(first) = rounds.next() else { continue };
        assert!(first == 0 || rounds.any(|missing| missing == 0), "pages {pair:?}");
        healed += u32::from(first > 0);
    }
    assert!(healed > 5, "{healed}");
}

#[test]
fn repairs_stop_after_four_damaged_files_are_kept() {
    silence_redb();
    let (_directory, path) = file();
    filled(&path);
    for number in 1..=5 {
        let victim = noise(number * 20, 700);
        zero_page_of(&path, &victim);
        let store = RedbValues::open(&path).unwrap();
        store.get(&Digest::hash(&victim)).unwrap_err();
        put(&store, b"new");
        drop(store);
        let last = beside(&path, &format!(".damaged-{number}"));
        assert_eq!(last.exists(), number < 5, "{number}");
    }
    let store = RedbValues::open(&path).unwrap();
    store.get(&Digest::hash(&noise(100, 700))).unwrap_err();
    assert!(store.get(&Digest::hash(b"new")).unwrap().is_some());
    assert!(!beside(&path, ".healing-unfinished").exists());
}

#[test]
fn repair_that_was_killed_after_its_replacement_was_complete_is_completed() {
    silence_redb();
    let (_directory, path) = file();
    let intact = filled(&path);
    fs::write(beside(&path, ".healing"), &intact).unwrap();
    fs::write(beside(&path, ".healing-unfinished"), b"as far as it had come").unwrap();
    fs::write(&path, &intact[..intact.len() / 3]).unwrap();
    assert_eq!(readable(&RedbValues::open(&path).unwrap(), &RedbCalls::open(&path).unwrap()), (200, 200));
    assert!(!beside(&path, ".healing").exists());
}

/// Like [`filled`], but with a file so large that opening does not read all of it.
fn large(path: &Path) {
    filled(path);
    let store = RedbValues::open(path).unwrap();
    (1_000..1_010).for_each(|number| drop(store.put(&Digest::hash(&noise(number, 600_000)), &noise(number, 600_000))));
}

/// Truncates the open file so that redb cannot read it, requests a value, and restores the content.
fn short_read(path: &Path, store: &RedbValues) {
    let intact = fs::read(path).unwrap();
    let file = fs::File::options().write(true).open(path).unwrap();
    file.set_len(4096).unwrap();
    store.get(&Digest::hash(&noise(5, 700))).unwrap_err();
    std::os::unix::fs::FileExt::write_all_at(&file, &intact, 0).unwrap();
}

#[test]
fn single_short_read_loses_nothing() {
    silence_redb();
    let (_directory, path) = file();
    large(&path);
    let (store, calls) = (RedbValues::open(&path).unwrap(), RedbCalls::open(&path).unwrap());
    short_read(&path, &store);
    put_record(&calls, &record("g", 1));
    calls.sync(&record("g", 1).0).unwrap();
    assert_eq!(readable(&store, &calls), (200, 200));
    assert_eq!(calls.get(&record("g", 1).0).unwrap().as_ref(), Some(&record("g", 1).1));
    drop((store, calls));
    let store = RedbValues::open(&path).unwrap();
    short_read(&path, &store);
    drop(store);
    assert_eq!(readable(&RedbValues::open(&path).unwrap(), &RedbCalls::open(&path).unwrap()), (200, 200));
    assert!(!beside(&path, ".damaged-1").exists());
}

#[test]
fn file_that_cannot_be_reopened_is_reopened_later() {
    silence_redb();
    let (directory, _) = file();
    let (here, away) = (directory.path().join("here"), directory.path().join("away"));
    fs::create_dir(&here).unwrap();
    let path = here.join("store.redb");
    large(&path);
    let (store, calls) = (RedbValues::open(&path).unwrap(), RedbCalls::open(&path).unwrap());
    short_read(&path, &store);
    fs::rename(&here, &away).unwrap();
    let _ = put(&store, b"new");
    store.sync(&Digest::hash(b"new")).unwrap_err();
    fs::rename(&away, &here).unwrap();
    // The store retries after a second.
    while store.sync(&Digest::hash(b"new")).is_err() {
        std::thread::yield_now();
    }
    assert_eq!(readable(&store, &calls), (200, 200));
    assert!(store.get(&Digest::hash(b"new")).unwrap().is_some());
    assert!(!beside(&path, ".damaged-1").exists());
}

#[test]
fn file_of_a_later_version_of_redb_is_left_alone() {
    silence_redb();
    let (_directory, path) = file();
    let mut content = filled(&path);
    // The versions of both commits in the header.
    (content[64], content[192]) = (4, 4);
    fs::write(&path, &content).unwrap();
    let error = RedbValues::open(&path).unwrap_err().report().to_string();
    assert!(error.contains("version"), "{error}");
    assert!(fs::read(&path).unwrap() == content && !beside(&path, ".damaged-1").exists());
}

#[test]
fn damaged_database_of_another_program_is_left_alone() {
    silence_redb();
    let (_directory, path) = file();
    let database = redb::Database::create(&path).unwrap();
    let write = database.begin_write().unwrap();
    {
        let mut users = write.open_table(redb::TableDefinition::<u64, &[u8]>::new("users")).unwrap();
        for number in 0..1000 {
            users.insert(number, &*noise(number, 500)).unwrap();
        }
    }
    write.commit().unwrap();
    drop(database);
    let intact = fs::read(&path).unwrap();
    let cut = &intact[..intact.len() - 8192];
    fs::write(&path, cut).unwrap();
    let error = RedbValues::open(&path).unwrap_err();
    assert!(matches!(error, fleche_core::Error::Config { .. }), "{error:?}");
    assert!(fs::read(&path).unwrap() == cut && !beside(&path, ".damaged-1").exists());
}

#[test]
fn zeroing_any_page_loses_few_entries_and_allows_all_puts() {
    silence_redb();
    let (directory, path) = file();
    let intact = filled(&path);
    let is_used = |page: &usize| intact[page * 4096..][..4096].iter().any(|byte| *byte != 0);
    let (mut pages, mut costly) = (0, 0);
    for page in (1..intact.len() / 4096).filter(is_used) {
        let mut content = intact.clone();
        content[page * 4096..][..4096].fill(0);
        let copy = directory.path().join(format!("zeroed-{page}"));
        fs::write(&copy, content).unwrap();
        // Nothing shows any longer that the file belongs to fleche.
        let Some(missing) = put_missing(&copy) else {
            costly += 1;
            continue;
        };
        let (store, calls) = (RedbValues::open(&copy).unwrap(), RedbCalls::open(&copy).unwrap());
        assert_eq!(readable(&store, &calls), (200, 200), "page {page}");
        pages += 1;
        costly += usize::from(missing > 50);
    }
    // The costly pages are those that refer to many others.
    assert!(costly * 10 < pages, "{costly} of {pages}");
}

#[test]
fn file_of_a_killed_process_is_not_considered_damaged() {
    silence_redb();
    for durability in [Durability::Immediate, Durability::Eventual, Durability::None] {
        let (directory, path) = file();
        let store = RedbValues::open_with(&RedbValuesConfig::new(&path).durability(durability)).unwrap();
        for number in 0..300 {
            put(&store, &noise(number, 700));
            if number % 100 == 7 {
                store.sync(&Digest::hash(b"")).unwrap();
            }
            if number % 50 == 0 {
                // Listing makes a commit that is not durable.
                store.ids(&fleche_core::DigestPrefix::all()).unwrap().count();
                let killed = directory.path().join(format!("killed-{number}"));
                fs::copy(&path, &killed).unwrap();
                let theirs = RedbValues::open(&killed).unwrap();
                put(&theirs, b"new");
                drop(theirs);
                let quarantined_file = killed.with_file_name(format!("killed-{number}.damaged-1"));
                assert!(!quarantined_file.exists(), "{durability:?} {number}");
            }
        }
    }
}

#[test]
fn damage_to_any_page_causes_neither_wrong_values_nor_panics() {
    silence_redb();
    let (_directory, path) = file();
    let values: Vec<_> = (0..40).map(|number| noise(number, 700)).collect();
    {
        let (store, calls) = (RedbValues::open(&path).unwrap(), RedbCalls::open(&path).unwrap());
        for value in &values {
            put(&store, value);
        }
        (0..40).for_each(|number| put_record(&calls, &record("f", number)));
    }
    let intact = fs::read(&path).unwrap();
    let mut opened = 0;
    for page in 0..intact.len() / 4096 {
        for (from, len) in [(0, 4096), (0, 16), (100, 100)] {
            let mut content = intact.clone();
            for (byte, change) in content[page * 4096 + from..][..len].iter_mut().zip((1..=251).cycle()) {
                *byte ^= change;
            }
            fs::write(&path, content).unwrap();
            let _ = fs::remove_file(path.with_file_name("store.redb.damaged-1"));
            let (Ok(store), Ok(calls)) = (RedbValues::open(&path), RedbCalls::open(&path)) else { continue };
            opened += 1;
            for value in &values {
                let id = Digest::hash(value);
                if let Ok(Some(found)) = store.get(&id) {
                    assert!(found == value, "a wrong value for damage to page {page}");
                }
            }
            for number in 0..40 {
                let (key, expected) = record("f", number);
                if let Ok(Some(found)) = calls.get(&key) {
                    assert!(found == expected, "a wrong record for damage to page {page}");
                }
            }
            let _ = calls.find(&Query::new().function("f")).unwrap().filter_map(Result::ok).count();
            let _ = store.ids(&DigestPrefix::all()).unwrap().filter_map(Result::ok).count();
            let _ = store.put(&Digest::hash(b"new"), b"new");
        }
    }
    assert!(opened > 10, "the file must open after most kinds of damage, but opened only {opened} times");
}

#[test]
fn truncated_file_is_refused_or_replaced_by_a_new_one() {
    silence_redb();
    let (_directory, path) = file();
    let values: Vec<_> = (0..200).map(|number| noise(number, 700)).collect();
    {
        let store = RedbValues::open(&path).unwrap();
        for value in &values {
            put(&store, value);
        }
    }
    let intact = fs::read(&path).unwrap();
    let mut reopened = 0;
    for part in 1..20 {
        fs::write(&path, &intact[..intact.len() * part / 20]).unwrap();
        let quarantined_file = path.with_file_name("store.redb.damaged-1");
        let _ = fs::remove_file(&quarantined_file);
        let cut = &intact[..intact.len() * part / 20];
        let store = match RedbValues::open(&path) {
            // The remaining part does not show that the file belongs to fleche.
            Err(error) => {
                assert!(matches!(error, Error::Config { .. }), "{error:?}");
                assert!(!names_our_tables(cut) && fs::read(&path).unwrap() == cut, "part {part}: {error}");
                continue;
            }
            Ok(store) => store,
        };
        reopened += 1;
        for value in &values {
            let found = store.get(&Digest::hash(value));
            assert!(!matches!(found, Ok(Some(found)) if found != value));
            put(&store, value);
        }
        drop(store);
        let store = RedbValues::open(&path).unwrap();
        for value in &values {
            assert_eq!(store.get(&Digest::hash(value)).unwrap().as_deref(), Some(&**value));
        }
        assert!(fs::read(&quarantined_file).unwrap() == cut);
    }
    assert!(reopened > 0, "no truncated file contained the names of fleche's tables");
}

/// Returns whether `content` contains the names of all of fleche's tables. The pages to which redb writes them depend
/// on the times of its commits.
fn names_our_tables(content: &[u8]) -> bool {
    ["fleche", "values", "records", "ages"]
        .iter()
        .all(|name| content.windows(name.len()).any(|window| window == name.as_bytes()))
}

/// Suppresses the messages of redb's panics, which the store catches and of which there are hundreds.
pub(crate) fn silence_redb() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let next = panic::take_hook();
        panic::set_hook(Box::new(move |info| {
            if !info.location().is_some_and(|place| place.file().contains("redb-")) {
                next(info);
            }
        }));
    });
}
