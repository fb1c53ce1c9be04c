//! Cases of damage on disk: if the bytes of an entry change in any way, a store never returns wrong ones.

use fleche_core::{Error, Query, call::RecordSummary, encoding};

use crate::{
    disk::{FilePosition, StoreFile},
    fixture::Fixture,
    known_limits::{encodes_bytes, loses_neighbours},
    store_kind::{Calls, StoreKind, assert_damaged_or_absent},
    test_data::Item,
};

const PAGE: usize = 4096;
/// The number of noise bytes in the middle of an entry by which its position in a file is found.
const PROBE: usize = 64;
/// The size in bytes above which a file is assumed to contain entries, if the backend encodes them.
const LARGE: usize = 2_000;

pub(crate) fn flipped_bit<S: StoreKind>(fixture: &Fixture) {
    assert_detected::<S>(fixture, DamageExtent::Entry, |position, _| position.edit(|bytes| bytes[PROBE / 2] ^= 0x10));
}

pub(crate) fn truncated<S: StoreKind>(fixture: &Fixture) {
    assert_detected::<S>(fixture, DamageExtent::File, |position, _| position.truncate());
}

pub(crate) fn zeroed_page<S: StoreKind>(fixture: &Fixture) {
    // Only the entry's own part of the page is zeroed, since other data may follow.
    assert_detected::<S>(fixture, DamageExtent::Entry, |position, entry| {
        position.edit(|bytes| {
            let own = |entry: &[u8]| bytes.iter().zip(entry).take_while(|(one, other)| one == other).count();
            let own = entry.map_or(bytes.len(), own);
            bytes[..own.min(PAGE)].fill(0);
        });
    });
}

/// Damages one entry of several, and checks that the store detects it and keeps the others.
///
/// `damage` is called with each position of the entry's middle, and with the bytes from there on if they are known.
fn assert_detected<S: StoreKind>(
    fixture: &Fixture,
    extent: DamageExtent,
    damage: impl Fn(&FilePosition, Option<&[u8]>),
) {
    let damaged_store = DamagedStore::<S>::new(fixture);
    let Some(positions) = damaged_store.positions() else {
        return damaged_store.after_unseen(|files| files.iter().for_each(|file| damage(&file.middle(), None)));
    };
    let bytes = S::bytes(damaged_store.victim);
    for position in &positions {
        damage(position, Some(&bytes[bytes.len() / 2..]));
    }
    let Some((store, untouched)) = damaged_store.reopen(&positions, extent) else { return };
    assert_damaged_or_absent(&store.try_get(damaged_store.victim));
    store.assert_lacks(damaged_store.victim);
    store.assert_holds(&untouched);
    store.put(damaged_store.victim);
    let intact: Vec<_> = untouched.iter().copied().chain([damaged_store.victim]).collect();
    store.assert_holds(&intact);
    drop(store);
    S::open(fixture).assert_holds(&intact);
}

pub(crate) fn put_repairs_a_truncated_entry<S: StoreKind>(fixture: &Fixture) {
    let damaged_store = DamagedStore::<S>::new(fixture);
    let Some(positions) = damaged_store.positions() else {
        return damaged_store.after_unseen(|files| files.iter().for_each(|file| file.middle().truncate()));
    };
    positions.iter().for_each(FilePosition::truncate);
    let Some((store, untouched)) = damaged_store.reopen(&positions, DamageExtent::File) else { return };
    store.put(damaged_store.victim);
    store.assert_holds(&untouched.iter().copied().chain([damaged_store.victim]).collect::<Vec<_>>());
}

pub(crate) fn swapped_entries<S: StoreKind>(fixture: &Fixture) {
    let damaged_store = DamagedStore::<S>::new(fixture);
    let (one, other) = (Item::small(1001), Item::small(1002));
    {
        let store = S::open(fixture);
        store.put(one);
        store.put(other);
    }
    let (one_bytes, other_bytes) = (S::bytes(one), S::bytes(other));
    assert_eq!(one_bytes.len(), other_bytes.len(), "the case is wrong: both entries must have the same length");
    let (positions_of_one, positions_of_other) = (fixture.disk().find(&one_bytes), fixture.disk().find(&other_bytes));
    if nothing_found(fixture, &positions_of_one) || nothing_found(fixture, &positions_of_other) {
        return damaged_store.after_unseen(|files| {
            let swapped = files.iter().zip(files.iter().skip(1)).find(|(one, other)| one.len() == other.len());
            if let Some((one, other)) = swapped {
                one.swap(other);
            }
        });
    }
    for (positions, bytes) in [(positions_of_one, other_bytes), (positions_of_other, one_bytes)] {
        for position in &positions {
            position.edit(|bytes_there| bytes_there[..bytes.len()].copy_from_slice(&bytes));
        }
    }

    let store = S::open(fixture);
    for swapped in [one, other] {
        assert_damaged_or_absent(&store.try_get(swapped));
        store.assert_lacks(swapped);
    }
    store.assert_holds(&damaged_store.all);
    store.put(one);
    store.put(other);
    store.assert_holds(&damaged_store.all.iter().copied().chain([one, other]).collect::<Vec<_>>());
}

pub(crate) fn find_skips_damaged_records(fixture: &Fixture) {
    let damaged_store = DamagedStore::<Calls>::new(fixture);
    let Some(positions) = damaged_store.positions() else { return };
    for position in &positions {
        position.edit(|bytes| bytes[0] ^= 1);
    }
    let store = fixture.open_calls();
    for (look, errors_allowed) in [("first", 1), ("second", 0)] {
        let (mut found, mut errors) = (0, 0);
        for item in store.find(&Query::new()).unwrap() {
            match item {
                Ok((key, record)) => {
                    let intact = damaged_store.all.iter().any(|item| item.key() == key && item.record() == record);
                    assert!(
                        intact && key != damaged_store.victim.key(),
                        "the {look} query returns a record that was never put"
                    );
                    found += 1;
                }
                Err(Error::Damaged { .. }) => errors += 1,
                Err(error) => panic!("damage must cause `Error::Damaged`, not: {error:?}"),
            }
        }
        if !loses_neighbours(fixture.backend.name, false) {
            assert_eq!(found, damaged_store.all.len() - 1, "intact records that the {look} query returns");
        }
        assert!(errors <= errors_allowed, "{errors} errors in the {look} query");
    }
}

pub(crate) fn summary_detects_a_flipped_bit(fixture: &Fixture) {
    let damaged_store = DamagedStore::<Calls>::new(fixture);
    let Some(positions) = damaged_store.positions() else { return };
    for position in &positions {
        position.edit(|bytes| bytes[0] ^= 1);
    }
    let store = fixture.open_calls();
    let key = damaged_store.victim.key();
    assert_damaged_or_absent(&store.summary(&key).map(|found| found.is_some()));
    assert_eq!(store.summary(&key).unwrap(), None);
    assert!(!store.contains(&key).unwrap(), "`contains` finds a damaged record");
    store.put(&key, &damaged_store.victim.record()).unwrap();
    assert_eq!(store.summary(&key).unwrap(), Some(RecordSummary::from(&damaged_store.victim.record())));
}

pub(crate) fn later_format_is_kept(fixture: &Fixture) {
    let (item, other) = (Item::small(1), Item::small(2));
    {
        let store = Calls::open(fixture);
        store.put(item);
        store.put(other);
    }
    let current = Calls::bytes(item);
    let later = in_next_format(item);
    let positions = fixture.disk().find(&current);
    if nothing_found(fixture, &positions) {
        return;
    }
    for position in &positions {
        position.edit(|bytes_there| bytes_there[..later.len()].copy_from_slice(&later));
    }

    let store = fixture.open_calls();
    if loses_neighbours(fixture.backend.name, false) {
        // To such a backend, any change on disk is damage, so it must not serve the record.
        return assert_damaged_or_absent(&store.get(&item.key()).map(|found| found.is_some()));
    }
    for _ in 0..2 {
        assert!(store.get(&item.key()).unwrap().is_none(), "a record of a later format is not a miss");
        let found: Vec<_> = store.find(&Query::new()).unwrap().map(Result::unwrap).collect();
        assert!(found == [(other.key(), other.record())], "`find` does not skip a record of a later format");
        assert!(
            !store.remove(&item.key(), Some(&item.record())).unwrap(),
            "a record of a later format is treated as equal to one of this format"
        );
    }
    drop(store);
    assert!(!fixture.disk().find(&later).is_empty(), "a record of a later format was not left in place");
    assert!(fixture.open_calls().get(&item.key()).unwrap().is_none());
}

/// Encodes the item's record as a later version would: with another `format`, and the checksum of these bytes.
fn in_next_format(item: Item) -> Vec<u8> {
    let key = item.key();
    let mut bytes = Calls::bytes(item);
    bytes.truncate(bytes.len() - 16);
    let format = encoding::to_vec("format").unwrap();
    let at = bytes.windows(format.len()).position(|window| window == format).expect("a record must contain its format");
    assert_eq!(bytes[at + format.len()], 1, "the case is wrong: it is written for format 1");
    bytes[at + format.len()] = 2;
    let mut sum = [0; 16];
    blake3::Hasher::new().update(key.digest().as_bytes()).update(&bytes).finalize_xof().fill(&mut sum);
    bytes.extend_from_slice(&sum);
    bytes
}

/// The extent of the damage: one entry, or the file that contains it.
#[derive(Clone, Copy, PartialEq, Eq)]
enum DamageExtent {
    Entry,
    File,
}

/// A closed store with some entries, one of which is to be damaged.
struct DamagedStore<'a, S> {
    fixture: &'a Fixture,
    victim: Item,
    all: Vec<Item>,
    store_kind: std::marker::PhantomData<S>,
}

impl<'a, S: StoreKind> DamagedStore<'a, S> {
    fn new(fixture: &'a Fixture) -> Self {
        let victim = Item::large(10);
        let all: Vec<_> = (0..5).map(Item::small).chain([Item::large(9), victim, Item::large(11)]).collect();
        let store = S::open(fixture);
        store.put_all(&all);
        Self { fixture, victim, all, store_kind: std::marker::PhantomData }
    }

    /// Returns the positions of the victim's middle in files.
    ///
    /// Returns `None` if the entry's bytes are in no file. Asserts that the backend allows this.
    fn positions(&self) -> Option<Vec<FilePosition>> {
        let positions = self.find(self.victim);
        (!nothing_found(self.fixture, &positions)).then_some(positions)
    }

    fn find(&self, item: Item) -> Vec<FilePosition> {
        let bytes = S::bytes(item);
        let middle = bytes.len() / 2;
        self.fixture.disk().find(&bytes[middle..][..PROBE.min(bytes.len() - middle)])
    }

    /// Damages a store whose files contain entries in encoded form, and checks the entries that it serves afterwards.
    fn after_unseen(&self, damage: impl FnOnce(&[StoreFile])) {
        if !encodes_bytes(self.fixture.backend.name) {
            return;
        }
        let files: Vec<_> = self.fixture.disk().larger_than(LARGE);
        assert!(!files.is_empty(), "the store has no file of more than {LARGE} bytes in its scratch directory");
        damage(&files);
        // The store may refuse to open a damaged file.
        let Ok(reopened) = S::try_open(&S::config_of(self.fixture)) else { return };
        for &item in &self.all {
            assert_damaged_or_absent_or_intact(&reopened, item);
            reopened.put(item);
            reopened.assert_has(item);
        }
        drop(reopened);
        self.all.iter().for_each(|&item| S::open(self.fixture).assert_has(item));
    }

    /// Reopens the store, and returns it with the entries that must be intact.
    ///
    /// These are all entries except the victim and those that the backend may lose with it. Returns `None` if the store
    /// does not open, which is allowed if a damaged file contains entries.
    fn reopen(&self, damaged: &[FilePosition], extent: DamageExtent) -> Option<(S, Vec<Item>)> {
        let others = self.all.iter().copied().filter(|item| *item != self.victim);
        let loses_neighbours = loses_neighbours(self.fixture.backend.name, extent == DamageExtent::File);
        let stays = |&item: &Item| !loses_neighbours && !self.find(item).is_empty();
        let (untouched, lost): (Vec<_>, Vec<_>) = others.partition(stays);
        let shared = |file| self.all.iter().any(|&item| self.find(item).iter().any(|position| position.file == file));
        match S::try_open(&S::config_of(self.fixture)) {
            Ok(opened) => {
                for &item in &lost {
                    assert_damaged_or_absent_or_intact(&opened, item);
                }
                let lost_are_back: Vec<_> = lost.into_iter().filter(|&item| opened.get(item)).collect();
                Some((opened, [untouched, lost_are_back].concat()))
            }
            Err(error) => {
                assert!(
                    damaged.iter().any(|position| shared(position.file.clone())),
                    "the store does not open: {error:?}"
                );
                None
            }
        }
    }
}

fn assert_damaged_or_absent_or_intact<S: StoreKind>(store: &S, item: Item) {
    let found = store.try_get(item);
    if !matches!(found, Ok(true)) {
        assert_damaged_or_absent(&found);
    }
}

/// Returns whether the bytes are in no file of the scratch directory.
///
/// If so, asserts that the directory is empty, since otherwise the case would pass without testing anything. Also
/// asserts this if the backend is not durable.
fn nothing_found(fixture: &Fixture, positions: &[FilePosition]) -> bool {
    if !fixture.backend.durable || positions.is_empty() && !encodes_bytes(fixture.backend.name) {
        assert!(
            fixture.disk().is_empty(),
            "{}",
            if fixture.backend.durable {
                "the scratch directory is not empty, but contains an entry's bytes in no file; if the backend compresses, \
                 encrypts or encodes them, declare it with `admit_encoded_bytes!`"
            } else {
                "the store is not durable, but leaves files on disk"
            }
        );
    }
    positions.is_empty()
}
