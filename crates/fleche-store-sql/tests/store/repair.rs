//! Tests of damage: damaged entries are quarantined, and damaged files are repaired. Readable entries are kept.

use std::{
    collections::BTreeSet,
    fs::{self, File},
    io::{BufRead as _, BufReader, Seek as _, SeekFrom, Write as _},
    path::{Path, PathBuf},
    sync::Once,
};

use fleche_core::{CallStore, Digest, DigestPrefix, Error, Query, ValueStore};
use fleche_store_sql::{SqlCalls, SqlValues};

use super::{
    common::{Scratch, child, count, key, record},
    processes::hold,
};

const PAGE: usize = 4096;
const VALUES: u32 = 300;

/// Returns a value of which several fit on a page.
fn value(nth: u32) -> Vec<u8> {
    nth.to_le_bytes().repeat(150)
}

/// Creates a database of many values and records, and closes it.
fn filled() -> Scratch {
    let scratch = Scratch::sqlite();
    fill(&scratch.open_values(), &scratch.open_calls());
    scratch
}

fn fill(values: &SqlValues, calls: &SqlCalls) {
    for nth in 0..VALUES {
        values.put(&Digest::hash(&value(nth)), &value(nth)).unwrap();
        calls.put(&key(nth), &record(nth)).unwrap();
    }
}

fn file(scratch: &Scratch) -> PathBuf {
    scratch.directory.path().join("test.db")
}

fn beside(scratch: &Scratch, end: &str) -> PathBuf {
    scratch.directory.path().join(format!("test.db{end}"))
}

/// Writes bytes into a file without closing it, which would release the locks that this process has on it.
fn write(path: &Path, at: usize, bytes: &[u8]) {
    let mut file = File::options().write(true).open(path).unwrap();
    file.seek(SeekFrom::Start(at as u64)).unwrap();
    file.write_all(bytes).unwrap();
    std::mem::forget(file);
}

/// Damages the page that holds this value. Returns the offset of the page.
fn damage_page_of(scratch: &Scratch, nth: u32) -> usize {
    let content = fs::read(file(scratch)).unwrap();
    let at = content.windows(600).position(|window| window == value(nth)).unwrap() / PAGE * PAGE;
    write(&file(scratch), at, &[0xff; 16]);
    at
}

/// Returns the numbers of the present values. Fails on any error.
fn present(values: &SqlValues) -> BTreeSet<u32> {
    (0..VALUES).filter(|nth| values.get(&Digest::hash(&value(*nth))).unwrap().is_some()).collect()
}

fn copies(scratch: &Scratch) -> usize {
    let names = fs::read_dir(scratch.directory.path()).unwrap().map(|entry| entry.unwrap().file_name());
    let names = names.filter_map(|name| name.into_string().ok());
    names.filter(|name| name.contains(".db.damaged-") && !name.ends_with("-wal")).count()
}

/// Runs a function and returns the messages that it logs on this thread.
fn logged<T>(run: impl FnOnce() -> T) -> (T, String) {
    // With a single subscriber, an event that first occurs on another thread would be disabled everywhere.
    static ANOTHER: Once = Once::new();
    ANOTHER.call_once(|| drop(tracing::subscriber::set_global_default(tracing_subscriber::registry())));
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("log");
    let log = File::create(&path).unwrap();
    let subscriber = tracing_subscriber::fmt().with_ansi(false).with_writer(log).finish();
    let result = tracing::subscriber::with_default(subscriber, run);
    (result, fs::read_to_string(path).unwrap())
}

fn contains(content: &[u8], part: &[u8]) -> bool {
    content.windows(part.len()).any(|window| window == part)
}

/// Asserts that all entries can be put again and are found.
fn assert_intact(scratch: &Scratch) {
    let (values, calls) = (scratch.open_values(), scratch.open_calls());
    fill(&values, &calls);
    assert_eq!(present(&values).len(), VALUES as usize);
    assert_eq!(values.ids(&DigestPrefix::all()).unwrap().count(), VALUES as usize);
    assert_eq!(count(&calls), VALUES);
    let query = Query::new().argument("nth", &7_u32).unwrap();
    assert_eq!(calls.find(&query).unwrap().map(Result::unwrap).collect::<Vec<_>>(), [(key(7), record(7))]);
    assert_eq!(scratch.number("SELECT count(*) FROM pragma_integrity_check WHERE integrity_check != 'ok'"), 0);
}

#[test]
fn only_entries_on_a_damaged_page_are_lost() {
    let scratch = filled();
    damage_page_of(&scratch, 7);
    let damaged = fs::read(file(&scratch)).unwrap();
    let before: Vec<_> = (0..VALUES).filter(|nth| contains(&damaged, &value(*nth))).collect();
    let there = present(&scratch.open_values());
    assert!(!there.contains(&7) && there.len() >= VALUES as usize - 7, "{there:?}");
    assert!(before.iter().filter(|nth| !there.contains(nth)).count() <= 7, "only values on the page may be lost");
    let calls = scratch.open_calls();
    for nth in 0..VALUES {
        assert_eq!(calls.get(&key(nth)).unwrap(), Some(record(nth)));
    }
    assert_eq!(fs::read(beside(&scratch, ".damaged-1")).unwrap(), damaged);
    assert_eq!(copies(&scratch), 1);
    assert_intact(&scratch);
}

#[test]
fn damage_is_logged_as_one_warning() {
    let scratch = filled();
    write(&file(&scratch), 100, &[0; 12]);
    let (count, log) = logged(|| present(&scratch.open_values()).len());
    assert_eq!(count, VALUES as usize);
    assert_eq!(log.matches("WARN").count(), 1, "{log}");
    for part in ["test.db", "malformed", "300 values, 300 records, 0 claims", "test.db.damaged-1"] {
        assert!(log.contains(part), "{part} in {log}");
    }
    let (_, log) = logged(|| present(&scratch.open_values()).len());
    assert_eq!(log, "");
}

#[test]
fn damaged_root_page_is_rebuilt() {
    let scratch = filled();
    // The beginning of the tree, after the header.
    write(&file(&scratch), 100, &[0; 12]);
    assert_eq!(present(&scratch.open_values()).len(), VALUES as usize);
    assert_eq!(count(&scratch.open_calls()), VALUES);
    assert_intact(&scratch);
}

#[test]
fn misspelled_column_counts_as_damage() {
    let scratch = filled();
    let content = fs::read(file(&scratch)).unwrap();
    let at = content.windows(9).position(|window| window == b"put BIGIN").unwrap();
    write(&file(&scratch), at, b"q");
    let values = scratch.open_values();
    values.put(&Digest::hash(&value(7)), &value(7)).unwrap();
    assert_eq!(present(&values).len(), VALUES as usize);
    assert_intact(&scratch);
}

#[test]
fn truncated_file_keeps_its_readable_entries() {
    let scratch = filled();
    let length = fs::metadata(file(&scratch)).unwrap().len();
    File::options().write(true).open(file(&scratch)).unwrap().set_len(length / 2).unwrap();
    let there = present(&scratch.open_values()).len();
    assert!(there > VALUES as usize / 4 && there < VALUES as usize, "{there}");
    assert_intact(&scratch);
    let scratch = filled();
    File::options().write(true).open(file(&scratch)).unwrap().set_len(600).unwrap();
    assert_eq!(present(&scratch.open_values()).len(), 0);
    assert_eq!(fs::metadata(beside(&scratch, ".damaged-1")).unwrap().len(), 600);
    assert_intact(&scratch);
}

#[test]
fn header_lost_while_the_file_is_open_is_repaired() {
    let scratch = filled();
    let (values, calls) = (scratch.open_values(), scratch.open_calls());
    assert_eq!(present(&values).len(), VALUES as usize);
    let held = hold(&calls, 1000);
    // Makes SQLite read the pages from the file again.
    scratch.execute("UPDATE fleche_meta SET value = value + 1 WHERE name = 'syncs'");
    scratch.execute("PRAGMA wal_checkpoint(TRUNCATE)");
    write(&file(&scratch), 0, &[0xff; 100]);
    assert_eq!(present(&values).len(), VALUES as usize);
    assert_eq!(calls.claim_holder(&key(1000)).unwrap().unwrap().process, std::process::id());
    drop(held);
    assert!(calls.claim_holder(&key(1000)).unwrap().is_none());
    assert!(fs::read(beside(&scratch, ".damaged-1")).unwrap().starts_with(&[0xff; 100]));
    assert_intact(&scratch);
}

#[test]
fn process_with_the_file_open_sees_the_repaired_content() {
    let scratch = filled();
    let mut child = child("write once more", &scratch);
    let mut says = BufReader::new(child.stdout.take().unwrap()).lines().map(Result::unwrap);
    assert!(says.any(|line| line == "open"));
    scratch.execute("PRAGMA wal_checkpoint(TRUNCATE)");
    for (at, bytes) in [(0, [0xff; 64]), (100, [0; 64])] {
        write(&file(&scratch), at, &bytes);
        let values = scratch.open_values();
        assert_eq!(present(&values).len(), VALUES as usize);
        writeln!(child.stdin.as_mut().unwrap(), "continue").unwrap();
        assert!(says.any(|line| line == "written"));
        assert_eq!(scratch.open_calls().get(&key(5000)).unwrap(), Some(record(5000)));
        scratch.open_calls().remove(&key(5000), None).unwrap();
    }
    drop(child.stdin.take());
    assert!(child.wait().unwrap().success());
    assert_intact(&scratch);
}

#[test]
fn entries_only_in_the_log_are_recovered() {
    let scratch = filled();
    let values = scratch.open_values();
    scratch.execute("PRAGMA wal_checkpoint(TRUNCATE)");
    let late = VALUES..VALUES + 50;
    late.clone().for_each(|nth| values.put(&Digest::hash(&value(nth)), &value(nth)).unwrap());
    damage_page_of(&scratch, 7);
    // Makes SQLite read the pages from the file again.
    scratch.execute("UPDATE fleche_meta SET value = value + 1 WHERE name = 'syncs'");
    let there = present(&values).len();
    assert!(there < VALUES as usize && there >= VALUES as usize - 7, "{there}");
    assert!(late.into_iter().all(|nth| values.contains(&Digest::hash(&value(nth))).unwrap()));
    assert!(contains(&fs::read(beside(&scratch, ".damaged-1-wal")).unwrap(), &value(VALUES + 7)));
    assert_eq!(copies(&scratch), 1);
}

#[test]
fn only_one_of_several_processes_repairs_the_file() {
    let scratch = filled();
    damage_page_of(&scratch, 7);
    let children = ["write the first half", "write the second half"].map(|task| child(task, &scratch));
    let values = scratch.open_values();
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| assert!(present(&values).len() >= VALUES as usize - 7));
        }
    });
    for child in children {
        let done = child.wait_with_output().unwrap();
        assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stdout));
    }
    assert_eq!(copies(&scratch), 1);
    assert_eq!(count(&scratch.open_calls()), 640);
}

#[test]
fn leftovers_of_a_killed_repair_are_removed_by_the_next() {
    let scratch = filled();
    let left = beside(&scratch, ".healing.d");
    fs::create_dir(&left).unwrap();
    for name in ["damaged", "damaged-wal", "work", "work-wal", "work-shm", "fresh", "fresh-journal"] {
        fs::write(left.join(name), b"half of it").unwrap();
    }
    damage_page_of(&scratch, 7);
    assert!(present(&scratch.open_values()).len() >= VALUES as usize - 7);
    assert!(!left.exists());
    assert_intact(&scratch);
}

#[test]
fn at_most_four_copies_are_kept() {
    let scratch = filled();
    for nth in 1..=4 {
        damage_page_of(&scratch, nth * 20);
        assert!(present(&scratch.open_values()).len() < VALUES as usize);
        assert_eq!(copies(&scratch), nth as usize);
    }
    let at = damage_page_of(&scratch, 100);
    let damaged = fs::read(file(&scratch)).unwrap();
    let values = scratch.open_values();
    let failed = (0..VALUES).find_map(|nth| values.get(&Digest::hash(&value(nth))).err()).unwrap().report().to_string();
    assert!(failed.contains("4 damaged files") && failed.contains("remove them"), "{failed}");
    drop(values);
    assert_eq!(fs::read(file(&scratch)).unwrap()[at..at + PAGE], damaged[at..at + PAGE]);
    for nth in 1..=4 {
        fs::remove_file(beside(&scratch, &format!(".damaged-{nth}"))).unwrap();
    }
    assert!(present(&scratch.open_values()).len() < VALUES as usize);
    assert_intact(&scratch);
}

#[test]
fn file_of_another_program_is_refused_and_left_alone() {
    let scratch = Scratch::sqlite();
    scratch.open_values();
    scratch.execute("CREATE TABLE theirs (n INTEGER)");
    let mut with_theirs = fs::read(file(&scratch)).unwrap();
    with_theirs[100..112].fill(0);
    let mut without_header = with_theirs.clone();
    without_header[..100].fill(0);
    let mut of_sqlite = vec![0; 3 * PAGE];
    of_sqlite[..16].copy_from_slice(b"SQLite format 3\0");
    for content in [b"the text of another program".repeat(1000), with_theirs, without_header, of_sqlite] {
        let scratch = Scratch::sqlite();
        fs::write(file(&scratch), &content).unwrap();
        let error = SqlValues::open_with(&scratch.values).unwrap_err();
        assert!(matches!(error, Error::Backend { .. }) && error.report().to_string().contains(".recover"), "{error:?}");
        assert_eq!(fs::read(file(&scratch)).unwrap(), content);
        assert_eq!(copies(&scratch), 0);
    }
}

const QUARANTINED: &str = "SELECT count(*) FROM fleche_damaged";

#[test]
fn damaged_value_is_reported_once_and_quarantined_unchanged() {
    let scratch = Scratch::sqlite();
    let values = scratch.open_values();
    let id = Digest::hash(b"some bytes");
    for round in 1..=2 {
        values.put(&id, b"some bytes").unwrap();
        scratch.execute("UPDATE fleche_values SET bytes = CAST('other byte' AS BLOB)");
        let error = values.get(&id).unwrap_err();
        assert!(matches!(error, Error::Damaged { .. }), "{error:?}");
        assert!(error.to_string().contains(&id.to_string()) && error.to_string().contains("fleche_damaged"), "{error}");
        assert_eq!(values.get(&id).unwrap(), None);
        assert_eq!(values.ids(&DigestPrefix::all()).unwrap().count(), 0);
        assert_eq!(scratch.number(QUARANTINED), round);
    }
    let kept = "SELECT count(*) FROM fleche_damaged WHERE origin = 'values' AND bytes = CAST('other byte' AS BLOB)
        AND noticed > 1700000000000 AND length(key) = 32";
    assert_eq!(scratch.number(kept), 2);
}

#[test]
fn damaged_record_is_removed_with_its_index_rows() {
    let scratch = Scratch::sqlite();
    let calls = scratch.open_calls();
    for number in [1, 2] {
        calls.put(&key(number), &record(number)).unwrap();
    }
    scratch.execute("UPDATE fleche_calls SET record = zeroblob(100) WHERE written = 1");
    let query = Query::new().argument("nth", &1_u32).unwrap();
    let found: Vec<_> = calls.find(&query).unwrap().collect();
    assert!(matches!(&found[..], [Err(Error::Damaged { .. })]), "{found:?}");
    assert_eq!(calls.find(&query).unwrap().count(), 0);
    assert_eq!(calls.get(&key(1)).unwrap(), None);
    assert_eq!(scratch.number("SELECT count(*) FROM fleche_arguments"), 1);
    assert_eq!(scratch.number(QUARANTINED), 1);
    calls.put(&key(1), &record(1)).unwrap();
    assert_eq!(calls.find(&query).unwrap().map(Result::unwrap).collect::<Vec<_>>(), [(key(1), record(1))]);
}

#[test]
fn record_under_the_key_of_another_is_reported_as_damaged() {
    let scratch = Scratch::sqlite();
    let calls = scratch.open_calls();
    for number in [1, 2] {
        calls.put(&key(number), &record(number)).unwrap();
    }
    scratch.execute(
        "UPDATE fleche_calls SET record = (SELECT record FROM fleche_calls WHERE written = 1) WHERE written = 2",
    );
    assert!(matches!(calls.get(&key(2)).unwrap_err(), Error::Damaged { .. }));
    assert_eq!(calls.get(&key(1)).unwrap(), Some(record(1)));
}

#[test]
fn damaged_record_is_removed_only_without_condition() {
    let scratch = Scratch::sqlite();
    let calls = scratch.open_calls();
    calls.put(&key(1), &record(1)).unwrap();
    scratch.execute("UPDATE fleche_calls SET record = zeroblob(100)");
    assert!(!calls.remove(&key(1), Some(&record(1))).unwrap());
    assert!(calls.remove(&key(1), None).unwrap());
    assert!(!calls.contains(&key(1)).unwrap());
}

#[test]
fn damaged_value_that_cannot_be_quarantined_is_never_returned() {
    let scratch = Scratch::sqlite();
    let values = scratch.open_values();
    let id = Digest::hash(b"some bytes");
    values.put(&id, b"some bytes").unwrap();
    scratch.execute("UPDATE fleche_values SET bytes = zeroblob(10)");
    scratch.execute(
        "CREATE TRIGGER full BEFORE INSERT ON fleche_damaged BEGIN SELECT raise(ABORT, 'no more of these'); END",
    );
    for _ in 0..2 {
        let error = values.get(&id).unwrap_err();
        assert!(matches!(error, Error::Damaged { .. }) && error.to_string().contains("cannot be moved"), "{error}");
    }
}
