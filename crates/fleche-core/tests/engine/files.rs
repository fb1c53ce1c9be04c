//! Tests of files as arguments, whose content is part of the key.

use std::fs;

use fleche_core::{FileContent, SkipReason, fleche};

use crate::support::{Runs, memory};

#[test]
fn file_argument_is_keyed_by_content_and_not_by_name() {
    static RUNS: Runs = Runs::new();
    #[fleche]
    fn size(file: &FileContent) -> u64 {
        RUNS.count();
        fs::metadata(file).unwrap().len()
    }
    let directory = tempfile::tempdir().unwrap();
    let (one, other) = (directory.path().join("one"), directory.path().join("other"));
    fs::write(&one, "abc").unwrap();
    fs::write(&other, "abc").unwrap();
    let cache = memory();
    let _active = cache.enter();
    assert_eq!((size(&FileContent::new(&one)), size(&FileContent::new(&other))), (3, 3));
    assert_eq!(RUNS.take(), 1);
    fs::write(&one, "abd").unwrap();
    assert_eq!(size(&FileContent::new(&one)), 3);
    assert_eq!(RUNS.take(), 1);
    assert!(cache.stats().skipped.is_empty());
}

#[test]
fn bound_call_reads_a_file_with_the_bound_content() {
    #[fleche]
    fn text(file: &FileContent) -> String {
        fs::read_to_string(file).unwrap()
    }
    let directory = tempfile::tempdir().unwrap();
    let (one, twin) = (directory.path().join("one"), directory.path().join("twin"));
    fs::write(&one, "the same").unwrap();
    fs::write(&twin, "the same").unwrap();
    let cache = memory();
    let call = cache.scope(|| text::bind(&FileContent::new(&one)));
    FileContent::new(&twin).digest().unwrap();
    fs::write(&twin, "something else").unwrap();
    assert_eq!(call.call().unwrap(), "the same");
    assert!(cache.contains(&call.key().unwrap()).unwrap());
}

#[test]
fn directory_has_no_file_content() {
    let directory = tempfile::tempdir().unwrap();
    let error = FileContent::new(directory.path()).digest().unwrap_err().to_string();
    assert!(error.contains("not a regular file"), "{error}");
}

#[test]
fn call_with_a_missing_file_runs_uncached() {
    #[fleche]
    fn present(file: FileContent) -> bool {
        file.exists()
    }
    let cache = memory();
    let _active = cache.enter();
    assert!(!present(FileContent::new("no/such/file")));
    assert_eq!(cache.stats().skipped[&SkipReason::ArgumentNotEncodable], 1);
}

#[test]
fn bound_call_finds_its_file() {
    #[fleche]
    fn content(file: &FileContent) -> String {
        fs::read_to_string(file).unwrap()
    }
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("bound");
    fs::write(&path, "what is in it").unwrap();
    let call = memory().scope(|| content::bind(&FileContent::new(&path)));
    assert_eq!(call.call().unwrap(), "what is in it");
}
