//! Tests of `Hashed` arguments, which cache their digest.

use std::{
    fmt,
    sync::atomic::{AtomicUsize, Ordering::SeqCst},
};

use fleche_core::{
    Bound, BoundCall, CallKey, Hashed, ValueRef,
    encoding::{from_slice, to_vec},
    fleche,
};
use serde::{Deserialize, Serialize, Serializer, de::DeserializeOwned, ser::Error as _};

use crate::support::{Runs, memory};

/// Counts how often it is encoded.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(from = "Vec<u32>")]
struct Counted(Vec<u32>);

static ENCODED: AtomicUsize = AtomicUsize::new(0);

impl From<Vec<u32>> for Counted {
    fn from(numbers: Vec<u32>) -> Self {
        Self(numbers)
    }
}

impl Serialize for Counted {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        ENCODED.fetch_add(1, SeqCst);
        self.0.serialize(serializer)
    }
}

fn long() -> Vec<f64> {
    (0..1000).map(f64::from).collect()
}

#[test]
fn key_equals_that_of_the_plain_value() {
    fn check<T: Serialize + DeserializeOwned + Send + Sync + Clone + PartialEq + fmt::Debug + 'static>(value: T) {
        #[fleche(name = "hashed::keyed", companion = "plain_call")]
        fn plain<T: Serialize + DeserializeOwned + 'static>(value: &T) -> u8 {
            u8::from(size_of_val(value) == 0)
        }
        #[fleche(name = "hashed::keyed", companion = "hashed_call")]
        fn hashed<T: Serialize + DeserializeOwned + Send + Sync + 'static>(value: &Hashed<T>) -> u8 {
            u8::from(size_of_val(&**value) == 0)
        }
        let expected = plain_call::key(&value);
        let value = Hashed::new(value);
        for _ in 0..2 {
            assert_eq!(hashed_call::key(&value), expected, "{value:?}");
        }
        let encoded = to_vec(&value).unwrap();
        assert_eq!(encoded, to_vec(&*value).unwrap());
        assert_eq!(from_slice::<Hashed<T>>(&encoded).unwrap(), value);
    }
    check(1_i64);
    check(());
    check(None::<u8>);
    check(Some(None::<u8>));
    check("x".repeat(61));
    check("x".repeat(62));
    check("x".repeat(63));
    check(long());
    check((1_u8, long(), Some("text".to_owned())));
    check(Hashed::new(long()));
    check(std::sync::Arc::new(long()));
}

#[test]
fn nested_hashed_value_encodes_like_the_plain_value() {
    #[derive(Serialize)]
    struct Plain {
        array: Vec<f64>,
        of: [u8; 2],
    }
    #[derive(Serialize)]
    struct Both {
        array: Hashed<Vec<f64>>,
        of: [Hashed<u8>; 2],
    }
    let inside = Both { array: long().into(), of: [Hashed::new(1), Hashed::new(2)] };
    assert_eq!(to_vec(&inside).unwrap(), to_vec(&Plain { array: long(), of: [1, 2] }).unwrap());
    assert_eq!(to_vec(&Some(Hashed::new(()))).unwrap(), to_vec(&Some(())).unwrap());
    #[fleche(name = "hashed::inside", companion = "plain_call")]
    fn plain(value: &Option<Vec<f64>>) -> bool {
        value.is_some()
    }
    #[fleche(name = "hashed::inside", companion = "hashed_call")]
    fn hashed(value: &Option<Hashed<Vec<f64>>>) -> bool {
        value.is_some()
    }
    assert_eq!(hashed_call::key(&Some(long().into())), plain_call::key(&Some(long())));
    let text = serde_json::to_string(&Hashed::new(vec![1, 2])).unwrap();
    assert_eq!(text, "[1,2]");
    assert_eq!(*serde_json::from_str::<Hashed<Vec<u8>>>(&text).unwrap(), [1, 2]);
}

#[test]
fn hashed_value_is_encoded_once_for_many_calls() {
    static RUNS: Runs = Runs::new();
    #[fleche(store_arguments = false)]
    fn sum(numbers: &Hashed<Counted>, plus: u32) -> u32 {
        RUNS.count();
        numbers.0.iter().sum::<u32>() + plus
    }
    let cache = memory();
    let _active = cache.enter();
    let numbers = Hashed::new(Counted((0..100).collect()));
    let cold = cache.to_builder().hot_tier(fleche_core::cache::HotTier::OFF).build();
    // The first misses and hits are checked, which encodes the value.
    for plus in 0..3 {
        assert_eq!(sum(&numbers, plus), 4950 + plus);
    }
    (0..4).for_each(|_| assert_eq!(sum(&numbers, 1), 4951));
    cold.scope(|| (0..2).for_each(|_| assert_eq!(sum(&numbers, 1), 4951)));
    let before = ENCODED.load(SeqCst);
    for plus in 0..3 {
        assert_eq!(sum(&numbers.clone(), plus), 4950 + plus);
        assert!(sum::contains(&numbers, plus).unwrap());
    }
    cold.scope(|| assert_eq!(sum(&numbers, 1), 4951));
    assert_eq!((RUNS.take(), cold.stats().hits), (3, 3));
    assert_eq!(ENCODED.load(SeqCst), before);
}

#[test]
fn hashed_value_is_stored_and_checked_like_the_plain_value() {
    #[fleche]
    fn stored(array: &Hashed<Vec<f64>>, x: i64) -> usize {
        array.len() + usize::try_from(x).unwrap()
    }
    let cache = memory();
    let _active = cache.enter();
    let array = Hashed::new(long());
    assert_eq!(stored(&array, 1), 1001);
    let record = cache.record(&stored::key(&array, 1)).unwrap().unwrap();
    assert_eq!(record.arguments[0].1, ValueRef::new(&to_vec(&long()).unwrap()));
    assert_eq!(cache.decode::<Vec<f64>>(&record.arguments[0].1).unwrap(), Some(long()));
    assert_eq!(cache.query(&stored::query().argument("array", &long()).unwrap()).unwrap().count(), 1);
    assert_eq!((cache.stats().computed, cache.stats().faults), (1, 0));
}

#[test]
fn different_hashed_values_are_different_calls() {
    static RUNS: Runs = Runs::new();
    #[fleche]
    fn first(left: Hashed<Vec<f64>>, right: Hashed<Vec<f64>>) -> f64 {
        RUNS.count();
        left.iter().chain(&*right).sum()
    }
    let _active = memory().enter();
    let arrays: Vec<Hashed<Vec<f64>>> = (0..3).map(|at| vec![f64::from(at); 100].into()).collect();
    for _ in 0..2 {
        for (left, right) in arrays.iter().flat_map(|left| arrays.iter().map(move |right| (left, right))) {
            assert_eq!(first(left.clone(), right.clone()), 100.0 * (left[0] + right[0]));
        }
    }
    assert_eq!(RUNS.take(), 9);
}

#[test]
fn hashed_value_without_a_stable_encoding_is_detected() {
    static RUNS: Runs = Runs::new();
    #[fleche]
    fn of_set(set: &Hashed<std::collections::HashSet<u32>>) -> usize {
        RUNS.count();
        set.len()
    }
    let cache = memory();
    let _active = cache.enter();
    let set = Hashed::new((0..100).collect());
    assert_eq!((of_set(&set), of_set(&set)), (100, 100));
    assert_eq!((RUNS.take(), cache.stats().hits), (2, 0));
}

#[test]
fn hashed_value_that_cannot_be_encoded_has_no_key() {
    #[derive(Clone, Deserialize)]
    struct Never;
    impl Serialize for Never {
        fn serialize<S: Serializer>(&self, _: S) -> Result<S::Ok, S::Error> {
            Err(S::Error::custom("it never is"))
        }
    }
    #[fleche]
    fn of_never(never: &Hashed<Never>) -> usize {
        size_of_val(never)
    }
    let cache = memory();
    let _active = cache.enter();
    assert_eq!(of_never(&Never.into()), size_of::<usize>());
    assert!(of_never::contains(&Never.into()).unwrap_err().report().to_string().contains("it never is"));
    assert_eq!(cache.stats().computed, 0);
}

#[test]
fn other_types_may_use_the_same_serde_name() {
    struct Borrowed<T>(T);
    impl<T: Serialize> Serialize for Borrowed<T> {
        fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
            serializer.serialize_newtype_struct("$fleche_core::Hashed", &self.0)
        }
    }
    #[fleche(local, name = "hashed::borrowed", companion = "first_call")]
    fn first<T: Serialize + 'static>(value: &T) -> usize {
        size_of_val(value)
    }
    fn key<T: Serialize + 'static>(value: &T) -> CallKey {
        // The type's name is part of the function's identity; the digest of its code is not.
        let arguments = [fleche_core::call::Argument("value".into(), ValueRef::new(&to_vec(value).unwrap()))];
        let function = fleche_core::FunctionId {
            name: format!("hashed::borrowed::<{}>", fleche_core::__private::stable_type_name::<T>()).into(),
            version: 0,
            code: fleche_core::Digest::hash(b""),
            hash_code: false,
        };
        CallKey::new(&function, &arguments).unwrap()
    }
    let pair = Borrowed((1_u8, Hashed::new(long())));
    assert_eq!(first_call::key(&pair), key(&pair));
    assert_eq!(to_vec(&pair).unwrap(), to_vec(&(1_u8, long())).unwrap());
    let one = Borrowed(Hashed::new(long()));
    assert_eq!(first_call::key(&one), key(&one));
}

#[test]
fn bound_call_carries_a_hashed_argument() {
    static RUNS: Runs = Runs::new();
    #[fleche]
    fn bound_sum(array: &Hashed<Vec<f64>>) -> f64 {
        RUNS.count();
        array.iter().sum()
    }
    fn whole(array: Hashed<Vec<f64>>) -> f64 {
        bound_sum(&array) + Hashed::into_inner(array)[0]
    }
    let cache = memory();
    let _active = cache.enter();
    let array = Hashed::new(long());
    let call = bound_sum::bind(&array);
    assert_eq!(call.key(), Some(bound_sum::key(&array)));
    let text = serde_json::to_string(&call).unwrap();
    assert_eq!(serde_json::from_str::<BoundCall<f64>>(&text).unwrap().call().unwrap(), 499_500.0);
    assert_eq!(Bound::bind(whole).call((array,)), 499_500.0);
    assert_eq!(RUNS.take(), 1);
}

#[test]
fn into_inner_returns_the_value() {
    let alone = Hashed::new(long());
    let place = alone.as_ptr();
    let alone = Hashed::into_inner(alone);
    assert_eq!(alone.as_ptr(), place);
    let shared = Hashed::new(long());
    let other = shared.clone();
    assert_eq!(Hashed::into_inner(shared), *other);
    assert!(Hashed::new(f64::NAN) != Hashed::new(f64::NAN));
}

#[test]
fn call_keeps_no_handle_to_the_value() {
    #[fleche]
    fn passed(array: &Hashed<Vec<f64>>) -> usize {
        array.len()
    }
    let _active = memory().enter();
    for _ in 0..3 {
        let array = Hashed::new(long());
        let place = array.as_ptr();
        assert_eq!((passed(&array), passed(&array)), (1000, 1000));
        let array = Hashed::into_inner(array);
        assert_eq!(array.as_ptr(), place, "a call must not keep a handle");
    }
}
