//! Cases of damaged records: queries, record summaries, and records of a later format.

use fleche_core::{Error, Query, call::RecordSummary, encoding};

use super::{Scene, nothing_found};
use crate::{
    admitted::loses_neighbours,
    fixture::Fixture,
    item::Item,
    shelf::{Calls, StoreKind as _, assert_damaged_or_absent},
};

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
