//! Cases of damage on disk: whatever happens to an entry's bytes, a store never returns wrong ones.

use fleche_core::{Error, Query, call::RecordSummary, encoding};

use crate::{
    disk::{Spot, Whole},
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
    notices::<S>(fixture, Harm::Entry, |spot, _| spot.edit(|bytes| bytes[PROBE / 2] ^= 0x10));
}

pub(crate) fn truncated<S: StoreKind>(fixture: &Fixture) {
    notices::<S>(fixture, Harm::File, |spot, _| spot.cut());
}

pub(crate) fn zeroed_page<S: StoreKind>(fixture: &Fixture) {
    // Only the entry's own part of the page is zeroed, since other data may follow.
    notices::<S>(fixture, Harm::Entry, |spot, entry| {
        spot.edit(|bytes| {
            let own = |entry: &[u8]| bytes.iter().zip(entry).take_while(|(one, other)| one == other).count();
            let own = entry.map_or(bytes.len(), own);
            bytes[..own.min(PAGE)].fill(0);
        });
    });
}

/// Damages one entry of several, and checks that the store notices it and keeps the others.
///
/// `damage` is called with each position of the entry's middle, and with the bytes from there on if they are known.
fn notices<S: StoreKind>(fixture: &Fixture, harm: Harm, damage: impl Fn(&Spot, Option<&[u8]>)) {
    let scene = Scene::<S>::new(fixture);
    let Some(spots) = scene.spots() else {
        return scene.after_unseen(|files| files.iter().for_each(|file| damage(&file.middle(), None)));
    };
    let bytes = S::bytes(scene.victim);
    for spot in &spots {
        damage(spot, Some(&bytes[bytes.len() / 2..]));
    }
    let Some((shelf, untouched)) = scene.reopen(&spots, harm) else { return };
    assert_damaged_or_absent(&shelf.try_get(scene.victim));
    shelf.assert_lacks(scene.victim);
    shelf.assert_holds(&untouched);
    shelf.put(scene.victim);
    let whole: Vec<_> = untouched.iter().copied().chain([scene.victim]).collect();
    shelf.assert_holds(&whole);
    drop(shelf);
    S::open(fixture).assert_holds(&whole);
}

pub(crate) fn put_mends_a_truncated_entry<S: StoreKind>(fixture: &Fixture) {
    let scene = Scene::<S>::new(fixture);
    let Some(spots) = scene.spots() else {
        return scene.after_unseen(|files| files.iter().for_each(|file| file.middle().cut()));
    };
    spots.iter().for_each(Spot::cut);
    let Some((shelf, untouched)) = scene.reopen(&spots, Harm::File) else { return };
    shelf.put(scene.victim);
    shelf.assert_holds(&untouched.iter().copied().chain([scene.victim]).collect::<Vec<_>>());
}

pub(crate) fn swapped_entries<S: StoreKind>(fixture: &Fixture) {
    let scene = Scene::<S>::new(fixture);
    let (one, other) = (Item::small(1001), Item::small(1002));
    {
        let shelf = S::open(fixture);
        shelf.put(one);
        shelf.put(other);
    }
    let (one_bytes, other_bytes) = (S::bytes(one), S::bytes(other));
    assert_eq!(one_bytes.len(), other_bytes.len(), "the case is wrong: both entries must have the same length");
    let (at_one, at_other) = (fixture.disk().find(&one_bytes), fixture.disk().find(&other_bytes));
    if nothing_found(fixture, &at_one) || nothing_found(fixture, &at_other) {
        return scene.after_unseen(|files| {
            let swapped = files.iter().zip(files.iter().skip(1)).find(|(one, other)| one.len() == other.len());
            if let Some((one, other)) = swapped {
                one.swap(other);
            }
        });
    }
    for (spots, bytes) in [(at_one, other_bytes), (at_other, one_bytes)] {
        for spot in &spots {
            spot.edit(|place| place[..bytes.len()].copy_from_slice(&bytes));
        }
    }

    let shelf = S::open(fixture);
    for swapped in [one, other] {
        assert_damaged_or_absent(&shelf.try_get(swapped));
        shelf.assert_lacks(swapped);
    }
    shelf.assert_holds(&scene.all);
    shelf.put(one);
    shelf.put(other);
    shelf.assert_holds(&scene.all.iter().copied().chain([one, other]).collect::<Vec<_>>());
}

pub(crate) fn find_passes_by_damage(fixture: &Fixture) {
    let scene = Scene::<Calls>::new(fixture);
    let Some(spots) = scene.spots() else { return };
    for spot in &spots {
        spot.edit(|bytes| bytes[0] ^= 1);
    }
    let store = fixture.open_calls();
    for (look, errors_allowed) in [("first", 1), ("second", 0)] {
        let (mut found, mut errors) = (0, 0);
        for item in store.find(&Query::new()).unwrap() {
            match item {
                Ok((key, record)) => {
                    let whole = scene.all.iter().any(|item| item.key() == key && item.record() == record);
                    assert!(whole && key != scene.victim.key(), "the {look} query returns a record that was never put");
                    found += 1;
                }
                Err(Error::Damaged { .. }) => errors += 1,
                Err(error) => panic!("damage must cause `Error::Damaged`, not: {error:?}"),
            }
        }
        if !loses_neighbours(fixture.backend.name, false) {
            assert_eq!(found, scene.all.len() - 1, "intact records that the {look} query returns");
        }
        assert!(errors <= errors_allowed, "{errors} errors in the {look} query");
    }
}

pub(crate) fn brief_notices_a_flipped_bit(fixture: &Fixture) {
    let scene = Scene::<Calls>::new(fixture);
    let Some(spots) = scene.spots() else { return };
    for spot in &spots {
        spot.edit(|bytes| bytes[0] ^= 1);
    }
    let store = fixture.open_calls();
    let key = scene.victim.key();
    assert_damaged_or_absent(&store.summary(&key).map(|found| found.is_some()));
    assert_eq!(store.summary(&key).unwrap(), None);
    assert!(!store.contains(&key).unwrap(), "`contains` finds a damaged record");
    store.put(&key, &scene.victim.record()).unwrap();
    assert_eq!(store.summary(&key).unwrap(), Some(RecordSummary::from(&scene.victim.record())));
}

pub(crate) fn later_format_stays(fixture: &Fixture) {
    let (item, other) = (Item::small(1), Item::small(2));
    {
        let shelf = Calls::open(fixture);
        shelf.put(item);
        shelf.put(other);
    }
    let ours = Calls::bytes(item);
    let theirs = of_the_next_format(item);
    let spots = fixture.disk().find(&ours);
    if nothing_found(fixture, &spots) {
        return;
    }
    for spot in &spots {
        spot.edit(|place| place[..theirs.len()].copy_from_slice(&theirs));
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
    assert!(!fixture.disk().find(&theirs).is_empty(), "a record of a later format was not left in place");
    assert!(fixture.open_calls().get(&item.key()).unwrap().is_none());
}

/// Encodes the item's record as a later version would: with another `format`, and the checksum of these bytes.
fn of_the_next_format(item: Item) -> Vec<u8> {
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
enum Harm {
    Entry,
    File,
}

/// A closed store with some entries, one of which is to be damaged.
struct Scene<'a, S> {
    fixture: &'a Fixture,
    victim: Item,
    all: Vec<Item>,
    shelf: std::marker::PhantomData<S>,
}

impl<'a, S: StoreKind> Scene<'a, S> {
    fn new(fixture: &'a Fixture) -> Self {
        let victim = Item::large(10);
        let all: Vec<_> = (0..5).map(Item::small).chain([Item::large(9), victim, Item::large(11)]).collect();
        let shelf = S::open(fixture);
        shelf.put_all(&all);
        Self { fixture, victim, all, shelf: std::marker::PhantomData }
    }

    /// Returns the positions of the victim's middle in files.
    ///
    /// Returns `None` if its bytes are in no file, after it has asserted that this is allowed.
    fn spots(&self) -> Option<Vec<Spot>> {
        let spots = self.find(self.victim);
        (!nothing_found(self.fixture, &spots)).then_some(spots)
    }

    fn find(&self, item: Item) -> Vec<Spot> {
        let bytes = S::bytes(item);
        let middle = bytes.len() / 2;
        self.fixture.disk().find(&bytes[middle..][..PROBE.min(bytes.len() - middle)])
    }

    /// Damages a store whose files contain entries in encoded form, and checks what it serves afterwards.
    fn after_unseen(&self, damage: impl FnOnce(&[Whole])) {
        if !encodes_bytes(self.fixture.backend.name) {
            return;
        }
        let files: Vec<_> = self.fixture.disk().larger_than(LARGE);
        assert!(!files.is_empty(), "the store has no file of more than {LARGE} bytes in its scratch directory");
        damage(&files);
        // The store may refuse to open a damaged file.
        let Ok(reopened) = S::try_open(&S::config_of(self.fixture)) else { return };
        for &item in &self.all {
            assert_damaged_or_absent_or_whole(&reopened, item);
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
    fn reopen(&self, damaged: &[Spot], harm: Harm) -> Option<(S, Vec<Item>)> {
        let others = self.all.iter().copied().filter(|item| *item != self.victim);
        let loses_neighbours = loses_neighbours(self.fixture.backend.name, harm == Harm::File);
        let stays = |&item: &Item| !loses_neighbours && !self.find(item).is_empty();
        let (untouched, lost): (Vec<_>, Vec<_>) = others.partition(stays);
        let shared = |file| self.all.iter().any(|&item| self.find(item).iter().any(|spot| spot.file == file));
        match S::try_open(&S::config_of(self.fixture)) {
            Ok(opened) => {
                for &item in &lost {
                    assert_damaged_or_absent_or_whole(&opened, item);
                }
                let lost_are_back: Vec<_> = lost.into_iter().filter(|&item| opened.get(item)).collect();
                Some((opened, [untouched, lost_are_back].concat()))
            }
            Err(error) => {
                assert!(damaged.iter().any(|spot| shared(spot.file.clone())), "the store does not open: {error}");
                None
            }
        }
    }
}

fn assert_damaged_or_absent_or_whole<S: StoreKind>(shelf: &S, item: Item) {
    let found = shelf.try_get(item);
    if !matches!(found, Ok(true)) {
        assert_damaged_or_absent(&found);
    }
}

/// Returns whether the bytes are in no file of the scratch directory.
///
/// In that case it asserts that the directory is empty, or else the case would pass without testing anything. The directory
/// must also be empty if the backend is not durable.
fn nothing_found(fixture: &Fixture, spots: &[Spot]) -> bool {
    if !fixture.backend.durable || spots.is_empty() && !encodes_bytes(fixture.backend.name) {
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
    spots.is_empty()
}
