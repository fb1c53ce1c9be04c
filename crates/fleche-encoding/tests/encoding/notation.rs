//! Diagnostic notation, beyond the examples of the RFC.

use fleche_encoding::{Encoded, diagnostic, to_vec};

use crate::common::unhex;

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
    let encoded = Encoded::of(&("a", 1)).unwrap();
    assert_eq!(encoded.to_string(), "[\"a\", 1]");
    assert_eq!(format!("{encoded:?}"), "Encoded([\"a\", 1])");
}
