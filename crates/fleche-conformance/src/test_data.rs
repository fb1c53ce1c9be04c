//! Values, records and random numbers that cases use. They are generated from a number, so that returned ones can be
//! verified.

use std::{
    collections::BTreeMap,
    hash::{BuildHasher, RandomState},
};

use fleche_core::{
    CallKey, Digest, FunctionId, Record, ValueRef,
    call::{Argument, RecordFields, Timestamp, Writer},
    encoding::{self, Encoded},
    metadata::Metadata,
};

/// An entry that cases put, identified by its number. The size is that of the value, and approximately of the record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Item {
    pub(crate) nth: u64,
    size: usize,
}

impl Item {
    /// Returns an entry of a few hundred bytes.
    pub(crate) fn small(nth: u64) -> Self {
        Self { nth, size: 100 }
    }

    /// Returns an entry of several pages.
    pub(crate) fn large(nth: u64) -> Self {
        Self { nth, size: 20_000 }
    }

    /// Returns the value, whose bytes are incompressible and unique.
    pub(crate) fn value(self) -> Vec<u8> {
        noise(self.nth, self.size)
    }

    pub(crate) fn id(self) -> Digest {
        Digest::hash(&self.value())
    }

    /// Returns the record of a call of `conformance::function` with the number as argument.
    ///
    /// All small records have the same length, as do all large ones.
    pub(crate) fn record(self) -> Record {
        record("conformance::function", self.nth, &self.value())
    }

    pub(crate) fn key(self) -> CallKey {
        key(&self.record())
    }
}

/// Returns noise of this length, which differs for each seed.
pub(crate) fn noise(seed: u64, len: usize) -> Vec<u8> {
    let mut bytes = vec![0; len];
    blake3::Hasher::new().update(&seed.to_le_bytes()).finalize_xof().fill(&mut bytes);
    bytes
}

/// Returns a record of the call `function(nth)`, written at [`moment`]`(nth)`, with noise in its metadata.
pub(crate) fn record(function: &'static str, nth: u64, noise: &[u8]) -> Record {
    let mut metadata = Metadata::default();
    metadata.insert("noise", Encoded::encode(noise).unwrap());
    Record::new(RecordFields {
        function: FunctionId { name: function.into(), version: 1, code: Digest::hash(b"code"), hash_code: false },
        arguments: vec![argument("nth", nth), argument("fixed", 7)],
        result: ValueRef::new(&noise[..noise.len().min(200)]),
        metadata,
        written: moment(nth),
        writer: Writer { host: "host".into(), process: 4_321, program: "conformance".into() },
        other: BTreeMap::new(),
    })
}

/// Returns the key of the record's call.
pub(crate) fn key(record: &Record) -> CallKey {
    CallKey::new(&record.function, &record.arguments).unwrap()
}

/// Returns an argument with this name and value.
pub(crate) fn argument(name: &'static str, value: u64) -> Argument {
    Argument(name.into(), ValueRef::new(&encoding::to_vec(&value).unwrap()))
}

/// Returns the time `nth` nanoseconds after a fixed moment in 2023.
pub(crate) fn moment(nth: u64) -> Timestamp {
    Timestamp(1_700_000_000_000_000_000 + nth)
}

/// The generator `SplitMix64` (Steele, Lea, Flood: Fast splittable pseudorandom number generators, 2014).
#[derive(Clone, Debug)]
pub struct Random(u64);

impl Random {
    /// Creates a generator from a seed.
    pub fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// Creates a generator from a random seed.
    pub fn any() -> Self {
        Self(RandomState::new().hash_one(()))
    }

    /// Returns the next number.
    pub fn next_u64(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// Returns a number below `end`, or 0 if `end` is 0. It is a remainder, so small numbers are slightly more likely.
    pub fn below(&mut self, end: u64) -> u64 {
        self.next_u64().checked_rem(end).unwrap_or(0)
    }

    /// Creates the `nth` of several independent generators with the same seed.
    pub fn part(seed: u64, nth: u64) -> Self {
        let mut own = Self(seed ^ nth.wrapping_mul(0xd1b5_4a32_d192_ed03));
        own.next_u64();
        own
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sequence_matches_published_values() {
        let mut random = Random::new(1_234_567);
        let numbers: Vec<_> = (0..3).map(|_| random.next_u64()).collect();
        assert_eq!(numbers, [6_457_827_717_110_365_317, 3_203_168_211_198_807_973, 9_817_491_932_198_370_423]);
    }

    #[test]
    fn numbers_stay_below_the_end() {
        let mut random = Random::part(7, 3);
        assert!((0..100).all(|_| random.below(10) < 10));
        assert_eq!(random.below(0), 0);
    }
}
