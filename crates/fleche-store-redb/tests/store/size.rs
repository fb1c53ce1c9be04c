//! The size of the file.

use std::fs;

use super::common::{file, noise, put};
use fleche_core::{Digest, DigestPrefix, ValueStore};
use fleche_store_redb::{Durability, RedbValues, RedbValuesConfig};

/// Puts and removes many times what is there at any time, beside iterators that stay open.
fn load(values: &RedbValues, live: usize, rounds: u64) -> u64 {
    let mut kept: Vec<Digest> = Vec::new();
    let mut open = Vec::new();
    for number in 0..rounds {
        kept.push(put(values, &noise(number, 1000)));
        if kept.len() > live {
            let removed = kept.swap_remove(usize::try_from(number * 7919).unwrap() % live);
            assert!(values.remove(&removed, None).unwrap());
        }
        if number % 500 == 0 {
            let mut ids = values.ids(&DigestPrefix::all()).unwrap();
            ids.next();
            open.push(ids);
        }
        for ids in &mut open {
            ids.next();
        }
        if number % 10 == 0 {
            assert!(values.get(&kept[0]).unwrap().is_some());
        }
    }
    1000 * kept.len() as u64
}

fn check(durability: Durability) {
    let (_directory, path) = file();
    let values = RedbValues::open_with(&RedbValuesConfig::new(&path).durability(durability)).unwrap();
    let live = load(&values, 3000, 4500);
    let size = fs::metadata(&path).unwrap().len();
    assert!(size < 4 * live, "{durability:?}: {size} bytes for {live}");
    println!("{durability:?}: {size} bytes for {live}");
}

#[test]
fn the_file_stays_below_four_times_its_live_data_under_a_mixed_load() {
    check(Durability::Eventual);
}

#[test]
fn the_file_stays_below_four_times_its_live_data_also_where_nobody_asks_for_durability() {
    check(Durability::None);
}
