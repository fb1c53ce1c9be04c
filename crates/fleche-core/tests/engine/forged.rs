//! Tests of forged, truncated and edited text of bound callables, with the fuzzer's check.

use std::{fs, path::Path};

use proptest::{collection, prelude::*};

use crate::check_reference::check;

#[test]
fn corpus_of_the_fuzzer_passes() {
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fuzz/corpus/reference");
    let mut count = 0;
    for entry in fs::read_dir(&corpus).unwrap() {
        check(&fs::read(entry.unwrap().path()).unwrap());
        count += 1;
    }
    assert!(count >= 20, "{count} files in {}", corpus.display());
}

#[test]
fn no_small_distance_is_accepted_as_a_code_address() {
    for distance in 0..2048_u64 {
        check(&distance.to_be_bytes());
    }
}

proptest! {
    #[test]
    fn any_bytes_are_refused_or_harmless(bytes in collection::vec(any::<u8>(), 0..64)) {
        check(&bytes);
    }
}
