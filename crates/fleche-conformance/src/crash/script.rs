//! The operations of each thread, which are determined by the seed.

use std::collections::BTreeMap;

use fleche_core::{CallKey, Digest, Record, ValueRef, call::RecordFields};

use crate::{
    test_data::Random,
    test_data::{self, argument, moment, noise},
};

/// The number of threads. Each works on entries of its own, so that the order of an entry's operations is known.
pub(super) const THREADS: u8 = 4;
/// The number of values, and of records, of each thread.
const SLOTS: u8 = 24;
/// The number of calls that each thread claims.
const CLAIMS: u8 = 4;

/// The kind of an entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Kind {
    Value,
    Record,
}

/// An entry that one thread puts and removes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Entry {
    pub(super) kind: Kind,
    pub(super) thread: u8,
    pub(super) slot: u8,
}

impl Entry {
    /// Returns all entries.
    pub(super) fn all() -> impl Iterator<Item = Self> {
        let slots = |thread| (0..SLOTS).map(move |slot| (thread, slot));
        let both = |(thread, slot)| [Kind::Value, Kind::Record].map(|kind| Self { kind, thread, slot });
        (0..THREADS).flat_map(slots).flat_map(both)
    }

    fn number(self) -> u64 {
        u64::from(self.thread) * 1_000 + u64::from(self.slot)
    }

    /// Returns the entry's value. Most values are short, some have several pages, and some are large.
    pub(super) fn value(self) -> Vec<u8> {
        let size = match self.slot % 12 {
            0 => 200_000,
            1 | 2 => 20_000,
            slot => 100 * usize::from(slot),
        };
        noise(self.number(), size)
    }

    pub(super) fn id(self) -> Digest {
        Digest::hash(&self.value())
    }

    /// Returns the record that the `put` with the number `writing` stores. The number determines its time of writing
    /// and its noise.
    pub(super) fn record(self, writing: u32) -> Record {
        let writing = u64::from(writing);
        let noise = noise(self.number() << 32 | writing, 100 + usize::from(self.slot) * 50);
        let mut fields: RecordFields = (*test_data::record("crash::function", self.number(), &noise)).clone();
        fields.written = moment(writing);
        fields.result = ValueRef::new(&noise[..60]);
        Record::new(fields)
    }

    pub(super) fn key(self) -> CallKey {
        test_data::key(&test_data::record("crash::function", self.number(), &[0; 40]))
    }

    /// Returns the number of the `put` that stored the record, or `None` if its time of writing fits none.
    pub(super) fn writing(record: &Record) -> Option<u32> {
        let since = record.written.0.checked_sub(moment(0).0)?;
        since.try_into().ok()
    }
}

/// Returns the keys of the calls that this thread claims.
pub(super) fn claimed(thread: u8) -> impl Iterator<Item = CallKey> {
    (0..CLAIMS).map(move |slot| claim_key(thread, slot))
}

fn claim_key(thread: u8, slot: u8) -> CallKey {
    let mut record: RecordFields = (*test_data::record("crash::claimed", 0, &[0; 40])).clone();
    record.arguments = vec![argument("thread", thread.into()), argument("slot", slot.into())];
    test_data::key(&Record::new(record))
}

/// One operation of a thread.
#[derive(Clone, Copy, Debug)]
pub(super) enum Step {
    /// Puts the entry. The number of the `put` distinguishes records.
    Put(Entry, u32),
    /// Syncs the entry that was put just before.
    Sync(Entry),
    Remove(Entry),
    Read(Entry),
    /// Releases the claim that is held, if any, and claims this call.
    Claim(CallKey),
}

/// The infinite sequence of one thread's steps.
pub(super) struct Script {
    thread: u8,
    random: Random,
    number: u32,
    then: Option<Step>,
}

impl Script {
    pub(super) fn new(seed: u64, thread: u8) -> Self {
        Self { thread, random: Random::part(seed, thread.into()), number: 0, then: None }
    }
}

impl Iterator for Script {
    type Item = Step;

    fn next(&mut self) -> Option<Step> {
        self.number += 1;
        if let Some(step) = self.then.take() {
            return Some(step);
        }
        let mut below = |end: u8| u8::try_from(self.random.below(end.into())).unwrap_or_default();
        let kind = if below(2) == 0 { Kind::Value } else { Kind::Record };
        let entry = Entry { kind, thread: self.thread, slot: below(SLOTS) };
        Some(match below(16) {
            0..7 => {
                if below(4) == 0 {
                    self.then = Some(Step::Sync(entry));
                }
                Step::Put(entry, self.number)
            }
            7..10 => Step::Remove(entry),
            10..15 => Step::Read(entry),
            _ => Step::Claim(claim_key(self.thread, below(CLAIMS))),
        })
    }
}

/// The state of each entry that was put or removed: the number of the `put` of a record, 0 for a value, or `None` if it
/// is absent.
pub(super) type States = BTreeMap<Entry, Option<u32>>;
