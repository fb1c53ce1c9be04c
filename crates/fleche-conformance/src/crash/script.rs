//! What each thread does, as it follows from the seed.

use std::collections::BTreeMap;

use fleche_core::{CallKey, Digest, Record, ValueRef, call::RecordFields};

use crate::{
    item::{self, argument, moment, noise},
    random::Random,
};

/// So many threads work at once, each on entries of its own, so that the order of all that happens to an entry is known.
pub(super) const THREADS: u8 = 4;
/// So many values and so many records has each thread.
const SLOTS: u8 = 24;
/// So many calls are claimed by each thread.
const CLAIMS: u8 = 4;

/// What an entry is.
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
    /// All that there are.
    pub(super) fn all() -> impl Iterator<Item = Self> {
        let slots = |thread| (0..SLOTS).map(move |slot| (thread, slot));
        let both = |(thread, slot)| [Kind::Value, Kind::Record].map(|kind| Self { kind, thread, slot });
        (0..THREADS).flat_map(slots).flat_map(both)
    }

    fn number(self) -> u64 {
        u64::from(self.thread) * 1_000 + u64::from(self.slot)
    }

    /// The value: mostly short, some of several pages, one large.
    pub(super) fn value(self) -> Vec<u8> {
        let size = match self.slot % 12 {
            0 => 200_000,
            1 | 2 => 20_000,
            slot => 100 * usize::from(slot),
        };
        noise(self.number(), size)
    }

    pub(super) fn id(self) -> Digest {
        Digest::of(&self.value())
    }

    /// The record as it is at this writing, which tells the time of writing and the noise.
    pub(super) fn record(self, writing: u32) -> Record {
        let writing = u64::from(writing);
        let noise = noise(self.number() << 32 | writing, 100 + usize::from(self.slot) * 50);
        let mut fields: RecordFields = (*item::record("crash::function", self.number(), &noise)).clone();
        fields.written = moment(writing);
        fields.result = ValueRef::of(&noise[..60]);
        Record::new(fields)
    }

    pub(super) fn key(self) -> CallKey {
        item::key(&item::record("crash::function", self.number(), &[0; 40]))
    }

    /// At which writing of this entry the record was made.
    pub(super) fn writing(record: &Record) -> Option<u32> {
        let since = record.written.0.checked_sub(moment(0).0)?;
        since.try_into().ok()
    }
}

/// The calls that are claimed by this thread.
pub(super) fn claimed(thread: u8) -> impl Iterator<Item = CallKey> {
    (0..CLAIMS).map(move |slot| claim_key(thread, slot))
}

fn claim_key(thread: u8, slot: u8) -> CallKey {
    let mut record: RecordFields = (*item::record("crash::claimed", 0, &[0; 40])).clone();
    record.arguments = vec![argument("thread", thread.into()), argument("slot", slot.into())];
    item::key(&Record::new(record))
}

/// One operation.
#[derive(Clone, Copy, Debug)]
pub(super) enum Step {
    /// Puts the entry; a record as it is at this writing.
    Put(Entry, u32),
    /// Asks for what was put just before to survive everything.
    Sync(Entry),
    Remove(Entry),
    Read(Entry),
    /// Gives back the claim that is held, if one is, and claims this call.
    Claim(CallKey),
}

/// The steps of one thread, without end.
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

/// What is there of each entry that was ever touched: a record by its writing, a value by any number; or nothing.
pub(super) type States = BTreeMap<Entry, Option<u32>>;
