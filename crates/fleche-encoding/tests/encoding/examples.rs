//! The worked examples of RFC 8949 appendix A and of `docs/format.md`, and diagnostic notation.

use std::collections::{BTreeMap, HashMap};

use fleche_encoding::{DecodeErrorKind, Encoded, diagnostic, to_vec};
use serde::Serialize;

use crate::{encodes, hex, pins, unhex};

/// Each example as `(hex, notation)`, in the order of the appendix.
const EXAMPLES: [(&str, &str); 82] = [
    ("00", "0"),
    ("01", "1"),
    ("0a", "10"),
    ("17", "23"),
    ("1818", "24"),
    ("1819", "25"),
    ("1864", "100"),
    ("1903e8", "1000"),
    ("1a000f4240", "1000000"),
    ("1b000000e8d4a51000", "1000000000000"),
    ("1bffffffffffffffff", "18446744073709551615"),
    ("c249010000000000000000", "18446744073709551616"),
    ("3bffffffffffffffff", "-18446744073709551616"),
    ("c349010000000000000000", "-18446744073709551617"),
    ("20", "-1"),
    ("29", "-10"),
    ("3863", "-100"),
    ("3903e7", "-1000"),
    ("f90000", "0.0"),
    ("f98000", "-0.0"),
    ("f93c00", "1.0"),
    ("fb3ff199999999999a", "1.1"),
    ("f93e00", "1.5"),
    ("f97bff", "65504.0"),
    ("fa47c35000", "100000.0"),
    ("fa7f7fffff", "3.4028234663852886e+38"),
    ("fb7e37e43c8800759c", "1.0e+300"),
    ("f90001", "5.960464477539063e-8"),
    ("f90400", "0.00006103515625"),
    ("f9c400", "-4.0"),
    ("fbc010666666666666", "-4.1"),
    ("f97c00", "Infinity"),
    ("f97e00", "NaN"),
    ("f9fc00", "-Infinity"),
    ("fa7f800000", "Infinity"),
    ("fa7fc00000", "NaN"),
    ("faff800000", "-Infinity"),
    ("fb7ff0000000000000", "Infinity"),
    ("fb7ff8000000000000", "NaN"),
    ("fbfff0000000000000", "-Infinity"),
    ("f4", "false"),
    ("f5", "true"),
    ("f6", "null"),
    ("f7", "undefined"),
    ("f0", "simple(16)"),
    ("f8ff", "simple(255)"),
    ("c074323031332d30332d32315432303a30343a30305a", r#"0("2013-03-21T20:04:00Z")"#),
    ("c11a514b67b0", "1(1363896240)"),
    ("c1fb41d452d9ec200000", "1(1363896240.5)"),
    ("d74401020304", "23(h'01020304')"),
    ("d818456449455446", "24(h'6449455446')"),
    ("d82076687474703a2f2f7777772e6578616d706c652e636f6d", r#"32("http://www.example.com")"#),
    ("40", "h''"),
    ("4401020304", "h'01020304'"),
    ("60", r#""""#),
    ("6161", r#""a""#),
    ("6449455446", r#""IETF""#),
    ("62225c", r#""\"\\""#),
    ("62c3bc", r#""ü""#),
    ("63e6b0b4", r#""水""#),
    ("64f0908591", r#""𐅑""#),
    ("80", "[]"),
    ("83010203", "[1, 2, 3]"),
    ("8301820203820405", "[1, [2, 3], [4, 5]]"),
    (
        "98190102030405060708090a0b0c0d0e0f101112131415161718181819",
        "[1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20, 21, 22, 23, 24, 25]",
    ),
    ("a0", "{}"),
    ("a201020304", "{1: 2, 3: 4}"),
    ("a26161016162820203", r#"{"a": 1, "b": [2, 3]}"#),
    ("826161a161626163", r#"["a", {"b": "c"}]"#),
    ("a56161614161626142616361436164614461656145", r#"{"a": "A", "b": "B", "c": "C", "d": "D", "e": "E"}"#),
    ("5f42010243030405ff", "(_ h'0102', h'030405')"),
    ("7f657374726561646d696e67ff", r#"(_ "strea", "ming")"#),
    ("9fff", "[_ ]"),
    ("9f018202039f0405ffff", "[_ 1, [2, 3], [_ 4, 5]]"),
    ("9f01820203820405ff", "[_ 1, [2, 3], [4, 5]]"),
    ("83018202039f0405ff", "[1, [2, 3], [_ 4, 5]]"),
    ("83019f0203ff820405", "[1, [_ 2, 3], [4, 5]]"),
    (
        "9f0102030405060708090a0b0c0d0e0f101112131415161718181819ff",
        "[_ 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20, 21, 22, 23, 24, 25]",
    ),
    ("bf61610161629f0203ffff", r#"{_ "a": 1, "b": [_ 2, 3]}"#),
    ("826161bf61626163ff", r#"["a", {_ "b": "c"}]"#),
    ("bf6346756ef563416d7421ff", r#"{_ "Fun": true, "Amt": -2}"#),
    ("a16346756ef5", r#"{"Fun": true}"#),
];

#[test]
fn every_example_is_shown_as_in_the_appendix() {
    for (bytes, notation) in EXAMPLES {
        assert_eq!(diagnostic(&unhex(bytes)), notation, "{bytes}");
    }
}

#[test]
fn examples_outside_the_format_are_refused() {
    use DecodeErrorKind as E;
    for (bytes, notation) in EXAMPLES {
        let result = Encoded::from_bytes(unhex(bytes));
        let kind = result.as_ref().err().map(|error| error.kind().clone());
        let expected = match unhex(bytes)[0] {
            initial @ (0xf9 | 0xf7 | 0xf0 | 0xf8) => Some(E::Unsupported(initial)),
            0xc0 => Some(E::UnknownTag(0)),
            0xc1 => Some(E::UnknownTag(1)),
            0xd7 => Some(E::UnknownTag(23)),
            0xd8 => Some(E::UnknownTag(unhex(bytes)[1].into())),
            _ if notation.contains('_') => Some(E::IndefiniteLength),
            _ => None,
        };
        assert_eq!(kind, expected, "{notation}");
    }
}

#[test]
fn examples_in_the_format_encode_and_decode() {
    pins(0u8, "00");
    pins(1u16, "01");
    pins(10u32, "0a");
    pins(23u64, "17");
    pins(24i8, "1818");
    pins(25i16, "1819");
    pins(100i32, "1864");
    pins(1000i64, "1903e8");
    pins(1_000_000u32, "1a000f4240");
    pins(1_000_000_000_000u64, "1b000000e8d4a51000");
    pins(-1000i64, "3903e7");
    pins(1.1f64, "fb3ff199999999999a");
    pins(100_000.0f32, "fa47c35000");
    pins(f32::MAX, "fa7f7fffff");
    pins(1.0e300f64, "fb7e37e43c8800759c");
    pins(-4.1f64, "fbc010666666666666");
    encodes(&f64::NAN, "fb7ff8000000000000");
    pins("\"\\".to_owned(), "62225c");
    pins('𐅑', "64f0908591");
    pins(BTreeMap::from([(1u8, 2u8), (3, 4)]), "a201020304");
    pins(("a".to_owned(), BTreeMap::from([("b".to_owned(), "c".to_owned())])), "826161a161626163");
}

#[test]
fn ordinary_arrays_of_numbers_are_decoded_but_never_written() {
    assert_eq!(fleche_encoding::from_slice::<Vec<u8>>(&unhex("83010203")).unwrap(), [1, 2, 3]);
    encodes(&[1u8, 2, 3], "d840 43 010203");
}

#[derive(Serialize)]
struct Point {
    y: u8,
    x: u8,
    label: &'static str,
}

#[derive(Serialize)]
enum Shape {
    Nothing,
    Circle(f64),
    Box(u16, u16),
}

/// Pairs each value's source text with its encoding.
macro_rules! encoded {
    ($($value:expr),* $(,)?) => {
        vec![$((stringify!($value), to_vec(&$value).unwrap())),*]
    };
}

#[test]
fn worked_examples_match_the_code() {
    let values = encoded![
        true,
        23u8,
        300i64,
        -1i8,
        -(1i128 << 64),
        1u128 << 64,
        1.5f32,
        -0.0f64,
        'ü',
        "IETF",
        (),
        None::<u8>,
        Some(1u8),
        Some(None::<u8>),
        Some(Some(())),
        [0u8; 0],
        [5u8],
        (1u8, 2u8),
        (1u8, 2u16),
        [1.0f64, 2.0],
        [-1i32, 2],
        [Some(1u8), None],
        HashMap::from([("bb", 1), ("a", 2)]),
        Point { y: 1, x: 2, label: "p" },
        Shape::Nothing,
        Shape::Circle(0.5f64),
        Shape::Box(3u16, 4u16),
    ];
    let page = include_str!("../../../../docs/format.md");
    let table = page.split("### Worked examples").nth(1).unwrap().split("\n### ").next().unwrap();
    let rows: Vec<[&str; 3]> = table
        .lines()
        .filter_map(|line| line.strip_prefix("| `")?.strip_suffix("` |"))
        .map(|row| row.split("` | `").collect::<Vec<_>>().try_into().unwrap())
        .collect();
    assert_eq!(rows.len(), values.len());
    for ([value, bytes, notation], (source, encoded)) in rows.into_iter().zip(values) {
        assert_eq!(value, source);
        assert_eq!(bytes, hex(&encoded), "{value}");
        assert_eq!(notation, diagnostic(&unhex(bytes)), "{value}");
    }
}

#[test]
fn typed_arrays_show_their_numbers() {
    assert_eq!(diagnostic(&to_vec(&[1.0f64, 2.5]).unwrap()), "86(h'000000000000f03f0000000000000440' / 1.0, 2.5 /)");
    assert_eq!(diagnostic(&to_vec(&[-1i8, 2]).unwrap()), "72(h'ff02' / -1, 2 /)");
    assert!(diagnostic(&to_vec(&vec![0u8; 100]).unwrap()).ends_with("0, 0, and 92 more /)"));
}

#[test]
fn wraps_show_as_their_tag() {
    assert_eq!(diagnostic(&to_vec(&Some(())).unwrap()), "1718379368(null)");
}

#[test]
fn control_characters_are_escaped() {
    assert_eq!(diagnostic(&to_vec("a\n\u{1}\u{7f}").unwrap()), r#""a\n\u0001\u007f""#);
}

#[test]
fn malformed_input_is_shown_up_to_the_fault() {
    for (bytes, expected) in [
        ("", "/ at byte 0: the input ends before the item does /"),
        ("82 01", "[1, / at byte 2: the input ends before the item does /"),
        ("a1 6161", "{\"a\": / at byte 3: the input ends before the item does /"),
        ("00 00", "0 / at byte 1: bytes follow after the end of the item /"),
        ("81 1c", "[ / at byte 1: a reserved initial byte /"),
        ("81 61 ff", "[ / at byte 1: text that is not UTF-8 /"),
        ("81 ff", "[ / at byte 1: a break outside of an item of indefinite length /"),
        ("f8 10", "/ at byte 0: a simple value below 32 in two bytes /"),
        ("5f 6161 ff", "(_ / at byte 1: a chunk that is not of the string's type /"),
        ("43 01", "/ at byte 1: the input ends before the item does /"),
    ] {
        assert_eq!(diagnostic(&unhex(bytes)), expected, "{bytes}");
    }
}

#[test]
fn bignums_beyond_128_bits_show_their_bytes() {
    assert_eq!(
        diagnostic(&unhex("c2 51 0100000000000000000000000000000000")),
        "2(h'0100000000000000000000000000000000')"
    );
    assert_eq!(diagnostic(&unhex("c3 50 ffffffffffffffffffffffffffffffff")), "3(h'ffffffffffffffffffffffffffffffff')");
}

#[test]
fn encoded_displays_in_diagnostic_notation() {
    let encoded = Encoded::encode(&("a", 1)).unwrap();
    assert_eq!(encoded.to_string(), "[\"a\", 1]");
    assert_eq!(format!("{encoded:?}"), "Encoded([\"a\", 1])");
}
