//! Runs the corpus of the fuzzer as an ordinary test.

use std::{fs, path::Path};

use crate::check_bytes;

#[test]
fn corpus_of_the_fuzzer_passes() {
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fuzz/corpus/decode");
    let mut count = 0;
    for entry in fs::read_dir(&corpus).unwrap() {
        check_bytes::check(&fs::read(entry.unwrap().path()).unwrap());
        count += 1;
    }
    assert!(count >= 30, "{count} files in {}", corpus.display());
}
