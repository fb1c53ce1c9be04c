//! Types from the standard library and well-known crates, and types behind traits.

use std::{
    borrow::Cow,
    collections::{BTreeMap, BTreeSet, HashMap, HashSet, VecDeque},
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    num::NonZeroU32,
    ops::Range,
    path::PathBuf,
    sync::Arc,
    time::{Duration, SystemTime},
};

use fleche_encoding::{diagnostic, from_slice, to_vec};
use indexmap::IndexMap;
use serde::{Deserialize, Serialize};

use crate::{pins, survives, unhex};

#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
struct Id {
    kind: u8,
    name: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
enum Element {
    Iron,
    Isotope(u16),
    Mix { a: u8, b: u8 },
}

#[test]
fn maps_with_keys_of_every_kind_round_trip() {
    survives(&BTreeMap::from([((1u8, "b".to_owned()), 1), ((1, "a".to_owned()), 2)]));
    survives(&BTreeMap::from([((1u64, 2u64), 1), ((0, 3), 2)]));
    survives(&BTreeMap::from([(Id { kind: 1, name: "n".to_owned() }, 1), (Id { kind: 0, name: "m".to_owned() }, 2)]));
    survives(&BTreeMap::from([(Element::Iron, 1), (Element::Isotope(56), 2), (Element::Mix { a: 1, b: 2 }, 3)]));
    survives(&BTreeMap::from([(Some(Some(1u8)), 1), (Some(None), 2), (None, 3)]));
    survives(&BTreeMap::from([(vec![1u8, 2], 1), (vec![1], 2), (vec![], 3)]));
    survives(&BTreeMap::from([(i128::MAX, 1), (i128::MIN, 2), (0, 3)]));
    survives(&BTreeMap::from([('a', ()), ('ß', ())]));
    survives(&HashMap::from([(true, 'a'), (false, 'b')]));
}

#[test]
fn standard_library_types_round_trip() {
    survives(&[Duration::from_nanos(1_500_000_001), Duration::MAX]);
    survives(&(SystemTime::UNIX_EPOCH + Duration::from_millis(1_800_000_000_001)));
    survives(&PathBuf::from("/some/path"));
    survives(&(IpAddr::V4(Ipv4Addr::LOCALHOST), IpAddr::V6(Ipv6Addr::LOCALHOST)));
    survives(&"127.0.0.1:80".parse::<SocketAddr>().unwrap());
    survives(&(Arc::new(vec![1u8, 2]), Box::new(5), Arc::<str>::from("s")));
    survives(&Cow::Borrowed("text").into_owned());
    survives(&Cow::<'static, [u16]>::Owned(vec![1, 2]));
    survives(&Range { start: 1, end: 5 });
    survives(&Ok::<u8, String>(1));
    survives(&Err::<u8, String>("e".to_owned()));
    survives(&NonZeroU32::new(5));
    survives(&BTreeSet::from([3u8, 1, 2]));
    survives(&VecDeque::from([1.0f32, 2.0]));
    survives(&std::cmp::Reverse(5));
    survives(&std::num::Wrapping(5u8));
    survives(&std::marker::PhantomData::<u8>);
}

#[test]
fn borrowed_values_encode_like_owned_ones() {
    #[derive(Serialize)]
    struct Borrowed<'a> {
        name: &'a str,
        kind: &'a u8,
    }
    let owned = Id { kind: 1, name: "n".to_owned() };
    assert_eq!(to_vec(&Borrowed { name: &owned.name, kind: &owned.kind }).unwrap(), to_vec(&owned).unwrap());
    assert_eq!(to_vec(&[1.0f64, 2.0][..]).unwrap(), to_vec(&vec![1.0f64, 2.0]).unwrap());
}

#[test]
fn types_of_well_known_crates_round_trip() {
    survives(&uuid::Uuid::from_u128(0x1234_5678_9abc_def0_1234_5678_9abc_def0));
    survives(&chrono::DateTime::from_timestamp(1_800_000_000, 5).unwrap());
    survives(&chrono::NaiveDate::from_ymd_opt(2026, 2, 28).unwrap());
    survives(&ndarray::Array2::from_shape_fn((3, 4), |(row, column)| if row == column { 1.5 } else { 0.0 }));
    survives(&ndarray::Array1::<f32>::zeros(0));
}

#[test]
fn ndarray_stores_its_numbers_as_a_typed_array() {
    let encoded = to_vec(&ndarray::array![[1.0, 2.0], [3.0, 4.0]]).unwrap();
    assert!(diagnostic(&encoded).contains("/ 1.0, 2.0, 3.0, 4.0 /"));
}

#[test]
fn json_values_round_trip() {
    survives(&serde_json::json!({
        "null": null, "true": true, "integer": -5, "large": u64::MAX, "float": 0.1, "text": "t",
        "numbers": [1.5, 2.5], "bytes": [1, 2, 3], "mixed": [1, -1, "a", null, [], {}], "nested": {"b": {"c": []}},
    }));
    survives(&Some(serde_json::Value::Null));
}

#[test]
fn marked_index_map_keeps_its_order() {
    #[derive(Debug, PartialEq, Serialize, Deserialize)]
    struct Ordered {
        #[serde(with = "fleche_encoding::ordered")]
        map: IndexMap<u8, u8>,
    }
    let value = Ordered { map: IndexMap::from([(2, 1), (1, 2), (3, 0)]) };
    let expected = "a1 636d6170 83 d840420201 d840420102 d840420300";
    pins(value, expected);
    let back: Ordered = from_slice(&unhex(expected)).unwrap();
    assert!(back.map.keys().eq(&[2, 1, 3]));
    let error = from_slice::<Ordered>(&unhex("a1 636d6170 82 d840420201 d840420202")).unwrap_err();
    assert!(error.to_string().contains("1 of 2 entries have a key that occurs twice"), "{error}");
}

#[test]
fn marked_collections_keep_their_order_in_json() {
    #[derive(Debug, PartialEq, Serialize, Deserialize)]
    struct Marked {
        #[serde(with = "fleche_encoding::unordered")]
        set: HashSet<String>,
        #[serde(with = "fleche_encoding::ordered")]
        map: IndexMap<String, u8>,
    }
    let value = Marked {
        set: ["bb", "c", "a"].map(str::to_owned).into(),
        map: IndexMap::from([("z".to_owned(), 1), ("y".to_owned(), 2)]),
    };
    let json = serde_json::to_string(&value).unwrap();
    assert_eq!(json, r#"{"set":["a","c","bb"],"map":[["z",1],["y",2]]}"#);
    assert_eq!(serde_json::from_str::<Marked>(&json).unwrap(), value);
}

#[test]
fn marked_set_of_numbers_is_a_typed_array() {
    #[derive(Debug, PartialEq, Serialize, Deserialize)]
    struct Marked(#[serde(with = "fleche_encoding::unordered")] HashSet<u8>);
    pins(Marked([3, 1, 2].into()), "d840 43 010203");
}

#[typetag::serde(tag = "type")]
trait Potential: std::fmt::Debug {
    fn depth(&self) -> f64;
}

#[derive(Debug, Serialize, Deserialize)]
struct Morse {
    depth: f64,
    range: Option<Vec<f64>>,
    id: Option<()>,
}

#[typetag::serde(name = "morse")]
impl Potential for Morse {
    fn depth(&self) -> f64 {
        self.depth
    }
}

#[test]
fn boxed_trait_objects_round_trip() {
    let value: Vec<Box<dyn Potential>> =
        vec![Box::new(Morse { depth: 1.5, range: Some(vec![1.0, 2.0]), id: Some(()) })];
    let encoded = to_vec(&value).unwrap();
    let back: Vec<Box<dyn Potential>> = from_slice(&encoded).unwrap();
    assert_eq!(back[0].depth().to_bits(), 1.5f64.to_bits());
    assert_eq!(to_vec(&back).unwrap(), encoded);
}
