//! Pins the bytes of the format, which is frozen: a change in this file would change the format.

use std::collections::{BTreeMap, HashMap};

use fleche_encoding::{DecodeErrorKind, from_slice, to_vec};
use serde::{Deserialize, Serialize};

use crate::{encodes, hex, pins};

#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct V(f64, f64);

#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct Meters(f64);

#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct Unit;

#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct Point {
    y: u8,
    x: u8,
    label: String,
}

#[derive(Debug, PartialEq, Serialize, Deserialize)]
enum Shape {
    Nothing,
    Circle(f64),
    Box(u16, u16),
    Mixed(u8, bool),
    Named { width: u8, at: Option<u8> },
    Empty(),
    Hollow {},
}

/// A byte string, serialized as `serde_bytes` does.
struct Bytes<'a>(&'a [u8]);

impl Serialize for Bytes<'_> {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_bytes(self.0)
    }
}

#[test]
fn arrays_of_one_number_type_are_typed_arrays() {
    pins([1.0f64, 2.0, -0.5], "d856 58 18 000000000000f03f 0000000000000040 000000000000e0bf");
    pins([1.0f32, 2.0], "d855 48 0000803f 00000040");
    pins((1u8, 2u8), "d840 42 0102");
    pins([1u16, 0x203], "d845 44 0100 0302");
    pins([1u32, 2], "d846 48 01000000 02000000");
    pins([1u64, 2], "d847 50 0100000000000000 0200000000000000");
    pins([1usize, 2], "d847 50 0100000000000000 0200000000000000");
    pins([1i8, -2], "d848 42 01fe");
    pins([1i16, -2], "d84d 44 0100 feff");
    pins([1i32, -2], "d84e 48 01000000 feffffff");
    pins([1i64, -2], "d84f 50 0100000000000000 feffffffffffffff");
    pins([1isize, -2], "d84f 50 0100000000000000 feffffffffffffff");
    pins(V(1.0, 2.0), "d856 50 000000000000f03f 0000000000000040");
    pins(Shape::Box(3, 4), "a1 63 426f78 d845 44 0300 0400");
    pins([7u8; 32], &format!("d840 5820 {}", "07".repeat(32)));
}

#[test]
fn one_other_element_makes_a_long_array_ordinary() {
    #[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
    #[serde(untagged)]
    enum Either {
        Number(u32),
        Truth(bool),
    }
    for length in [31, 32, 33, 127, 128, 129, 256, 300, 1000] {
        let numbers = vec![Either::Number(0x0102_0304); length];
        let content = "04030201".repeat(length);
        let head = if length * 4 < 0x100 { format!("58{:02x}", length * 4) } else { format!("59{:04x}", length * 4) };
        pins(numbers.clone(), &format!("d846 {head} {content}"));
        for odd in [0, 1, 2, length / 2, length - 1] {
            let mut mixed = numbers.clone();
            mixed[odd] = Either::Truth(true);
            let head = if length < 0x100 { format!("98{length:02x}") } else { format!("99{length:04x}") };
            let number = "1a01020304";
            let content = number.repeat(odd) + "f5" + &number.repeat(length - odd - 1);
            pins(mixed, &format!("{head} {content}"));
        }
    }
}

#[test]
fn numbers_in_newtypes_count_for_typed_arrays() {
    pins(vec![Meters(1.0), Meters(2.0)], "d856 50 000000000000f03f 0000000000000040");
}

#[test]
fn fewer_than_two_numbers_are_an_ordinary_array() {
    pins(Vec::<u8>::new(), "80");
    pins(vec![5u8], "81 05");
    pins(vec![5u8, 6], "d840 42 0506");
    pins([300u16], "81 19012c");
    pins([-1i64], "81 20");
    pins([0.5f32], "81 fa3f000000");
    pins((2.0f64,), "81 fb4000000000000000");
}

#[test]
fn arrays_of_other_types_are_ordinary() {
    pins((1u8, 2u16), "82 01 02");
    pins((1u8, 2u8, 3u16, 4u8), "84 01 02 03 04");
    pins((1u8, 2u8, "x".to_owned()), "83 01 02 6178");
    pins((7i64, "x".to_owned(), 1.0f64), "83 07 6178 fb3ff0000000000000");
    pins(("x".to_owned(), 1u8, 2u8), "83 6178 01 02");
    pins([true, false], "82 f5 f4");
    pins(['a', 'b'], "82 6161 6162");
    pins([1u128, 2], "82 01 02");
    pins([-1i128, 2], "82 20 02");
    pins([(), ()], "82 f6 f6");
    pins(Shape::Mixed(1, true), "a1 65 4d69786564 82 01 f5");
    pins(Shape::Empty(), "a1 65 456d707479 80");
}

#[test]
fn optional_numbers_never_make_a_typed_array() {
    pins(vec![Some(1.0f64), Some(2.0)], "82 fb3ff0000000000000 fb4000000000000000");
    pins(vec![Some(1u8), None], "82 01 f6");
}

#[test]
fn typed_arrays_nest_in_ordinary_ones() {
    pins(
        vec![[1.0f64, 2.0, 3.0], [4.0, 5.0, 6.0]],
        "82 d856 5818 000000000000f03f 0000000000000040 0000000000000840
            d856 5818 0000000000001040 0000000000001440 0000000000001840",
    );
    pins(vec![(1u8, 2u8)], "81 d840 42 0102");
}

#[test]
fn integers_take_their_shortest_form() {
    for (value, expected) in [
        (0, "00"),
        (23, "17"),
        (24, "18 18"),
        (0xff, "18 ff"),
        (0x100, "19 0100"),
        (0xffff, "19 ffff"),
        (0x1_0000, "1a 00010000"),
        (0xffff_ffff, "1a ffffffff"),
        (0x1_0000_0000, "1b 0000000100000000"),
        (u64::MAX, "1b ffffffffffffffff"),
    ] {
        pins(value, expected);
        pins(u128::from(value), expected);
        pins(i128::from(value), expected);
        pins(
            !i128::from(value),
            &format!("{:02x}{}", 0x20 | u8::from_str_radix(&expected[..2], 16).unwrap(), &expected[2..]),
        );
    }
    pins(-1i8, "20");
    pins(-24i16, "37");
    pins(-25i32, "38 18");
    pins(i8::MIN, "38 7f");
    pins(i16::MIN, "39 7fff");
    pins(i32::MIN, "3a 7fffffff");
    pins(i64::MIN, "3b 7fffffffffffffff");
    pins(i64::MAX, "1b 7fffffffffffffff");
}

#[test]
fn integers_between_64_and_65_bits_below_zero_are_plain() {
    pins(i128::from(i64::MIN) - 1, "3b 8000000000000000");
    pins(-(1i128 << 64), "3b ffffffffffffffff");
}

#[test]
fn integers_beyond_64_bits_are_bignums() {
    pins(1u128 << 64, "c2 49 010000000000000000");
    pins(1i128 << 64, "c2 49 010000000000000000");
    pins(-(1i128 << 64) - 1, "c3 49 010000000000000000");
    pins(u128::MAX, "c2 50 ffffffffffffffffffffffffffffffff");
    pins(i128::MAX, "c2 50 7fffffffffffffffffffffffffffffff");
    pins(i128::MIN, "c3 50 7fffffffffffffffffffffffffffffff");
}

#[test]
fn floats_keep_their_width() {
    pins(1.5f32, "fa 3fc00000");
    pins(1.5f64, "fb 3ff8000000000000");
    pins(f32::INFINITY, "fa 7f800000");
    pins(f64::NEG_INFINITY, "fb fff0000000000000");
    pins(f64::MIN_POSITIVE, "fb 0010000000000000");
    encodes(&-0.0f64, "fb 8000000000000000");
    encodes(&-0.0f32, "fa 80000000");
}

#[test]
fn floats_keep_every_bit() {
    for bits in [0x7ff8_0000_0000_0000, 0xfff8_dead_beef_0001, 0x7ff0_0000_0000_0001, 1, 1 << 63] {
        let encoded = to_vec(&f64::from_bits(bits)).unwrap();
        assert_eq!(hex(&encoded), format!("fb{bits:016x}"));
        assert_eq!(from_slice::<f64>(&encoded).unwrap().to_bits(), bits);
        let pair: [f64; 2] = from_slice(&to_vec(&[f64::from_bits(bits); 2]).unwrap()).unwrap();
        assert_eq!(pair.map(f64::to_bits), [bits; 2]);
    }
    for bits in [0x7fc0_0000, 0xffc0_1234, 0x7f80_0001, 1, 1 << 31] {
        let encoded = to_vec(&f32::from_bits(bits)).unwrap();
        assert_eq!(hex(&encoded), format!("fa{bits:08x}"));
        assert_eq!(from_slice::<f32>(&encoded).unwrap().to_bits(), bits);
    }
}

#[test]
fn texts_are_text_strings() {
    pins(String::new(), "60");
    pins("IETF".to_owned(), "64 49455446");
    pins("ü水".to_owned(), "65 c3bc e6b0b4");
    pins("x".repeat(24), &format!("7818 {}", "78".repeat(24)));
    pins('水', "63 e6b0b4");
    encodes(&format_args!("{}-{}", 1, "a"), "63 312d61");
}

#[test]
fn byte_strings_are_byte_strings() {
    encodes(&Bytes(&[]), "40");
    encodes(&Bytes(&[1, 2, 3]), "43 010203");
    encodes(&[Bytes(&[1]), Bytes(&[2])], "82 4101 4102");
}

#[test]
fn units_are_null() {
    pins((), "f6");
    pins(Unit, "f6");
    pins([Unit, Unit], "82 f6 f6");
}

#[test]
fn booleans_are_simple_values() {
    pins(false, "f4");
    pins(true, "f5");
}

#[test]
fn newtypes_encode_as_their_content() {
    pins(Meters(1.5), "fb 3ff8000000000000");
}

#[test]
fn variants_are_a_name_or_a_map_of_one_entry() {
    pins(Shape::Nothing, "67 4e6f7468696e67");
    pins(Shape::Circle(0.5), "a1 66 436972636c65 fb3fe0000000000000");
    pins(Shape::Named { width: 3, at: None }, "a1 65 4e616d6564 a2 62 6174 f6 65 7769647468 03");
    pins(Shape::Hollow {}, "a1 66 486f6c6c6f77 a0");
}

#[test]
fn struct_fields_are_sorted_by_their_encoded_names() {
    pins(Point { y: 1, x: 2, label: "p".to_owned() }, "a3 6178 02 6179 01 65 6c6162656c 6170");
}

#[test]
fn map_entries_are_sorted_by_their_encoded_keys() {
    let expected = "a3 6162 02 6163 01 62 6161 03";
    pins(HashMap::from([("c".to_owned(), 1u8), ("aa".to_owned(), 3), ("b".to_owned(), 2)]), expected);
    pins(BTreeMap::from([("c".to_owned(), 1u8), ("aa".to_owned(), 3), ("b".to_owned(), 2)]), expected);
    pins(HashMap::<u8, u8>::new(), "a0");
}

#[test]
fn maps_may_have_keys_of_any_type() {
    pins(BTreeMap::from([(-1i16, 'n'), (0, 'z'), (300, 'p')]), "a3 00 617a 19012c 6170 20 616e");
    pins(BTreeMap::from([((2u8, 1u8), ()), ((1, 2), ())]), "a2 d840420102 f6 d840420201 f6");
    pins(BTreeMap::from([(Some(1u8), 1u8), (None, 0)]), "a2 01 01 f6 00");
    pins(BTreeMap::from([(true, 1u8), (false, 0)]), "a2 f4 00 f5 01");
    pins(BTreeMap::from([(BTreeMap::from([(1u8, 2u8)]), 3u8)]), "a1 a1 01 02 03");
}

#[test]
fn containers_nest() {
    let value = (vec![BTreeMap::from([("k".to_owned(), vec![1u8, 2])])], Some(Shape::Circle(1.0)));
    pins(value, "82 81 a1 616b d840 42 0102 a1 66 436972636c65 fb3ff0000000000000");
}

#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct Wrapper<T>(T);

#[test]
fn none_is_null_and_some_is_its_content() {
    pins(None::<u8>, "f6");
    pins(Some(1u8), "01");
    pins(Some("x".to_owned()), "6178");
    pins(Some(vec![1u8, 2]), "d840 42 0102");
    pins(Some(Some(1u8)), "01");
}

#[test]
fn some_around_what_looks_like_none_is_wrapped() {
    pins(Some(None::<u8>), "da666c6368 f6");
    pins(Some(()), "da666c6368 f6");
    pins(Some(Unit), "da666c6368 f6");
    pins(Some(Wrapper(())), "da666c6368 f6");
    pins(Some(Wrapper(Unit)), "da666c6368 f6");
    pins(Some(serde_json::Value::Null), "da666c6368 f6");
}

#[test]
fn some_around_a_wrap_is_wrapped_again() {
    pins(None::<Option<Option<u8>>>, "f6");
    pins(Some(None::<Option<u8>>), "da666c6368 f6");
    pins(Some(Some(None::<u8>)), "da666c6368 da666c6368 f6");
    pins(Some(Some(Some(()))), "da666c6368 da666c6368 da666c6368 f6");
    pins(Some(Some(Some(1u8))), "01");
    pins(Some(Wrapper(Some(Unit))), "da666c6368 da666c6368 f6");
}

#[test]
fn wraps_occur_inside_every_container() {
    pins(vec![Some(None), None, Some(Some(1u8))], "83 da666c6368f6 f6 01");
    pins((Some(()), 5u8), "82 da666c6368f6 05");
    pins(std::collections::BTreeMap::from([(Some(()), Some(()))]), "a1 da666c6368f6 da666c6368f6");
    pins(Ok::<_, ()>(Some(())), "a1 624f6b da666c6368f6");
}

#[test]
fn needless_wrap_is_refused() {
    let error = from_slice::<Option<u8>>(&[0xda, 0x66, 0x6c, 0x63, 0x68, 0x01]).unwrap_err();
    assert_eq!(error.kind(), &DecodeErrorKind::NeedlessWrap);
}

#[test]
fn nested_options_count_towards_the_nesting_limit() {
    #[derive(Debug, PartialEq, Serialize, Deserialize)]
    struct Chain(Option<Box<Chain>>);
    let chain = |length| (0..length).fold(Chain(None), |chain, _| Chain(Some(Box::new(chain))));
    let longest = chain(128);
    let encoded = fleche_encoding::to_vec(&longest).unwrap();
    assert_eq!(from_slice::<Chain>(&encoded).unwrap(), longest);
    assert!(fleche_encoding::to_vec(&chain(129)).is_err());
    let mut deeper = vec![0xda, 0x66, 0x6c, 0x63, 0x68];
    deeper.extend(&encoded);
    assert_eq!(from_slice::<Chain>(&deeper).unwrap_err().kind(), &DecodeErrorKind::TooDeep);
    assert_eq!(from_slice::<Chain>(&[0x05]).unwrap_err().kind(), &DecodeErrorKind::TooDeep);
    assert_eq!(from_slice::<Vec<Chain>>(&[0xd8, 64, 0x42, 1, 2]).unwrap_err().kind(), &DecodeErrorKind::TooDeep);
}
