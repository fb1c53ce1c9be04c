//! Property tests, for arbitrary values and arbitrary bytes, and the corpus of the fuzzer.

use std::{
    collections::{BTreeMap, HashMap},
    fs,
    path::Path,
};

use fleche_encoding::{Encoded, diagnostic, from_slice, to_vec};
use proptest::{collection, option, prelude::*};
use serde::{Deserialize, Serialize};

use crate::{check_bytes, survives};

/// A type with values of every shape.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
enum Rich {
    Unit,
    Bool(bool),
    Char(char),
    Text(String),
    Small(u8, i8),
    Wide(u128, i128),
    Bytes(Vec<u8>),
    Numbers { f: Vec<f64>, i: Vec<i32>, u: Vec<u16> },
    Single(f32),
    Maybe(Option<Option<Option<()>>>),
    Nested(Option<Option<Box<Rich>>>),
    List(Vec<Rich>),
    Pair(Box<(Rich, Rich)>),
    Map(BTreeMap<String, Rich>),
    Keys(HashMap<(i64, Option<u8>), Rich>),
}

fn rich() -> impl Strategy<Value = Rich> {
    let nested_unit = option::of(option::of(option::of(Just(()))));
    let leaf = prop_oneof![
        Just(Rich::Unit),
        any::<bool>().prop_map(Rich::Bool),
        any::<char>().prop_map(Rich::Char),
        any::<String>().prop_map(Rich::Text),
        any::<(u8, i8)>().prop_map(|(u, i)| Rich::Small(u, i)),
        any::<(u128, i128)>().prop_map(|(u, i)| Rich::Wide(u, i)),
        collection::vec(any::<u8>(), 0..40).prop_map(Rich::Bytes),
        (collection::vec(any::<f64>(), 0..5), collection::vec(any::<i32>(), 0..5), collection::vec(any::<u16>(), 0..5))
            .prop_map(|(f, i, u)| Rich::Numbers { f, i, u }),
        any::<f32>().prop_map(Rich::Single),
        nested_unit.prop_map(Rich::Maybe),
    ];
    leaf.prop_recursive(5, 40, 5, |inner| {
        prop_oneof![
            option::of(option::of(inner.clone().prop_map(Box::new))).prop_map(Rich::Nested),
            collection::vec(inner.clone(), 0..5).prop_map(Rich::List),
            (inner.clone(), inner.clone()).prop_map(|pair| Rich::Pair(Box::new(pair))),
            collection::btree_map(any::<String>(), inner.clone(), 0..5).prop_map(Rich::Map),
            collection::hash_map(any::<(i64, Option<u8>)>(), inner, 0..5).prop_map(Rich::Keys),
        ]
    })
}

/// Checks that two values of one type encode alike exactly if they are equal.
fn stay_apart<T: Serialize + PartialEq + std::fmt::Debug>(a: &T, b: &T) -> Result<(), TestCaseError> {
    prop_assert_eq!(to_vec(a).unwrap() == to_vec(b).unwrap(), a == b, "{:?} and {:?}", a, b);
    Ok(())
}

proptest! {
    #[test]
    fn encoded_values_decode_to_equal_values(value in rich()) {
        survives(&value);
        let encoded = Encoded::encode(&value).unwrap();
        prop_assert_eq!(Encoded::from_bytes(encoded.clone().into_bytes()).unwrap(), encoded);
    }

    #[test]
    fn different_values_encode_differently(a in rich(), b in rich()) {
        stay_apart(&a, &b)?;
    }

    #[test]
    fn different_small_values_encode_differently(
        options in any::<[Option<Option<Option<bool>>>; 2]>(),
        units in any::<[Vec<Option<Option<()>>>; 2]>(),
        numbers in collection::vec(collection::vec(0u8..2, 0..3), 2),
        results in any::<[Result<Option<()>, Option<u8>>; 2]>(),
        integers in any::<[(i128, u64); 2]>(),
        maps in collection::vec(collection::btree_map(0u8..3, option::of(Just(())), 0..3), 2),
        texts in any::<[(String, String); 2]>(),
    ) {
        stay_apart(&options[0], &options[1])?;
        stay_apart(&units[0], &units[1])?;
        stay_apart(&numbers[0], &numbers[1])?;
        stay_apart(&results[0], &results[1])?;
        stay_apart(&integers[0], &integers[1])?;
        stay_apart(&maps[0], &maps[1])?;
        stay_apart(&texts[0], &texts[1])?;
    }

    #[test]
    fn insertion_order_does_not_matter(entries in collection::btree_map(any::<String>(), any::<u32>(), 0..50)) {
        let sorted = to_vec(&entries).unwrap();
        let forward: HashMap<_, _> = entries.clone().into_iter().collect();
        let backward: HashMap<_, _> = entries.into_iter().rev().collect();
        prop_assert_eq!(&to_vec(&forward).unwrap(), &sorted);
        prop_assert_eq!(&to_vec(&backward).unwrap(), &sorted);
    }

    #[test]
    fn integers_of_any_size_round_trip(wide in any::<i128>(), shift in 0u32..128) {
        survives(&(wide >> shift));
        survives(&(wide.cast_unsigned() >> shift));
    }

    #[test]
    fn any_bytes_are_read_or_refused(bytes in collection::vec(any::<u8>(), 0..64)) {
        check_bytes::check(&bytes);
        let _ = from_slice::<Rich>(&bytes);
    }

    #[test]
    fn mutated_encodings_are_read_or_refused(
        value in rich(),
        mutations in collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..4),
        cut in any::<prop::sample::Index>(),
    ) {
        let mut bytes = to_vec(&value).unwrap();
        for (index, byte) in mutations {
            let index = index.index(bytes.len());
            bytes[index] = byte;
        }
        for bytes in [&bytes[..], &bytes[..cut.index(bytes.len())]] {
            check_bytes::check(bytes);
            if let Ok(decoded) = from_slice::<Rich>(bytes) {
                let again = to_vec(&decoded).unwrap();
                prop_assert_eq!(&to_vec(&from_slice::<Rich>(&again).unwrap()).unwrap(), &again);
            }
        }
    }

    #[test]
    fn notation_never_panics(bytes in collection::vec(any::<u8>(), 0..200)) {
        diagnostic(&bytes);
    }
}

#[test]
fn corpus_of_the_fuzzer_passes() {
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fuzz/corpus/decode");
    let mut count = 0;
    for entry in fs::read_dir(&corpus).unwrap() {
        check_bytes::check(&fs::read(entry.unwrap().path()).unwrap());
        count += 1;
    }
    assert!(count >= 30, "{count} files in {}", corpus.display());
}
