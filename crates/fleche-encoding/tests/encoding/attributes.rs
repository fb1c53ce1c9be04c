//! Types with serde's attributes: flattened, untagged, tagged, skipped, renamed.

use std::collections::BTreeMap;

use fleche_encoding::{from_slice, to_vec};
use serde::{Deserialize, Serialize};

use crate::{pins, survives, unhex};

#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct Id {
    kind: u8,
    name: String,
}

#[derive(Debug, PartialEq, Serialize, Deserialize)]
enum Element {
    Iron,
    Isotope(u16),
    Mix { a: u8, b: u8 },
}

#[test]
fn flattened_structs_round_trip() {
    #[derive(Debug, PartialEq, Serialize, Deserialize)]
    struct Outer {
        z: u8,
        #[serde(flatten)]
        id: Id,
        #[serde(flatten)]
        rest: BTreeMap<String, Option<f64>>,
    }
    survives(&Outer {
        z: 1,
        id: Id { kind: 2, name: "n".to_owned() },
        rest: BTreeMap::from([("a".to_owned(), Some(1.0)), ("longer".to_owned(), None)]),
    });
}

#[test]
fn flattened_options_round_trip() {
    #[derive(Debug, PartialEq, Serialize, Deserialize)]
    struct Outer {
        a: Option<Option<u8>>,
        #[serde(flatten)]
        inner: Inner,
    }
    #[derive(Debug, PartialEq, Serialize, Deserialize)]
    struct Inner {
        unit: Option<()>,
        list: Vec<Option<Option<u8>>>,
    }
    for unit in [None, Some(())] {
        survives(&Outer { a: Some(Some(1)), inner: Inner { unit, list: vec![None, Some(None), Some(Some(1))] } });
    }
}

#[test]
fn untagged_enums_round_trip() {
    #[derive(Debug, PartialEq, Serialize, Deserialize)]
    #[serde(untagged)]
    enum Untagged {
        Integer(i64),
        Float(f64),
        Text(String),
        Numbers(Vec<f64>),
        Pair(u8, Option<()>),
        Struct { id: Id },
        Map(BTreeMap<String, Untagged>),
    }
    survives(&vec![
        Untagged::Integer(-5),
        Untagged::Float(0.5),
        Untagged::Text("t".to_owned()),
        Untagged::Numbers(vec![1.5, 2.5]),
        Untagged::Pair(1, Some(())),
        Untagged::Pair(1, None),
        Untagged::Struct { id: Id { kind: 1, name: "n".to_owned() } },
        Untagged::Map(BTreeMap::from([("k".to_owned(), Untagged::Float(1.0))])),
    ]);
}

#[test]
fn internally_tagged_enums_round_trip() {
    #[derive(Debug, PartialEq, Serialize, Deserialize)]
    #[serde(tag = "type")]
    enum Internal {
        Nothing,
        Id(Id),
        Fields { numbers: Vec<f32>, nested: Option<Option<u8>>, element: Element },
    }
    survives(&Internal::Nothing);
    survives(&Internal::Id(Id { kind: 1, name: "n".to_owned() }));
    for nested in [None, Some(None), Some(Some(2))] {
        survives(&Internal::Fields { numbers: vec![1.0, 2.0], nested, element: Element::Mix { a: 1, b: 2 } });
    }
}

#[test]
fn adjacently_tagged_enums_round_trip() {
    #[derive(Debug, PartialEq, Serialize, Deserialize)]
    #[serde(tag = "t", content = "c")]
    enum Adjacent {
        Nothing,
        One(u8),
        Many(u8, String),
        Numbers(u8, u8),
        Fields { x: Option<()> },
    }
    survives(&vec![
        Adjacent::Nothing,
        Adjacent::One(1),
        Adjacent::Many(1, "m".to_owned()),
        Adjacent::Numbers(1, 2),
        Adjacent::Fields { x: Some(()) },
    ]);
}

#[test]
fn skipped_and_defaulted_fields_round_trip() {
    #[derive(Debug, PartialEq, Default, Serialize, Deserialize)]
    struct Sparse {
        #[serde(skip_serializing_if = "Option::is_none")]
        first: Option<u8>,
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        second: Vec<u8>,
        #[serde(default)]
        third: u8,
        #[serde(skip)]
        cached: u8,
        #[serde(rename = "4")]
        fourth: bool,
    }
    pins(Sparse::default(), "a2 6134 f4 65 7468697264 00");
    survives(&Sparse { first: Some(1), second: vec![1, 2], third: 3, cached: 0, fourth: true });
    assert_eq!(from_slice::<Sparse>(&unhex("a1 6134 f4")).unwrap(), Sparse::default());
}

#[test]
fn unknown_fields_are_skipped() {
    #[derive(Debug, PartialEq, Serialize, Deserialize)]
    struct Short {
        kind: u8,
    }
    let encoded = to_vec(&BTreeMap::from([("a", Some((vec![1.5], Some(())))), ("z", None)])).unwrap();
    assert!(from_slice::<Short>(&encoded).unwrap_err().to_string().contains("missing field `kind`"));
    let encoded = to_vec(&Id { kind: 3, name: "n".to_owned() }).unwrap();
    assert_eq!(from_slice::<Short>(&encoded).unwrap(), Short { kind: 3 });
}

#[test]
fn struct_is_also_decoded_from_an_array() {
    assert_eq!(from_slice::<Id>(&unhex("82 05 616e")).unwrap(), Id { kind: 5, name: "n".to_owned() });
}

#[test]
fn wide_integers_that_serde_buffers_are_always_refused() {
    #[derive(Debug, PartialEq, Serialize, Deserialize)]
    #[serde(untagged)]
    enum Buffered {
        Wide(i128),
    }
    #[derive(Debug, PartialEq, Serialize, Deserialize)]
    struct Outer {
        #[serde(flatten)]
        inner: Inner,
    }
    #[derive(Debug, PartialEq, Serialize, Deserialize)]
    struct Inner {
        wide: u128,
    }
    for wide in [-5, i128::MAX, i128::from(i64::MIN) - 1] {
        assert!(from_slice::<Buffered>(&to_vec(&Buffered::Wide(wide)).unwrap()).is_err());
    }
    let encoded = to_vec(&Outer { inner: Inner { wide: 1 << 70 } }).unwrap();
    assert!(from_slice::<Outer>(&encoded).unwrap_err().to_string().contains("128"));
}
