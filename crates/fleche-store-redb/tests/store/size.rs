//! The size of the file.

use std::{fs, path::Path};

use super::common::{file, noise, put};
use fleche_core::{Digest, DigestPrefix, ValueStore};
use fleche_store_redb::{Durability, RedbValues, RedbValuesConfig};

const VALUE: usize = 1000;

/// What the file takes on the disk. redb doubles its length now and then; what was never written takes nothing.
fn taken(path: &Path) -> u64 {
    let metadata = fs::metadata(path).unwrap();
    #[cfg(unix)]
    return std::os::unix::fs::MetadataExt::blocks(&metadata) * 512;
    #[cfg(not(unix))]
    metadata.len()
}

/// Puts so many values, and then, with this durability, removes one for each that it puts, beside readers, and iterators that
/// stay open. The most that the file took after that began, as a multiple of the values' bytes, and its length, likewise.
fn mixed(live: usize, rounds: u64, durability: Durability) -> (f64, f64) {
    let (_directory, path) = file();
    let filling = RedbValues::open_with(&RedbValuesConfig::new(&path).durability(Durability::None)).unwrap();
    let mut kept: Vec<Digest> = (0..live as u64).map(|number| put(&filling, &noise(number, VALUE))).collect();
    let values = RedbValues::open_with(&RedbValuesConfig::new(&path).durability(durability)).unwrap();
    let mut open = Vec::new();
    let (mut most, mut longest) = (0, 0);
    for number in 0..rounds {
        kept.push(put(&values, &noise(live as u64 + number, VALUE)));
        let removed = kept.swap_remove(usize::try_from(number * 7919).unwrap() % live);
        assert!(values.remove(&removed, None).unwrap());
        if number % 200 == 0 {
            open.push(values.ids(&DigestPrefix::all()).unwrap());
        }
        for ids in &mut open {
            ids.next();
        }
        if number % 10 == 0 {
            assert!(values.get(&kept[0]).unwrap().is_some());
            most = most.max(taken(&path));
            longest = longest.max(fs::metadata(&path).unwrap().len());
        }
    }
    #[allow(clippy::cast_precision_loss)] // Some megabytes.
    let times = |bytes: u64| bytes as f64 / (live * VALUE) as f64;
    println!("{durability:?}, {live} values: {:.2} times on the disk, {:.2} long", times(most), times(longest));
    (times(most), times(longest))
}

#[test]
fn a_megabyte_takes_no_more_than_four_under_a_mixed_load() {
    assert!(mixed(1000, 1500, Durability::Eventual).0 < 4.0);
}

#[test]
fn a_megabyte_takes_no_more_than_four_where_nobody_asks_for_durability() {
    assert!(mixed(1000, 1500, Durability::None).0 < 4.0);
}

#[test]
fn a_megabyte_takes_no_more_than_four_where_each_change_is_durable() {
    assert!(mixed(1000, 300, Durability::Immediate).0 < 4.0);
}

#[test]
fn from_three_megabytes_on_the_file_is_not_longer_than_four_times_its_live_data() {
    let (taken, length) = mixed(3000, 1500, Durability::Eventual);
    assert!(taken < 4.0 && length < 4.0, "{taken} {length}");
}
