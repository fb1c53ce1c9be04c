//! Bytes that must never change: value references, call keys, records. The encoding's own are in `fleche-encoding`.
//!
//! Where one of these fails, the change would lose every stored result.
#![allow(missing_docs)]

use std::collections::BTreeMap;

use fleche_core::{
    CallKey, Digest, Error, FunctionId, Record, ValueRef,
    call::{Argument, INLINE_LIMIT, RecordFields, RecordSummary, Timestamp, Writer},
    encoding::{self, Encoded},
    metadata::Metadata,
};

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |text, byte| text + &format!("{byte:02x}"))
}

fn encoded<T: serde::Serialize>(value: &T) -> String {
    hex(&encoding::to_vec(value).unwrap())
}

const CODE: [u8; 32] = [7; 32];

fn function(hash_code: bool) -> FunctionId {
    FunctionId { name: "solver::energy".into(), version: 2, code: Digest::from_bytes(CODE), hash_code }
}

fn arguments() -> Vec<Argument> {
    let value = |value: &[f64]| ValueRef::new(&encoding::to_vec(value).unwrap());
    let cutoff = ValueRef::new(&encoding::to_vec(&4.5).unwrap());
    vec![Argument("structure".into(), value(&[1.0; 9])), Argument("cutoff".into(), cutoff)]
}

#[test]
fn short_value_is_referred_to_by_its_encoding_and_longer_one_by_its_digest() {
    assert_eq!(encoded(&ValueRef::new(&[0x01])), "4101");
    let at_limit = vec![0xf6; INLINE_LIMIT];
    assert_eq!(encoded(&ValueRef::new(&at_limit)), format!("5840{}", hex(&at_limit)));
    let above = vec![0xf6; INLINE_LIMIT + 1];
    let digest = blake3::hash(&above).to_hex();
    assert_eq!(encoded(&ValueRef::new(&above)), format!("7840{}", hex(digest.as_bytes())));
    for bytes in [&[0x01][..], &at_limit, &above] {
        let reference = ValueRef::new(bytes);
        let bytes = encoding::to_vec(&reference).unwrap();
        assert_eq!(encoding::from_slice::<ValueRef>(&bytes).unwrap(), reference);
        let text = serde_json::to_string(&reference).unwrap();
        assert_eq!(serde_json::from_str::<ValueRef>(&text).unwrap(), reference);
    }
}

#[test]
fn key_is_derived_from_name_version_and_arguments() {
    let key = CallKey::new(&function(false), &arguments()).unwrap();
    // [{"name": "solver::energy", "version": 2}, [["structure", "<digest>"], ["cutoff", h'fb4012000000000000']]]
    let structure = Digest::hash(&encoding::to_vec(&[1.0; 9][..]).unwrap()).to_string();
    let preimage = format!(
        "82a2646e616d656e{}6776657273696f6e02\
         8282697374727563747572657840{}826663\
         75746f666649fb4012000000000000",
        hex(b"solver::energy"),
        hex(structure.as_bytes()),
    );
    let bytes: Vec<u8> =
        (0..preimage.len()).step_by(2).map(|at| u8::from_str_radix(&preimage[at..at + 2], 16).unwrap()).collect();
    assert_eq!(key.digest().as_bytes(), &blake3::derive_key("fleche 2026 call key v1", &bytes));
    assert_eq!(key.to_string(), "6dd8b06f1ad9c9ce4aeba8022ea8a69f66388e32f6dc10f56dea7a3cd99d1c56");
}

#[test]
fn code_is_part_of_the_key_with_hash_code() {
    let key = CallKey::new(&function(true), &arguments()).unwrap();
    assert_eq!(key.to_string(), "b015a7c6f9e0ccae779fcaf17cc39a1b2e5d490c3d170d105aca3b4a13bdf733");
    assert_ne!(key, CallKey::new(&function(false), &arguments()).unwrap());
}

#[test]
fn key_of_a_call_without_arguments_is_fixed() {
    let plain = FunctionId { version: 0, ..function(false) };
    assert_eq!(
        CallKey::new(&plain, &[]).unwrap().to_string(),
        "9d7cd4bd7c53e7f0f12cb1c53ef4dc8ad90f2c25aa195dcdb05e0e61d09bec5d"
    );
}

fn record() -> Record {
    let mut metadata = Metadata::default();
    metadata.insert("tags", Encoded::encode(&BTreeMap::from([("project", "alloy")])).unwrap());
    Record::new(RecordFields {
        function: function(false),
        arguments: arguments(),
        result: ValueRef::new(&encoding::to_vec(&-3.25).unwrap()),
        metadata,
        written: Timestamp(1_800_000_000_123_456_789),
        writer: Writer { host: "node7".into(), process: 4711, program: "relax".into() },
        other: BTreeMap::from([("later".to_owned(), Encoded::encode(&[1_u8, 2]).unwrap())]),
    })
}

#[test]
fn bytes_of_a_record_are_fixed_and_read_back() {
    let key = CallKey::new(&function(false), &arguments()).unwrap();
    let bytes = record().to_bytes(&key).unwrap();
    let pinned = concat!(
        "a8656c61746572d84042010266666f726d61740166726573756c7449fbc00a00000000000066777269746572a364686f",
        "7374656e6f6465376770726f636573731912676770726f6772616d6572656c6178677772697474656e1b18fae2769b0f",
        "cd156866756e6374696f6ea364636f646578403037303730373037303730373037303730373037303730373037303730",
        "3730373037303730373037303730373037303730373037303730373037303730373037646e616d656e736f6c7665723a",
        "3a656e657267796776657273696f6e02686d65746164617461a16474616773a16770726f6a65637465616c6c6f796961",
        "7267756d656e747382826973747275637475726578403233396335646362346636366531656238646365623538313265",
        "336436363339393264613866363837653732626139363963656662386637666465656162376182666375746f666649fb",
        "4012000000000000ed8c88270de6520f539f15d4971b555c",
    );
    assert_eq!(hex(&bytes), pinned);
    assert_eq!(Record::from_bytes(&key, &bytes).unwrap(), Some(record()));
    assert_eq!(Record::summary_from_bytes(&key, &bytes).unwrap(), Some(RecordSummary::from(&record())));
    let (map, checksum) = bytes.split_at(bytes.len() - 16);
    let expected = blake3::hash(&[&key.digest().as_bytes()[..], map].concat());
    assert_eq!(checksum, &expected.as_bytes()[..16]);
}

#[test]
fn record_under_another_key_or_with_any_bit_changed_is_reported_as_damaged() {
    let key = CallKey::new(&function(false), &arguments()).unwrap();
    let bytes = record().to_bytes(&key).unwrap();
    let other = CallKey::new(&function(true), &arguments()).unwrap();
    assert!(matches!(Record::from_bytes(&other, &bytes), Err(Error::Damaged { .. })));
    assert!(matches!(Record::summary_from_bytes(&other, &bytes), Err(Error::Damaged { .. })));
    for at in 0..bytes.len() * 8 {
        let mut changed = bytes.clone();
        changed[at / 8] ^= 1 << (at % 8);
        assert!(matches!(Record::from_bytes(&key, &changed), Err(Error::Damaged { .. })), "bit {at}");
        assert!(matches!(Record::summary_from_bytes(&key, &changed), Err(Error::Damaged { .. })), "bit {at}");
    }
    for length in 0..bytes.len() {
        assert!(matches!(Record::from_bytes(&key, &bytes[..length]), Err(Error::Damaged { .. })), "{length} bytes");
        assert!(
            matches!(Record::summary_from_bytes(&key, &bytes[..length]), Err(Error::Damaged { .. })),
            "{length} bytes"
        );
    }
}

#[test]
fn record_of_a_later_format_is_neither_read_nor_reported_as_damaged() {
    let key = CallKey::from(Digest::hash(b"key"));
    let mut bytes = encoding::to_vec(&BTreeMap::from([("format", 2)])).unwrap();
    let checksum = blake3::hash(&[&key.digest().as_bytes()[..], &bytes].concat());
    bytes.extend_from_slice(&checksum.as_bytes()[..16]);
    assert_eq!(Record::from_bytes(&key, &bytes).unwrap(), None);
    assert_eq!(Record::summary_from_bytes(&key, &bytes).unwrap(), None);
}

#[test]
fn unknown_fields_of_a_record_are_kept() {
    let key = CallKey::from(Digest::hash(b"key"));
    let read = Record::from_bytes(&key, &record().to_bytes(&key).unwrap()).unwrap().unwrap();
    assert_eq!(read.other["later"].decode::<Vec<u8>>().unwrap(), [1, 2]);
}
