//! Malformed and malicious input, values that are nested too deeply, and faulty implementations of `Serialize`.

use std::{
    cell::Cell,
    collections::{BTreeMap, HashMap},
    fmt,
};

use fleche_encoding::{
    DecodeError, DecodeErrorKind, EncodeError, Encoded, MAX_DEPTH, append, diagnostic, from_slice, to_vec,
};
use serde::{
    Deserialize, Deserializer, Serialize, Serializer,
    de::{self, IgnoredAny},
    ser::{SerializeMap as _, SerializeSeq as _},
};

use crate::unhex;

/// Decodes anything, and keeps only the structure.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
enum Any {
    List(Vec<Any>),
    Map(BTreeMap<String, Any>),
    Nothing(()),
}

#[derive(Debug, Deserialize)]
struct List(#[expect(dead_code)] Vec<List>);

#[derive(Debug, Deserialize)]
#[expect(dead_code)]
enum Chain {
    L(Box<Chain>),
}

#[derive(Debug, Deserialize)]
struct Options(#[expect(dead_code)] Option<Box<Options>>);

fn refusal(bytes: &[u8]) -> DecodeErrorKind {
    Encoded::from_bytes(bytes.to_vec()).unwrap_err().kind().clone()
}

#[test]
fn one_mebibyte_of_nesting_is_refused() {
    let wrap = [0xda, 0x66, 0x6c, 0x63, 0x68];
    let repeated = |unit: &[u8]| unit.repeat((1 << 20) / unit.len());
    for bomb in [repeated(&[0x81]), repeated(&[0xa1, 0x61, b'L']), repeated(&wrap), repeated(&[0xa1])] {
        assert_eq!(refusal(&bomb), DecodeErrorKind::TooDeep);
        assert!(from_slice::<List>(&bomb).is_err());
        assert!(from_slice::<Chain>(&bomb).is_err());
        assert!(from_slice::<Options>(&bomb).is_err());
        assert!(from_slice::<Any>(&bomb).is_err());
        assert!(from_slice::<serde_json::Value>(&bomb).is_err());
        assert!(from_slice::<IgnoredAny>(&bomb).is_err());
        assert!(diagnostic(&bomb).contains("nested too deeply"));
    }
    assert_eq!(refusal(&repeated(&[0xc1])), DecodeErrorKind::UnknownTag(1));
    assert!(diagnostic(&repeated(&[0xc1])).contains("nested too deeply"));
    assert_eq!(from_slice::<List>(&repeated(&[0x81])).unwrap_err().kind(), &DecodeErrorKind::TooDeep);
    assert_eq!(from_slice::<Chain>(&repeated(&[0xa1, 0x61, b'L'])).unwrap_err().kind(), &DecodeErrorKind::TooDeep);
    assert_eq!(from_slice::<Options>(&repeated(&wrap)).unwrap_err().kind(), &DecodeErrorKind::TooDeep);
}

#[test]
fn deepest_value_that_encodes_also_decodes() {
    #[derive(Debug, PartialEq, Serialize, Deserialize)]
    struct Nest(Option<Vec<Nest>>);
    let nest = |depth| (0..depth).fold(Nest(None), |nest, _| Nest(Some(vec![nest])));
    let encoded = to_vec(&nest(MAX_DEPTH - 1)).unwrap();
    assert_eq!(from_slice::<Nest>(&encoded).unwrap(), nest(MAX_DEPTH - 1));
    assert!(matches!(to_vec(&nest(MAX_DEPTH + 1)), Err(EncodeError::TooDeep)));
    assert!(matches!(to_vec(&nest(5000)), Err(EncodeError::TooDeep)));
}

#[test]
fn too_long_linked_list_does_not_encode() {
    #[derive(Serialize)]
    struct Node {
        next: Option<Box<Node>>,
    }
    let chain = |length| (0..length).fold(Node { next: None }, |next, _| Node { next: Some(Box::new(next)) });
    assert!(to_vec(&chain(MAX_DEPTH - 1)).is_ok());
    assert!(matches!(to_vec(&chain(MAX_DEPTH)), Err(EncodeError::TooDeep)));
}

#[test]
fn claimed_lengths_are_not_trusted() {
    for bomb in [
        "9bffffffffffffffff",
        "9b0000000100000000 00",
        "9a7fffffff 00",
        "5bffffffffffffffff",
        "5b7fffffffffffffff 00",
        "7bffffffffffffffff",
        "bbffffffffffffffff",
        "ba7fffffff 00 00",
        "d8565bfffffffffffffff8",
        "d8405bffffffffffffffff 00",
        "c25bffffffffffffffff",
    ] {
        let bomb = unhex(bomb);
        assert!(Encoded::from_bytes(bomb.clone()).is_err());
        assert!(from_slice::<Vec<u8>>(&bomb).is_err());
        assert!(from_slice::<Vec<[u64; 16]>>(&bomb).is_err());
        assert!(from_slice::<String>(&bomb).is_err());
        assert!(from_slice::<HashMap<u64, u64>>(&bomb).is_err());
        assert!(from_slice::<serde_json::Value>(&bomb).is_err());
        assert!(from_slice::<Encoded>(&bomb).is_err());
        assert!(from_slice::<ByteBuf>(&bomb).is_err());
        diagnostic(&bomb);
    }
}

#[test]
fn size_hints_never_exceed_what_the_bytes_can_hold() {
    for claim in ["98ff", "9900ff", "9affffffff", "9bffffffffffffffff", "b8ff", "b900ff", "bbffffffffffffffff"] {
        for padding in [0, 100, 253, 254, 300, 600] {
            let mut bytes = unhex(claim);
            bytes.resize(bytes.len() + padding, 0xf6);
            let hint = promised(&bytes);
            assert!(hint <= padding, "{hint} entries in {padding} bytes");
        }
    }
    assert_eq!(promised(&unhex("83 01 02 03")), 3);
    assert_eq!(promised(&unhex("d845 44 00010002")), 2);
    assert_eq!(promised(&unhex("a1 01 02")), 1);
}

/// Returns the size hint of a sequence or a map.
fn promised(bytes: &[u8]) -> usize {
    struct Watch<'a>(&'a Cell<usize>);
    impl<'de> de::Visitor<'de> for Watch<'_> {
        type Value = ();

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("a sequence or a map")
        }

        fn visit_seq<A: de::SeqAccess<'de>>(self, seq: A) -> Result<(), A::Error> {
            self.0.set(seq.size_hint().unwrap());
            Ok(())
        }

        fn visit_map<A: de::MapAccess<'de>>(self, map: A) -> Result<(), A::Error> {
            self.0.set(map.size_hint().unwrap());
            Ok(())
        }
    }
    let hint = Cell::new(0);
    // The visitor leaves the entries unread, which is an error.
    let _ = fleche_encoding::Deserializer::new(bytes).deserialize_any(Watch(&hint));
    hint.get()
}

#[test]
fn malformed_or_non_canonical_bytes_are_refused_with_the_reason() {
    use DecodeErrorKind as E;
    for (bytes, expected) in [
        ("", E::EndOfInput),
        ("18", E::EndOfInput),
        ("82 01", E::EndOfInput),
        ("a1 01", E::EndOfInput),
        ("43 0102", E::EndOfInput),
        ("fb 00", E::EndOfInput),
        ("da666c6368", E::EndOfInput),
        ("00 00", E::TrailingBytes),
        ("9f ff", E::IndefiniteLength),
        ("bf ff", E::IndefiniteLength),
        ("5f ff", E::IndefiniteLength),
        ("7f ff", E::IndefiniteLength),
        ("ff", E::IndefiniteLength),
        ("18 17", E::NotShortest),
        ("19 00ff", E::NotShortest),
        ("1a 0000ffff", E::NotShortest),
        ("1b 00000000ffffffff", E::NotShortest),
        ("38 00", E::NotShortest),
        ("58 01 00", E::NotShortest),
        ("98 01 00", E::NotShortest),
        ("b8 00", E::NotShortest),
        ("d9 0040 41 00", E::NotShortest),
        ("1c", E::Reserved(0x1c)),
        ("1f", E::Reserved(0x1f)),
        ("3f", E::Reserved(0x3f)),
        ("df", E::Reserved(0xdf)),
        ("fc", E::Reserved(0xfc)),
        ("f7", E::Unsupported(0xf7)),
        ("e0", E::Unsupported(0xe0)),
        ("f8 ff", E::Unsupported(0xf8)),
        ("f9 3c00", E::Unsupported(0xf9)),
        ("c0 60", E::UnknownTag(0)),
        ("d8 41 42 0000", E::UnknownTag(65)),
        ("61 ff", E::InvalidUtf8),
        ("63 eda080", E::InvalidUtf8),
        ("a2 02 00 01 00", E::UnsortedKeys),
        ("a2 6161 00 01 00", E::UnsortedKeys),
        ("a2 01 00 01 00", E::DuplicateKey),
        ("d856 47 00000000000000", E::TypedArray(86)),
        ("d845 41 00", E::TypedArray(69)),
        ("d840 82 01 02", E::TypedArray(64)),
        ("da666c6368 00", E::NeedlessWrap),
        ("da666c6368 da666c6368 00", E::NeedlessWrap),
        ("c2 48 0100000000000000", E::BigInteger),
        ("c2 49 000100000000000000", E::BigInteger),
        ("c2 51 0100000000000000000000000000000000", E::BigInteger),
        ("c3 50 ffffffffffffffffffffffffffffffff", E::BigInteger),
        ("c2 01", E::BigInteger),
    ] {
        assert_eq!(refusal(&unhex(bytes)), expected, "{bytes}");
        let seen = from_slice::<IgnoredAny>(&unhex(bytes)).unwrap_err();
        assert_eq!(seen.kind(), &expected, "{bytes}");
        assert!(from_slice::<Any>(&unhex(bytes)).is_err(), "{bytes}");
    }
}

#[test]
fn non_canonical_maps_are_refused_by_every_type() {
    for bytes in ["a2 6162 00 6161 00", "a2 6161 00 6161 00"] {
        let bytes = unhex(bytes);
        assert!(from_slice::<HashMap<String, u8>>(&bytes).is_err());
        assert!(from_slice::<serde_json::Value>(&bytes).is_err());
        assert!(from_slice::<AB>(&bytes).is_err());
    }
}

#[derive(Debug, Deserialize)]
#[expect(dead_code)]
struct AB {
    a: Option<u8>,
    b: Option<u8>,
}

#[test]
fn error_has_the_offset_of_the_fault() {
    let offset = |result: Result<Vec<(u8, String)>, DecodeError>| result.unwrap_err().offset();
    assert_eq!(offset(from_slice(&unhex("82 82 01 6161 82 01 18"))), Some(7));
    assert_eq!(offset(from_slice(&unhex("82 82 01 6161 82 6161 6161"))), Some(6));
    assert_eq!(offset(from_slice(&unhex("80 00"))), Some(1));
    let error = from_slice::<Vec<u8>>(&unhex("82 01 6161")).unwrap_err();
    assert_eq!(error.to_string(), "invalid type: string \"a\", expected u8 (at byte 2)");
}

#[test]
fn wrong_number_of_tuple_elements_is_refused() {
    assert!(from_slice::<(u8, u8)>(&unhex("83 01 02 03")).is_err());
    assert!(from_slice::<(u8, u8)>(&unhex("d840 43 010203")).is_err());
    assert!(from_slice::<[u8; 3]>(&unhex("d840 42 0102")).is_err());
}

#[test]
fn integers_that_do_not_fit_are_refused() {
    assert!(from_slice::<u8>(&unhex("19 0100")).is_err());
    assert!(from_slice::<u8>(&unhex("20")).is_err());
    assert!(from_slice::<Vec<u8>>(&unhex("d845 44 0001 0001")).is_err());
    assert!(from_slice::<i64>(&unhex("3b 8000000000000000")).is_err());
    assert!(from_slice::<u64>(&unhex("c2 49 010000000000000000")).is_err());
    assert!(from_slice::<u128>(&unhex("20")).is_err());
    assert!(from_slice::<i128>(&unhex("c2 50 ffffffffffffffffffffffffffffffff")).is_err());
}

/// Deserializes with `deserialize_byte_buf`.
#[derive(Debug, PartialEq)]
struct ByteBuf(Vec<u8>);

impl<'de> Deserialize<'de> for ByteBuf {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Visitor;
        impl de::Visitor<'_> for Visitor {
            type Value = ByteBuf;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("bytes")
            }
            fn visit_bytes<E>(self, bytes: &[u8]) -> Result<ByteBuf, E> {
                Ok(ByteBuf(bytes.to_vec()))
            }
        }
        deserializer.deserialize_byte_buf(Visitor)
    }
}

#[test]
fn byte_strings_are_decoded_from_every_form() {
    for form in ["43 010203", "d840 43 010203", "83 01 02 03"] {
        assert_eq!(from_slice::<ByteBuf>(&unhex(form)).unwrap(), ByteBuf(vec![1, 2, 3]));
        assert_eq!(from_slice::<Vec<u8>>(&unhex(form)).unwrap(), [1, 2, 3]);
        assert_eq!(from_slice::<(u8, u8, u8)>(&unhex(form)).unwrap(), (1, 2, 3));
        assert_eq!(from_slice::<Vec<Option<u8>>>(&unhex(form)).unwrap(), [Some(1), Some(2), Some(3)]);
    }
    assert!(from_slice::<ByteBuf>(&unhex("82 01 190100")).is_err());
}

#[test]
fn failed_append_leaves_the_buffer_unchanged() {
    let mut buffer = vec![1, 2, 3];
    assert!(append(&mut buffer, &Twice).is_err());
    assert_eq!(buffer, [1, 2, 3]);
    append(&mut buffer, "x").unwrap();
    assert_eq!(buffer, [1, 2, 3, 0x61, b'x']);
}

#[test]
fn error_names_the_duplicate_key() {
    let error = to_vec(&Twice).unwrap_err();
    assert_eq!(error.to_string(), "a map has the key \"k\" twice; distinct keys must have distinct encodings");
}

/// A map with one key twice.
struct Twice;

impl Serialize for Twice {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        for key in ["k", "a", "k"] {
            map.serialize_entry(key, &1)?;
        }
        map.end()
    }
}

#[test]
fn serialize_that_continues_after_an_error_is_refused() {
    struct Stubborn;
    impl Serialize for Stubborn {
        fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
            let mut map = serializer.serialize_map(None)?;
            map.serialize_key(&1)?;
            let _ = map.serialize_value(&Twice);
            map.serialize_value(&2)?;
            map.end()
        }
    }
    assert!(matches!(to_vec(&Stubborn), Err(EncodeError::Misuse(_))));
}

#[test]
fn wrong_lengths_from_serialize_are_corrected() {
    struct Wrong(Option<usize>, Vec<u16>);
    impl Serialize for Wrong {
        fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
            let mut seq = serializer.serialize_seq(self.0)?;
            self.1.iter().try_for_each(|element| seq.serialize_element(element))?;
            seq.end()
        }
    }
    for elements in [vec![], vec![1], vec![1, 2], vec![7; 30], vec![9; 300]] {
        let expected = to_vec(&elements).unwrap();
        for claim in [None, Some(0), Some(1), Some(2), Some(29), Some(1000), Some(usize::MAX)] {
            assert_eq!(to_vec(&Wrong(claim, elements.clone())).unwrap(), expected, "{claim:?}, {}", elements.len());
        }
    }
}
