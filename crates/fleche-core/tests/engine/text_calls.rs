//! Bound calls as text: what comes back whole, and what is refused before anything runs.

use std::{fs, num::ParseIntError};

use fleche_core::{
    BoundCall, Cache, CallKey, ExecutorExt, FileContent, Skip, encoding, executor::Resources, fleche, wrap_executor,
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

/// Why this text is no call with such a result.
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
fn a_call_read_from_text_is_the_same_call() {
    let call = Cache::void()
        .scope(|| described::bind("a \"b\"", &[0.1, f64::NAN, -0.0], &(2, "é".to_owned()), Some(None), true));
    for read in [through_json(&call), through_cbor(&call)] {
        assert_eq!(read.key(), call.key());
        assert_eq!(read.call().unwrap(), "a \"b\" [0.1, NaN, -0.0] (2, \"é\") Some(None) true");
    }
}

#[test]
fn a_call_read_from_text_uses_the_cache_it_was_bound_to() {
    let directory = tempfile::tempdir().unwrap();
    let open = |name: &str| directory.path().join(name);
    let cache = Cache::new(FileValues::open(open("values")).unwrap(), FileCalls::open(open("calls")).unwrap());
    let read = through_json(&cache.scope(|| largest::bind(&[3_u16, 9])));
    assert_eq!(memory().scope(|| read.call()).unwrap(), 9);
    assert_eq!(cache.scope(|| largest::load(&[3_u16, 9])).unwrap(), Some(9));
}

#[test]
fn a_call_read_from_text_runs_in_an_executor_and_is_a_hit_afterwards() {
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
fn errors_of_any_type_come_from_a_call_that_was_read() {
    let _active = memory().enter();
    assert_eq!(through_json(&parsed::bind("7")).call().unwrap(), Ok(7));
    assert!(through_json(&parsed::bind("x")).call().unwrap().is_err());
    let error = through_cbor(&boxed::bind("x")).call().unwrap().unwrap_err();
    assert!(error.is::<ParseIntError>());
}

#[test]
fn instances_of_a_generic_function_are_told_apart() {
    let _active = memory().enter();
    let (bytes, words) = (largest::bind(&[1_u8, 9]), largest::bind(&["a".to_owned(), "c".to_owned()]));
    assert_eq!(through_json(&bytes).call(), Ok(9));
    assert_eq!(through_cbor(&words).call(), Ok("c".to_owned()));
    let why = refusal::<String>(&serde_json::to_string(&bytes).unwrap());
    assert!(why.contains("returns a `u8`") && why.contains("String"), "{why}");
}

#[test]
fn an_instance_with_an_implied_parameter_is_read() {
    #[fleche]
    fn shown(value: impl ToString + Serialize + DeserializeOwned + Send + Sync + 'static) -> String {
        value.to_string()
    }
    assert_eq!(through_json(&Cache::void().scope(|| shown::bind(7_u8))).call(), Ok("7".to_owned()));
}

#[test]
fn functions_that_share_a_name_are_each_read_as_themselves() {
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
            assert_eq!(read.binding().cache().stats().skipped[&Skip::NameClaimedTwice], 1);
            (result, through_cbor(&call).call())
        })
    });
    assert_eq!(results, [(Ok(2), Ok(2)), (Ok(3), Ok(3))]);
    let by_name = serde_json::to_string(&Cache::void().scope(|| counted::bind(1))).unwrap();
    let why = refusal::<i64>(&by_name.replace("fleche-core::engine::text_calls::counted", "text_calls::twin"));
    assert!(why.contains("two functions claim the name `text_calls::twin`"), "{why}");
}

#[test]
fn a_registered_name_is_all_that_text_says_of_a_function() {
    let text = serde_json::to_string(&Cache::void().scope(|| counted::bind(3))).unwrap();
    let start =
        r#"{"function":{"name":"fleche-core::engine::text_calls::counted"},"arguments":[["x","03"]],"binding":{"#;
    assert!(text.starts_with(start), "so that other builds can read it: {text}");
}

#[test]
fn what_another_build_wrote_of_an_instance_is_refused_with_the_cure() {
    let text = serde_json::to_value(Cache::void().scope(|| largest::bind(&[1_u8]))).unwrap();
    let mut forged = text.clone();
    forged["function"]["position"]["executable"] = fleche_core::Digest::of(b"another").to_string().into();
    let why = refusal::<u8>(&forged.to_string());
    assert!(why.contains("another build") && why.contains("largest::<u8>") && why.contains("anew"), "{why}");
}

#[test]
fn a_name_that_nobody_registers_is_refused_with_those_near_it() {
    let text = serde_json::to_string(&Cache::void().scope(|| counted::bind(1))).unwrap();
    let why = refusal::<i64>(&text.replace("text_calls::counted", "text_calls::countde"));
    assert!(why.contains("similar names: `fleche-core::engine::text_calls::counted`"), "{why}");
    let why = refusal::<i64>(&text.replace("engine::text_calls::", "moved::"));
    assert!(why.contains("text_calls::counted`") && why.contains("use the_crate as _;"), "{why}");
}

#[test]
fn a_local_function_under_a_forged_name_is_refused() {
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
fn nothing_runs_and_nothing_is_opened_where_text_is_refused() {
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
        ("\"x\"", "\"y\"", "takes [\"x\"]"),
        ("[[\"x\",\"03\"]]", "[]", "takes [\"x\"]"),
        ("[[\"x\",\"03\"]]", "[[\"x\",\"03\"],[\"x\",\"03\"]]", "takes [\"x\"]"),
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
fn an_argument_in_another_form_has_the_key_of_its_own_form() {
    #[fleche]
    fn summed(values: &[u8]) -> u8 {
        values.iter().sum()
    }
    let call = Cache::void().scope(|| summed::bind(&[1, 2]));
    let text = serde_json::to_string(&call).unwrap();
    assert!(text.contains("\"d840420102\""), "a typed array: {text}");
    let read: BoundCall<u8> = serde_json::from_str(&text.replace("d840420102", "820102")).unwrap();
    assert_eq!((read.key(), read.call()), (call.key(), Ok(3)));
}

#[test]
fn files_are_found_by_who_reads_the_call() {
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
fn a_call_that_could_not_be_bound_cannot_be_written() {
    #[fleche]
    fn unbindable(file: &FileContent) -> bool {
        file.exists()
    }
    let call = memory().scope(|| unbindable::bind(&FileContent::new("no/such/file")));
    let error = serde_json::to_string(&call).unwrap_err().to_string();
    assert!(error.contains("argument `file`"), "{error}");
}

#[test]
fn keys_are_those_of_calls_that_were_never_text() {
    let read = through_json(&Cache::void().scope(|| counted::bind(5)));
    let key: Option<CallKey> = Some(counted::key(5));
    assert_eq!(read.key(), key);
}
