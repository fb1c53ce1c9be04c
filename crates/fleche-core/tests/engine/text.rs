//! Tests of the text form of bound functions: the functions that read it, and those that refuse it.

use std::{collections::BTreeMap, fs, path::Path};

use fleche_core::{Bound, Cache, encoding, fleche, metadata::TAGS, tag};
use fleche_store_file::{FileCalls, FileValues};
use proptest::{collection, prelude::*};

use crate::{check_reference::check, support::memory};

#[fleche]
fn step(x: i64) -> i64 {
    x + 1
}

fn pipeline(x: i64) -> i64 {
    step(x) * 3
}

fn other(x: i64) -> i64 {
    x
}

#[test]
fn function_read_from_text_keeps_its_cache_and_tags() {
    let directory = tempfile::tempdir().unwrap();
    let open = |name: &str| directory.path().join(name);
    let cache = Cache::new(FileValues::open(open("values")).unwrap(), FileCalls::open(open("calls")).unwrap());
    let text = cache.scope(|| {
        let _tag = tag("project", "alloy").enter();
        serde_json::to_string(&Bound::bind(pipeline)).unwrap()
    });
    let bound = Bound::restore(pipeline, &mut serde_json::Deserializer::from_str(&text)).unwrap();
    assert_eq!(memory().scope(|| bound.call((10,))), 33);
    let record = cache.record(&step::key(10)).unwrap().unwrap();
    let tags: BTreeMap<String, String> = record.metadata.get(TAGS).unwrap().unwrap();
    assert_eq!(tags["project"], "alloy");
}

#[test]
fn bound_function_round_trips_through_cbor() {
    let bytes = Cache::void().scope(|| encoding::to_vec(&Bound::bind(step)).unwrap());
    let bound = Bound::restore(step, &mut encoding::Deserializer::new(&bytes)).unwrap();
    assert_eq!(bound.call((1,)), 2);
}

#[test]
fn function_bound_twice_is_written_like_one_bound_once() {
    fn same<F: 'static, G: 'static>(once: &Bound<F>, twice: &Bound<G>) -> String {
        let text = serde_json::to_string(twice).unwrap();
        assert_eq!(text, serde_json::to_string(once).unwrap());
        text
    }
    let cache = memory();
    let (step_once, pipeline_once) = cache.scope(|| (Bound::bind(step), Bound::bind(pipeline)));
    let (step_twice, pipeline_twice) =
        Cache::void().scope(|| (Bound::bind(step_once.clone()), Bound::bind(Bound::bind(pipeline_once.clone()))));
    let text = same(&step_once, &step_twice);
    let pointer: Bound<fn(i64) -> i64> = serde_json::from_str(&text).unwrap();
    same(&step_once, &Bound::bind(pointer));
    let text = same(&pipeline_once, &pipeline_twice);
    let read = Bound::restore(pipeline, &mut serde_json::Deserializer::from_str(&text)).unwrap();
    assert_eq!((read.call((10,)), pipeline_twice.call((20,))), (33, 63));
    assert!(cache.scope(|| step::contains(10).unwrap() && step::contains(20).unwrap()));
    let captured = 1;
    let error = serde_json::to_string(&Bound::bind(Bound::bind(move |x: i64| x + captured))).unwrap_err();
    assert!(error.to_string().contains("a closure that captures"), "{error}");
}

#[test]
fn memoized_function_is_written_by_its_registered_name() {
    let text = Cache::void().scope(|| serde_json::to_string(&Bound::bind(step)).unwrap());
    assert!(text.contains("\"fleche-core::engine::text::step\""), "{text}");
}

#[test]
fn text_of_another_function_is_refused_with_both_names() {
    let text = Cache::void().scope(|| serde_json::to_string(&Bound::bind(pipeline)).unwrap());
    let error = Bound::restore(other, &mut serde_json::Deserializer::from_str(&text)).unwrap_err().to_string();
    assert!(error.contains("text::pipeline") && error.contains("text::other"), "{error}");
}

#[test]
fn truncated_or_forged_text_is_an_error() {
    let text = Cache::void().scope(|| serde_json::to_string(&Bound::bind(pipeline)).unwrap());
    let restore = |text: &str| Bound::restore(pipeline, &mut serde_json::Deserializer::from_str(text));
    for cut in 0..text.len() {
        assert!(restore(&text[..cut]).is_err(), "{cut}");
    }
    assert!(restore(&text.replace("void", "rdb")).is_err());
    assert!(restore(&text.replace("binding", "position")).is_err());
}

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
