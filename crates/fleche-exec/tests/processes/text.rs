//! Bound functions and calls as text that another process of the same program reads.

use std::process;

use anyhow::Context as _;
use fleche_core::{Bound, BoundCall, ExecutorExt, encoding, fleche};
use serde::{Serialize, de::DeserializeOwned};

use super::common::{files, memory, pool, result};

#[fleche]
fn shout(text: &str, times: usize) -> (String, u32) {
    (text.to_uppercase().repeat(times), process::id())
}

#[fleche]
fn first<T: Clone + Serialize + DeserializeOwned + Send + Sync + 'static>(values: &[T]) -> Option<T> {
    values.first().cloned()
}

#[fleche]
fn checked(text: &str) -> anyhow::Result<i64> {
    text.parse().with_context(|| format!("`{text}` is no number"))
}

#[fleche]
fn triple(x: i64) -> i64 {
    x * 3
}

mod one {
    #[fleche_core::fleche(name = "processes::text::twin")]
    pub(super) fn twin(x: i64) -> i64 {
        x + 1
    }
}

mod other {
    #[fleche_core::fleche(name = "processes::text::twin")]
    pub(super) fn twin(x: i64) -> i64 {
        x + 2
    }
}

fn plain(x: i64) -> i64 {
    triple(x) + 1
}

/// Reads a call and makes it, in the worker that runs this.
#[allow(clippy::needless_pass_by_value)] // Submitted functions own their arguments.
fn call_text<R: Serialize + DeserializeOwned + 'static>(text: String) -> Result<R, String> {
    let call: BoundCall<R> = serde_json::from_str(&text).map_err(|error| error.to_string())?;
    call.call().map_err(|error| error.to_string())
}

#[allow(clippy::needless_pass_by_value)]
fn call_bytes(bytes: Vec<u8>) -> Result<Option<String>, String> {
    let call: BoundCall<Option<String>> = encoding::from_slice(&bytes).map_err(|error| error.to_string())?;
    call.call().map_err(|error| error.to_string())
}

#[allow(clippy::needless_pass_by_value)]
fn call_pointer(text: String, x: i64) -> Result<i64, String> {
    let bound: Bound<fn(i64) -> i64> = serde_json::from_str(&text).map_err(|error| error.to_string())?;
    Ok(bound.call((x,)))
}

#[allow(clippy::needless_pass_by_value)]
fn call_restored(text: String, x: i64) -> Result<i64, String> {
    let bound = Bound::restore(plain, &mut serde_json::Deserializer::from_str(&text));
    Ok(bound.map_err(|error| error.to_string())?.call((x,)))
}

/// Returns the messages of a call's error and of its sources.
#[allow(clippy::needless_pass_by_value)]
fn call_fallible(text: String) -> Result<Vec<String>, String> {
    let call: BoundCall<anyhow::Result<i64>> = serde_json::from_str(&text).map_err(|error| error.to_string())?;
    match call.call().map_err(|error| error.to_string())? {
        Ok(value) => Ok(vec![value.to_string()]),
        Err(error) => Ok(error.chain().map(ToString::to_string).collect()),
    }
}

fn text(value: &impl Serialize) -> String {
    serde_json::to_string(value).unwrap()
}

#[test]
fn written_call_runs_in_another_process_and_is_recorded_in_its_cache() {
    let directory = tempfile::tempdir().unwrap();
    let cache = files(directory.path());
    let call = cache.scope(|| shout::bind("ab", 2));
    let job = pool(1).submit(call_text::<(String, u32)>, (text(&call),));
    let (shouted, worker) = result(job).unwrap().unwrap();
    assert_eq!(shouted, "ABAB");
    assert_ne!(worker, process::id());
    assert_eq!(cache.scope(|| shout::load("ab", 2)).unwrap(), Some((shouted, worker)));
}

#[test]
fn generic_instance_runs_in_a_process_that_has_never_called_it() {
    let _active = memory().enter();
    let call = first::bind(&["a".to_owned(), "b".to_owned()]);
    let bytes = encoding::to_vec(&call).unwrap();
    assert_eq!(result(pool(1).submit(call_bytes, (bytes,))), Ok(Ok(Some("a".to_owned()))));
    assert_eq!(result(pool(1).submit(call_text::<Option<u8>>, (text(&first::bind(&[7_u8])),))), Ok(Ok(Some(7))));
}

#[test]
fn functions_that_share_a_name_are_distinguished() {
    let _active = memory().enter();
    let pool = pool(1);
    let [one, other] = [one::twin::bind(1), other::twin::bind(1)];
    assert_eq!(result(pool.submit(call_text::<i64>, (text(&one),))), Ok(Ok(2)));
    assert_eq!(result(pool.submit(call_text::<i64>, (text(&other),))), Ok(Ok(3)));
    assert_eq!((result(pool.run(one)), result(pool.run(other))), (Ok(2), Ok(3)));
    assert_eq!((result(pool.submit(one::twin, (1,))), result(pool.submit(other::twin, (1,)))), (Ok(2), Ok(3)));
}

#[test]
fn anyhow_error_is_returned_from_text_calls_and_from_workers() {
    let _active = memory().enter();
    let pool = pool(1);
    let causes = ["`x` is no number", "invalid digit found in string"].map(str::to_owned);
    assert_eq!(result(pool.submit(call_fallible, (text(&checked::bind("7")),))), Ok(Ok(vec!["7".to_owned()])));
    assert_eq!(result(pool.submit(call_fallible, (text(&checked::bind("x")),))), Ok(Ok(causes.to_vec())));
    let read: BoundCall<anyhow::Result<i64>> = serde_json::from_str(&text(&checked::bind("x"))).unwrap();
    let error = result(pool.run(read)).unwrap().unwrap_err();
    assert_eq!(error.chain().map(ToString::to_string).collect::<Vec<_>>(), causes);
}

#[test]
fn pointer_that_was_read_is_sent_by_the_name_of_its_function() {
    let _active = memory().enter();
    let written = text(&Bound::bind(triple));
    let pool = pool(1);
    assert_eq!(result(pool.submit(call_pointer, (written.clone(), 5))), Ok(Ok(15)));
    let read: Bound<fn(i64) -> i64> = serde_json::from_str(&written).unwrap();
    assert_eq!(result(pool.submit(read, (5,))), Ok(15));
    let twin: Bound<fn(i64) -> i64> = serde_json::from_str(&text(&Bound::bind(other::twin))).unwrap();
    assert_eq!(result(pool.submit(twin, (5,))), Ok(7));
}

#[test]
fn plain_function_is_restored_in_another_process() {
    let directory = tempfile::tempdir().unwrap();
    let cache = files(directory.path());
    let written = text(&cache.scope(|| Bound::bind(plain)));
    assert_eq!(result(pool(1).submit(call_restored, (written, 5))), Ok(Ok(16)));
    assert_eq!(cache.scope(|| triple::load(5)).unwrap(), Some(15));
}

#[test]
fn call_written_by_another_build_is_refused_when_it_is_read() {
    let _active = memory().enter();
    let mut written = serde_json::to_value(first::bind(&[7_u8])).unwrap();
    written["function"]["position"]["executable"] = fleche_core::Digest::hash(b"another").to_string().into();
    let why = result(pool(1).submit(call_text::<Option<u8>>, (written.to_string(),))).unwrap().unwrap_err();
    assert!(why.contains("another build") && why.contains("first::<u8>"), "{why}");
}
