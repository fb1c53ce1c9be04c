//! Cases with many threads. Every assertion holds for any order in which the threads run.

use std::{
    sync::Barrier,
    time::{Duration, Instant},
};

use super::values::{put, wait_for_age};
use crate::{
    capture::run_together,
    fixture::Fixture,
    store_kind::StoreKind,
    test_data::{Item, noise, record},
};

const THREADS: u64 = 8;

pub(crate) fn writers_of_one_entry<S: StoreKind>(fixture: &Fixture) {
    let store = S::open(fixture);
    let items: Vec<_> = (0..50).map(|nth| if nth % 2 == 0 { Item::small(nth) } else { Item::large(nth) }).collect();
    run_together(THREADS, |_| {
        for &item in &items {
            // `get` fails if it finds an incomplete entry of another thread.
            store.get(item);
            store.put(item);
            store.assert_has(item);
        }
    });
    store.assert_holds(&items);
}

pub(crate) fn writers_of_many_entries<S: StoreKind>(fixture: &Fixture) {
    let store = S::open(fixture);
    let items = |thread| (0..200).map(move |nth| Item::small(1000 * thread + nth));
    run_together(THREADS, |thread| {
        for item in items(thread) {
            store.put(item);
            store.assert_has(item);
            if item.nth % 2 == 0 {
                assert!(store.remove(item), "{} {} could not be removed", S::ENTRY, item.nth);
            }
        }
    });
    let left: Vec<_> = (0..THREADS).flat_map(items).filter(|item| item.nth % 2 == 1).collect();
    store.assert_holds(&left);
}

pub(crate) fn one_remover_wins<S: StoreKind>(fixture: &Fixture) {
    let store = S::open(fixture);
    let items: Vec<_> = (0..200).map(Item::small).collect();
    store.put_all(&items);
    let step = Barrier::new(8);
    let removed = run_together(THREADS, |_| {
        let remove = |&item: &Item| {
            step.wait();
            store.remove(item)
        };
        items.iter().map(remove).collect::<Vec<_>>()
    });
    for (nth, item) in items.iter().enumerate() {
        let winners = removed.iter().filter(|removed| removed[nth]).count();
        assert_eq!(winners, 1, "threads whose `remove` returned true for {} {}", S::ENTRY, item.nth);
    }
    store.assert_holds(&[]);
}

pub(crate) fn refreshed_entries_stay(fixture: &Fixture) {
    /// An age that exceeds the resolution of any clock, so that a new entry cannot appear to be that old.
    const OLD: Duration = Duration::from_millis(80);
    let store = fixture.open_values();
    for round in 0..4 {
        let values: Vec<_> = (0..100).map(|nth| noise(1000 * round + nth, 200)).collect();
        let ids: Vec<_> = values.iter().map(|value| put(&*store, value)).collect();
        for id in &ids {
            wait_for_age(&*store, id, OLD);
        }

        let step = Barrier::new(2);
        let times = run_together(2, |role| {
            let act = |(value, id): (&Vec<u8>, _)| {
                step.wait();
                let begun = Instant::now();
                if role == 0 {
                    put(&*store, value);
                } else {
                    store.remove(id, Some(OLD)).unwrap();
                }
                (begun, Instant::now())
            };
            values.iter().zip(&ids).map(act).collect::<Vec<_>>()
        });
        for ((id, put), removed) in ids.iter().zip(&times[0]).zip(&times[1]) {
            // If the machine stalled for so long that the entry became old again, the check proves nothing.
            let in_time = removed.1.saturating_duration_since(put.0) < OLD / 2;
            let kept = store.contains(id).unwrap();
            assert!(kept || !in_time, "{id} was put again, and removed for its earlier age");
        }
    }
}

pub(crate) fn overwriting_is_atomic(fixture: &Fixture) {
    let store = fixture.open_calls();
    let key = Item::small(1).key();
    // The lengths differ widely, so that a mixture of two records is noticed.
    let version = |(nth, len)| record("conformance::function", 1, &noise(nth, len));
    let versions: Vec<_> = (0..THREADS).zip([10, 2000, 4000, 6000].into_iter().cycle()).map(version).collect();
    store.put(&key, &versions[0]).unwrap();
    run_together(THREADS, |thread| {
        let own = versions[usize::try_from(thread).unwrap()].clone();
        for _ in 0..100 {
            store.put(&key, &own).unwrap();
            let found = store.get(&key).unwrap().expect("an overwritten record must never be absent");
            assert!(versions.contains(&found), "`get` returns a record that was never put: {found:?}");
        }
    });
    assert_eq!(store.keys(&key.into()).unwrap().count(), 1);
    store.put(&key, &versions[3]).unwrap();
    assert!(store.get(&key).unwrap().as_ref() == Some(&versions[3]), "the record of the last writer was not stored");
}

pub(crate) fn compare_and_remove_is_atomic(fixture: &Fixture) {
    let store = fixture.open_calls();
    let items: Vec<_> = (0..400).map(Item::small).collect();
    let earlier = |item: &Item| record("conformance::function", item.nth, b"earlier");
    for item in &items {
        store.put(&item.key(), &earlier(item)).unwrap();
    }
    let step = Barrier::new(2);
    run_together(2, |role| {
        for item in &items {
            let (key, earlier, later) = (item.key(), earlier(item), item.record());
            step.wait();
            if role == 0 {
                store.put(&key, &later).unwrap();
            } else {
                store.remove(&key, Some(&earlier)).unwrap();
            }
        }
    });
    for item in &items {
        // In either order, the later record must not be removed.
        let found = store.get(&item.key()).unwrap();
        assert!(found == Some(item.record()), "record {} was put, but removed in place of the earlier one", item.nth);
    }
}
