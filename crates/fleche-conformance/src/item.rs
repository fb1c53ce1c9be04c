//! The values and records that cases put: made from a number, so that what comes back can be told to be right.

use std::collections::BTreeMap;

use fleche_core::{
    CallKey, Digest, FunctionId, Record, ValueRef,
    call::{Argument, RecordFields, Timestamp, Writer},
    encoding::{self, Encoded},
    metadata::Metadata,
};

/// An entry that cases put: the number tells it from others, the size is that of its bytes, about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Item {
    pub(crate) nth: u64,
    size: usize,
}

impl Item {
    /// An entry of some hundred bytes.
    pub(crate) fn small(nth: u64) -> Self {
        Self { nth, size: 100 }
    }

    /// An entry of several pages.
    pub(crate) fn large(nth: u64) -> Self {
        Self { nth, size: 20_000 }
    }

    /// The value: bytes that no compression shortens and that stand nowhere else.
    pub(crate) fn value(self) -> Vec<u8> {
        noise(self.nth, self.size)
    }

    pub(crate) fn id(self) -> Digest {
        Digest::of(&self.value())
    }

    /// The record of a call of `conformance::function` with the number as argument. All of one size class have the same
    /// length.
    pub(crate) fn record(self) -> Record {
        record("conformance::function", self.nth, &self.value())
    }

    pub(crate) fn key(self) -> CallKey {
        key(&self.record())
    }
}

/// So many bytes of noise, another for each seed.
pub(crate) fn noise(seed: u64, len: usize) -> Vec<u8> {
    let mut bytes = vec![0; len];
    blake3::Hasher::new().update(&seed.to_le_bytes()).finalize_xof().fill(&mut bytes);
    bytes
}

/// A record of the call `function(nth)`, written `nth` nanoseconds after a certain moment, with noise in its metadata.
pub(crate) fn record(function: &'static str, nth: u64, noise: &[u8]) -> Record {
    let mut metadata = Metadata::default();
    metadata.insert("noise", Encoded::of(noise).unwrap());
    Record::new(RecordFields {
        function: FunctionId { name: function.into(), version: 1, code: Digest::of(b"code"), hash_code: false },
        arguments: vec![argument("nth", nth), argument("fixed", 7)],
        result: ValueRef::of(&noise[..noise.len().min(200)]),
        metadata,
        written: moment(nth),
        writer: Writer { host: "host".into(), process: 4_321, program: "conformance".into() },
        other: BTreeMap::new(),
    })
}

/// The key of the call that this is a record of.
pub(crate) fn key(record: &Record) -> CallKey {
    CallKey::new(&record.function, &record.arguments).unwrap()
}

/// The argument of this name and value.
pub(crate) fn argument(name: &'static str, value: u64) -> Argument {
    Argument(name.into(), ValueRef::of(&encoding::to_vec(&value).unwrap()))
}

/// So many nanoseconds after a moment in 2023.
pub(crate) fn moment(nth: u64) -> Timestamp {
    Timestamp(1_700_000_000_000_000_000 + nth)
}
