//! Faulty implementations of `Serialize`, and what they cannot break.

use fleche_encoding::{EncodeError, append, to_vec};
use serde::{
    Serialize, Serializer,
    ser::{SerializeMap as _, SerializeSeq as _},
};

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
