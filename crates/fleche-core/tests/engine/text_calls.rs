//! Tests of the text form of bound calls: calls that round-trip, and text that is refused before anything runs.

use std::{fs, num::ParseIntError};

use fleche_core::{
    BoundCall, Cache, CallKey, ExecutorExt, FileContent, SkipReason, encoding, executor::Resources, fleche,
    wrap_executor,
};
use fleche_exec::SerialExecutor;
use fleche_store_file::{FileCalls, FileValues};
use serde::{Serialize, de::DeserializeOwned};

use crate::support::{Runs, logged, memory};

fn through_json<R: 'static>(call: &BoundCall<R>) -> BoundCall<R> {
    serde_json::from_str(&serde_json::to_string(call).unwrap()).unwrap()
}

fn through_cbor<R: 'static>(call: &BoundCall<R>) -> BoundCall<R> {
    encoding::from_slice(&encoding::to_vec(call).unwrap()).unwrap()
}

/// Returns why this text is not a call with such a result.
fn refusal<R: 'static>(text: &str) -> String {
    serde_json::from_str::<BoundCall<R>>(text).unwrap_err().to_string()
}

static RUNS: Runs = Runs::new();

#[fleche]
fn counted(x: i64) -> i64 {
    RUNS.count();
    x + 1
}

#[fleche(ignore(verbose))]
fn described(label: &str, values: &[f64], pair: &(u8, String), place: Option<Option<()>>, verbose: bool) -> String {
    format!("{label} {values:?} {pair:?} {place:?} {verbose}")
}

#[fleche]
fn largest<T: Ord + Clone + Default + Serialize + DeserializeOwned + Send + Sync + 'static>(values: &[T]) -> T {
    values.iter().max().cloned().unwrap_or_default()
}

#[fleche]
fn parsed(text: &str) -> Result<i64, ParseIntError> {
    text.parse()
}

#[fleche]
fn boxed(text: &str) -> Result<i64, Box<dyn std::error::Error>> {
    Ok(text.parse()?)
}

#[test]
fn call_read_from_text_is_the_same_call() {
    let call = Cache::void()
        .scope(|| described::bind("a \"b\"", &[0.1, f64::NAN, -0.0], &(2, "é".to_owned()), Some(None), true));
    for read in [through_json(&call), through_cbor(&call)] {
        assert_eq!(read.key(), call.key());
        assert_eq!(read.call().unwrap(), "a \"b\" [0.1, NaN, -0.0] (2, \"é\") Some(None) true");
    }
}

#[test]
fn call_read_from_text_uses_the_cache_it_was_bound_to() {
    let directory = tempfile::tempdir().unwrap();
    let open = |name: &str| directory.path().join(name);
    let cache = Cache::new(FileValues::open(open("values")).unwrap(), FileCalls::open(open("calls")).unwrap());
    let read = through_json(&cache.scope(|| largest::bind(&[3_u16, 9])));
    assert_eq!(memory().scope(|| read.call()).unwrap(), 9);
    assert_eq!(cache.scope(|| largest::load(&[3_u16, 9])).unwrap(), Some(9));
}

#[test]
fn call_read_from_text_runs_in_an_executor_and_is_recorded() {
    static RUNS: Runs = Runs::new();
    #[fleche]
    fn submitted(x: i64) -> i64 {
        RUNS.count();
        x + 1
    }
    let read = through_json(&memory().scope(|| submitted::bind(1)));
    let pool = wrap_executor(SerialExecutor);
    assert_eq!(pool.run(read.clone()).result(), Ok(2));
    assert_eq!(pool.with(Resources::new()).run(through_cbor(&read)).result(), Ok(2));
    assert_eq!(RUNS.take(), 1);
}

#[test]
fn call_read_from_text_can_return_errors_of_any_type() {
    let _active = memory().enter();
    assert_eq!(through_json(&parsed::bind("7")).call().unwrap(), Ok(7));
    assert!(through_json(&parsed::bind("x")).call().unwrap().is_err());
    let error = through_cbor(&boxed::bind("x")).call().unwrap().unwrap_err();
    assert!(error.is::<ParseIntError>());
}

#[test]
fn instances_of_a_generic_function_are_distinguished() {
    let _active = memory().enter();
    let (bytes, words) = (largest::bind(&[1_u8, 9]), largest::bind(&["a".to_owned(), "c".to_owned()]));
    assert_eq!(through_json(&bytes).call(), Ok(9));
    assert_eq!(through_cbor(&words).call(), Ok("c".to_owned()));
    let why = refusal::<String>(&serde_json::to_string(&bytes).unwrap());
    assert!(why.contains("returns a `u8`") && why.contains("String"), "{why}");
}

#[test]
fn instance_with_an_impl_trait_parameter_is_read() {
    #[fleche]
    fn shown(value: impl ToString + Serialize + DeserializeOwned + Send + Sync + 'static) -> String {
        value.to_string()
    }
    assert_eq!(through_json(&Cache::void().scope(|| shown::bind(7_u8))).call(), Ok("7".to_owned()));
}

#[test]
fn functions_with_the_same_name_are_read_correctly() {
    mod one {
        #[fleche_core::fleche(name = "text_calls::twin")]
        pub(crate) fn twin(x: i64) -> i64 {
            x + 1
        }
    }
    mod other {
        #[fleche_core::fleche(name = "text_calls::twin")]
        pub(crate) fn twin(x: i64) -> i64 {
            x + 2
        }
    }
    let (results, _) = logged(|| {
        let _active = memory().enter();
        [one::twin::bind(1), other::twin::bind(1)].map(|call| {
            let read = through_json(&call);
            let result = read.call();
            assert_eq!(read.binding().cache().stats().skipped[&SkipReason::NameClaimedTwice], 1);
            (result, through_cbor(&call).call())
        })
    });
    assert_eq!(results, [(Ok(2), Ok(2)), (Ok(3), Ok(3))]);
    let by_name = serde_json::to_string(&Cache::void().scope(|| counted::bind(1))).unwrap();
    let why = refusal::<i64>(&by_name.replace("fleche-core::engine::text_calls::counted", "text_calls::twin"));
    assert!(why.contains("two functions claim the name `text_calls::twin`"), "{why}");
}

#[test]
fn text_identifies_a_function_only_by_its_registered_name() {
    let text = serde_json::to_string(&Cache::void().scope(|| counted::bind(3))).unwrap();
    let start =
        r#"{"function":{"name":"fleche-core::engine::text_calls::counted"},"arguments":[["x","03"]],"binding":{"#;
    assert!(text.starts_with(start), "the text must be readable by other builds: {text}");
}

#[test]
fn instance_written_by_another_build_is_refused_with_advice() {
    let text = serde_json::to_value(Cache::void().scope(|| largest::bind(&[1_u8]))).unwrap();
    let mut forged = text.clone();
    forged["function"]["position"]["executable"] = fleche_core::Digest::hash(b"another").to_string().into();
    let why = refusal::<u8>(&forged.to_string());
    assert!(why.contains("another build") && why.contains("largest::<u8>") && why.contains("write it again"), "{why}");
}

#[test]
fn unknown_name_is_refused_with_similar_names() {
    let text = serde_json::to_string(&Cache::void().scope(|| counted::bind(1))).unwrap();
    let why = refusal::<i64>(&text.replace("text_calls::counted", "text_calls::countde"));
    assert!(why.contains("similar names: `fleche-core::engine::text_calls::counted`"), "{why}");
    let why = refusal::<i64>(&text.replace("engine::text_calls::", "moved::"));
    assert!(why.contains("text_calls::counted`") && why.contains("use the_crate as _;"), "{why}");
}

#[test]
fn local_function_under_a_forged_name_is_refused() {
    #[fleche(local)]
    fn stays(x: i64) -> i64 {
        x
    }
    assert_eq!(Cache::void().scope(|| stays(1)), 1);
    let text = serde_json::to_string(&Cache::void().scope(|| counted::bind(1))).unwrap();
    let why = refusal::<i64>(&text.replace("::counted", "::stays"));
    assert!(why.contains("is `local`"), "{why}");
}

#[test]
fn refused_text_runs_nothing_and_opens_nothing() {
    static RUNS: Runs = Runs::new();
    #[fleche]
    fn refused(x: i64) -> i64 {
        RUNS.count();
        x
    }
    let directory = tempfile::tempdir().unwrap();
    let open = |name: &str| directory.path().join(name);
    let cache = Cache::new(FileValues::open(open("values")).unwrap(), FileCalls::open(open("calls")).unwrap());
    let text = serde_json::to_string(&cache.scope(|| refused::bind(3))).unwrap();
    drop(cache);
    fs::remove_dir_all(open("values")).unwrap();
    for (from, to, reason) in [
        ("::refused", "::other", "registers no"),
        ("\"03\"", "\"6161\"", "argument `x`"),
        ("\"03\"", "\"0303\"", "argument `x`"),
        ("\"03\"", "\"\"", "argument `x`"),
        ("\"03\"", "\"3\"", "hexadecimal"),
        ("\"x\"", "\"y\"", "takes the arguments [\"x\"]"),
        ("[[\"x\",\"03\"]]", "[]", "takes the arguments [\"x\"]"),
        ("[[\"x\",\"03\"]]", "[[\"x\",\"03\"],[\"x\",\"03\"]]", "takes the arguments [\"x\"]"),
    ] {
        assert!(text.contains(from));
        let why = refusal::<i64>(&text.replace(from, to));
        assert!(why.contains(reason), "{from} as {to}: {why}");
    }
    assert!(refusal::<u64>(&text).contains("returns a `i64`"));
    for cut in 0..text.len() {
        refusal::<i64>(&text[..cut]);
    }
    assert!(!open("values").exists());
    assert_eq!(RUNS.take(), 0);
}

#[test]
fn argument_in_another_encoding_keeps_its_key() {
    #[fleche]
    fn summed(values: &[u8]) -> u8 {
        values.iter().sum()
    }
    let call = Cache::void().scope(|| summed::bind(&[1, 2]));
    let text = serde_json::to_string(&call).unwrap();
    assert!(text.contains("\"d840420102\""), "the argument must be a typed array: {text}");
    let read: BoundCall<u8> = serde_json::from_str(&text.replace("d840420102", "820102")).unwrap();
    assert_eq!((read.key(), read.call()), (call.key(), Ok(3)));
}

#[test]
fn call_read_from_text_finds_its_files() {
    #[fleche]
    fn size(file: &FileContent) -> u64 {
        fs::metadata(file.path()).unwrap().len()
    }
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("input");
    fs::write(&path, "four").unwrap();
    let call = Cache::void().scope(|| size::bind(&FileContent::new(&path)));
    let text = serde_json::to_string(&call).unwrap();
    assert!(text.contains("\"files\""), "{text}");
    let read: BoundCall<u64> = serde_json::from_str(&text).unwrap();
    assert_eq!((read.key(), read.call()), (call.key(), Ok(4)));
    fs::write(&path, "changed").unwrap();
    assert!(refusal::<u64>(&text).contains("argument `file`"));
}

#[test]
fn call_that_cannot_be_bound_cannot_be_written() {
    #[fleche]
    fn unbindable(file: &FileContent) -> bool {
        file.exists()
    }
    let call = memory().scope(|| unbindable::bind(&FileContent::new("no/such/file")));
    let error = serde_json::to_string(&call).unwrap_err().to_string();
    assert!(error.contains("argument `file`"), "{error}");
}

#[test]
fn call_read_from_text_keeps_its_key() {
    let read = through_json(&Cache::void().scope(|| counted::bind(5)));
    let key: Option<CallKey> = Some(counted::key(5));
    assert_eq!(read.key(), key);
}
