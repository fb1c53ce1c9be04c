//! Tests of bound functions that are read as function pointers, by name and only with a matching signature.

use std::fmt::Display;

use fleche_core::{Bound, Cache, ExecutorExt, encoding, fleche, wrap_executor};
use fleche_exec::SerialExecutor;
use serde::{Serialize, de::DeserializeOwned};

use crate::support::{Runs, logged, memory};

type Fallible = fn((i64, i64), i64) -> Result<i64, Box<dyn std::error::Error>>;

fn text(bound: &impl Serialize) -> String {
    serde_json::to_string(bound).unwrap()
}

fn read<F: Copy + 'static>(text: &str) -> Bound<F> {
    serde_json::from_str(text).unwrap()
}

fn refusal<F: Copy + 'static>(text: &str) -> String {
    serde_json::from_str::<Bound<F>>(text).unwrap_err().to_string()
}

#[fleche]
fn add(x: i64, y: i64) -> i64 {
    x + y
}

#[fleche]
fn generic<T: Display + Serialize + DeserializeOwned + Send + Sync + 'static>(value: T) -> String {
    value.to_string()
}

fn plain(x: i64) -> i64 {
    x + 1
}

#[test]
fn pointer_is_read_by_name_from_json_and_cbor() {
    let bound = Cache::void().scope(|| Bound::bind(add));
    assert_eq!(read::<fn(i64, i64) -> i64>(&text(&bound)).call((1, 2)), 3);
    let from_cbor: Bound<fn(i64, i64) -> i64> = encoding::from_slice(&encoding::to_vec(&bound).unwrap()).unwrap();
    assert_eq!(from_cbor.call((1, 2)), 3);
}

#[test]
fn signatures_of_every_kind_are_read() {
    #[fleche]
    fn nothing() {}
    #[fleche]
    fn borrowed(x: &str, rest: &[u8]) -> usize {
        x.len() + rest.len()
    }
    #[fleche]
    fn named<'a, 'b>(x: &'a str, y: &'b str) -> String {
        format!("{x}{y}")
    }
    #[fleche]
    fn patterns((x, y): (i64, i64), mut z: i64) -> Result<i64, Box<dyn std::error::Error>> {
        z += x + y;
        if z < 0 { Err("negative".into()) } else { Ok(z) }
    }
    let _active = Cache::void().enter();
    read::<fn()>(&text(&Bound::bind(nothing))).call(());
    let bound: Bound<fn(&str, &[u8]) -> usize> = read(&text(&Bound::bind::<(&str, &[u8])>(borrowed)));
    assert_eq!(bound.call(("ab", &[1])), 3);
    let bound: Bound<fn(&str, &str) -> String> = read(&text(&Bound::bind::<(&str, &str)>(named)));
    assert_eq!(bound.call(("a", "b")), "ab");
    assert_eq!(read::<Fallible>(&text(&Bound::bind(patterns))).call(((1, 2), 3)).unwrap(), 6);
}

#[test]
fn early_bound_lifetimes_require_restore() {
    #[fleche]
    fn bounded<'a: 'a>(x: &'a str) -> usize {
        x.len()
    }
    let _active = Cache::void().enter();
    let text = text(&Bound::bind::<(&str,)>(bounded));
    let why = refusal::<fn(&str) -> usize>(&text);
    assert!(why.contains("Bound::restore"), "{why}");
    let bound = Bound::restore(bounded, &mut serde_json::Deserializer::from_str(&text)).unwrap();
    assert_eq!(bound.call(("abc",)), 3);
}

#[test]
fn pointer_read_from_text_is_memoized_in_an_executor() {
    static RUNS: Runs = Runs::new();
    #[fleche]
    fn counted(x: i64) -> i64 {
        RUNS.count();
        x
    }
    let bound: Bound<fn(i64) -> i64> = read(&text(&memory().scope(|| Bound::bind(counted))));
    let pool = wrap_executor(SerialExecutor);
    assert_eq!(pool.submit(bound.clone(), (1,)).result(), Ok(1));
    assert_eq!((bound.binding().cache().stats().computed, RUNS.take()), (1, 1));
    assert_eq!(pool.submit(bound.clone(), (1,)).result(), Ok(1));
    assert_eq!((bound.binding().cache().stats().hits, RUNS.take()), (1, 0));
}

#[test]
fn pointer_read_from_text_is_written_unchanged() {
    let first = text(&Cache::void().scope(|| Bound::bind(add)));
    assert_eq!(text(&read::<fn(i64, i64) -> i64>(&first)), first);
    let bound = Bound::restore(add, &mut serde_json::Deserializer::from_str(&first)).unwrap();
    assert_eq!(text(&bound), first);
}

#[test]
fn function_cast_to_a_pointer_is_refused() {
    let bound = Cache::void().scope(|| Bound::bind(add as fn(i64, i64) -> i64));
    let error = serde_json::to_string(&bound).unwrap_err().to_string();
    assert!(error.contains("function pointer") && error.contains("the function itself"), "{error}");
    let first = text(&Cache::void().scope(|| Bound::bind(add)));
    let restored = Bound::restore(add as fn(i64, i64) -> i64, &mut serde_json::Deserializer::from_str(&first));
    assert!(restored.unwrap_err().to_string().contains("is asked for"));
}

#[test]
fn capturing_closure_is_refused_with_advice() {
    let offset = 5_i64;
    let bound = Cache::void().scope(|| Bound::bind(move |x: i64| x + offset));
    let error = serde_json::to_string(&bound).unwrap_err().to_string();
    assert!(error.contains("closure that captures") && error.contains("as arguments"), "{error}");
}

#[test]
fn wrong_signature_is_refused_with_both_signatures() {
    let text = text(&Cache::void().scope(|| Bound::bind(add)));
    for why in [refusal::<fn(i64) -> i64>(&text), refusal::<fn(u64, i64) -> i64>(&text), refusal::<fn(i64, i64)>(&text)]
    {
        assert!(
            why.contains("text_pointers::add` is a `fn(i64, i64) -> i64`") && why.contains("read as a `fn("),
            "{why}"
        );
    }
}

#[test]
fn plain_function_is_read_only_by_restore() {
    let text = text(&Cache::void().scope(|| Bound::bind(plain)));
    let why = refusal::<fn(i64) -> i64>(&text);
    assert!(why.contains("text_pointers::plain") && why.contains("Bound::restore"), "{why}");
}

#[test]
fn function_written_by_another_build_is_refused() {
    let mut text = serde_json::to_value(Cache::void().scope(|| Bound::bind(plain))).unwrap();
    text["function"]["type"]["executable"] = fleche_core::Digest::hash(b"another").to_string().into();
    let error = Bound::restore(plain, text).unwrap_err().to_string();
    assert!(error.contains("another build") && error.contains("text_pointers::plain"), "{error}");
}

#[test]
fn closures_with_the_same_type_name_are_distinguished() {
    let _active = Cache::void().enter();
    let (one, other) = (|x: i64| x + 1, |x: i64| x + 2);
    let text = serde_json::to_value(Bound::bind(one)).unwrap();
    assert_eq!(Bound::restore(one, text.clone()).unwrap().call((1,)), 2);
    let error = Bound::restore(other, text).unwrap_err().to_string();
    assert!(error.contains("prints alike"), "{error}");
}

#[test]
fn instance_is_read_as_a_pointer_if_called_before_writing() {
    let _active = Cache::void().enter();
    let unknown = text(&Bound::bind(generic::<i8>));
    let why = refusal::<fn(i8) -> String>(&unknown);
    assert!(why.contains("call it before you bind it"), "{why}");
    generic(1_i16);
    let known = text(&Bound::bind(generic::<i16>));
    assert_eq!(read::<fn(i16) -> String>(&known).call((7,)), "7");
    let why = refusal::<fn(i8) -> String>(&known);
    assert!(why.contains("is a `fn(i16) -> alloc::string::String`"), "{why}");
    for (text, called) in [(unknown, "5"), (known, "")] {
        let restored = Bound::restore(generic::<i8>, &mut serde_json::Deserializer::from_str(&text));
        assert_eq!(restored.map(|bound| bound.call((5,))).unwrap_or_default(), called);
    }
}

#[test]
fn unknown_instance_is_refused_with_its_generic_function() {
    let text = text(&Cache::void().scope(|| Bound::bind(add)));
    let why = refusal::<fn(u8) -> String>(&text.replace("::add", "::generic::<u8>"));
    assert!(
        why.contains("similar names: `fleche-core::engine::text_pointers::generic`")
            && why.contains("generic function")
    );
}

#[test]
fn async_function_is_read_only_by_restore() {
    #[fleche]
    async fn later(x: i64) -> i64 {
        x + 1
    }
    let text = text(&Cache::void().scope(|| Bound::bind(later)));
    assert!(refusal::<fn(i64) -> i64>(&text).contains("`async fn`"));
    let bound = Bound::restore(later, &mut serde_json::Deserializer::from_str(&text)).unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    assert_eq!(runtime.block_on(bound.call((1,))), 2);
}

#[test]
fn local_function_is_read_only_by_restore() {
    #[fleche(local)]
    fn stays(x: i64) -> i64 {
        x + 1
    }
    let text = text(&Cache::void().scope(|| Bound::bind(stays)));
    let why = refusal::<fn(i64) -> i64>(&text);
    assert!(why.contains("is `local`") && why.contains("text_pointers::stays"), "{why}");
    let bound = Bound::restore(stays, &mut serde_json::Deserializer::from_str(&text)).unwrap();
    assert_eq!(bound.call((1,)), 2);
}

#[test]
fn functions_with_the_same_name_are_read_correctly() {
    mod one {
        #[fleche_core::fleche(name = "text_pointers::twin")]
        pub(crate) fn twin(x: i64) -> i64 {
            x + 1
        }
    }
    mod other {
        #[fleche_core::fleche(name = "text_pointers::twin")]
        pub(crate) fn twin(x: i64) -> i64 {
            x + 2
        }
    }
    let (texts, _) = logged(|| {
        let _active = Cache::void().enter();
        [text(&Bound::bind(one::twin)), text(&Bound::bind(other::twin))]
    });
    assert_eq!(texts.each_ref().map(|text| read::<fn(i64) -> i64>(text).call((1,))), [2, 3]);
    let error = Bound::restore(one::twin, &mut serde_json::Deserializer::from_str(&texts[1])).unwrap_err().to_string();
    assert!(error.contains("prints alike"), "{error}");
}
