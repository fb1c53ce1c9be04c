//! `Encoded` values, inside other values and in other formats.

use std::collections::{BTreeMap, HashMap};

use fleche_encoding::{DecodeErrorKind, EncodeError, Encoded, MAX_DEPTH, from_slice, to_vec};
use serde::{Deserialize, Serialize};

use crate::{encodes, survives, unhex};

#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct Holder {
    item: Encoded,
    rest: Vec<Option<Encoded>>,
}

#[test]
fn encoded_is_written_as_the_value_itself() {
    let encoded = |value: &str| Encoded::encode(value).unwrap();
    encodes(&encoded("a"), "6161");
    encodes(&[encoded("a"), encoded("b")], "82 6161 6162");
    encodes(&HashMap::from([(encoded("bb"), 1u8), (encoded("a"), 2)]), "a2 6161 02 626262 01");
    encodes(&Some(Encoded::encode(&()).unwrap()), "da666c6368 f6");
}

#[test]
fn encoded_is_read_from_any_value() {
    let holder = Holder {
        item: Encoded::encode(&BTreeMap::from([("k", [1.0f64, 2.0])])).unwrap(),
        rest: vec![None, Some(Encoded::encode(&None::<u8>).unwrap()), Some(Encoded::encode(&Some(())).unwrap())],
    };
    survives(&holder);
    let (first, second): (String, Encoded) = from_slice(&to_vec(&("x", Some(vec![1u8, 2]))).unwrap()).unwrap();
    assert_eq!(first, "x");
    assert_eq!(second.decode::<Vec<u8>>().unwrap(), [1, 2]);
}

#[test]
fn encoded_is_read_from_numbers_of_a_typed_array() {
    let items: Vec<Encoded> = from_slice(&to_vec(&[1.5f32, 2.5]).unwrap()).unwrap();
    assert_eq!(items[1].as_bytes(), unhex("fa40200000"));
}

#[test]
fn encoded_round_trips_through_json_as_bytes() {
    let holder = Holder { item: Encoded::encode("a").unwrap(), rest: vec![Some(Encoded::encode(&7).unwrap())] };
    let json = serde_json::to_string(&holder).unwrap();
    assert_eq!(json, r#"{"item":[97,97],"rest":[[7]]}"#);
    assert_eq!(serde_json::from_str::<Holder>(&json).unwrap(), holder);
}

#[test]
fn bytes_from_outside_are_checked() {
    assert_eq!(Encoded::from_bytes(vec![0, 0]).unwrap_err().kind(), &DecodeErrorKind::TrailingBytes);
    assert!(serde_json::from_str::<Encoded>("[255]").is_err());
    assert!(from_slice::<Encoded>(&[0x81]).is_err());
    assert!(from_slice::<Encoded>(&unhex("a2 02 00 01 00")).is_err());
}

#[test]
fn type_that_uses_the_marker_cannot_write_malformed_bytes() {
    struct Forged;
    impl Serialize for Forged {
        fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
            struct Bytes;
            impl Serialize for Bytes {
                fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                    serializer.serialize_bytes(&[0x9f, 0xff])
                }
            }
            serializer.serialize_newtype_struct("$fleche_core::encoding::Encoded", &Bytes)
        }
    }
    assert!(matches!(to_vec(&[Forged]), Err(EncodeError::Custom(_))));
}

#[test]
fn nesting_inside_encoded_counts_towards_the_limit() {
    let nest = |depth: usize| {
        (1..depth).fold(Encoded::encode(&[(); 0]).unwrap(), |inner, _| Encoded::encode(&[inner]).unwrap())
    };
    assert!(to_vec(&nest(MAX_DEPTH)).is_ok());
    assert!(to_vec(&[nest(MAX_DEPTH)]).is_err());
}

#[test]
fn encoded_cannot_be_read_from_buffered_values() {
    #[derive(Debug, Deserialize)]
    #[serde(untagged)]
    enum Either {
        Item {
            #[expect(dead_code)]
            item: Encoded,
        },
    }
    assert!(from_slice::<Either>(&to_vec(&BTreeMap::from([("item", "text")])).unwrap()).is_err());
}
