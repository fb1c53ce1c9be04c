//! Tests of the size of the file.

use std::{fs, path::Path};

use super::common::{file, noise, put};
use fleche_core::{Digest, DigestPrefix, ValueStore};
use fleche_store_redb::{Durability, RedbValues, RedbValuesConfig};

const VALUE: usize = 1000;

/// Returns the file's size on the disk. redb sometimes doubles its length, but parts that were never written take no
/// space.
fn taken(path: &Path) -> u64 {
    let metadata = fs::metadata(path).unwrap();
    #[cfg(unix)]
    return std::os::unix::fs::MetadataExt::blocks(&metadata) * 512;
    #[cfg(not(unix))]
    metadata.len()
}

/// Puts `live` values and then, with this durability, removes one value for each new one, while there are readers and
/// open iterators. Returns the file's maximum size on the disk and its maximum length after the fill, as multiples of
/// the values' size.
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
    println!(
        "{durability:?}, {live} values: {:.2} times their size on the disk, {:.2} times in length",
        times(most),
        times(longest)
    );
    (times(most), times(longest))
}

#[test]
fn one_megabyte_takes_at_most_four_under_mixed_load() {
    assert!(mixed(1000, 1500, Durability::Eventual).0 < 4.0);
}

#[test]
fn one_megabyte_takes_at_most_four_without_durability() {
    assert!(mixed(1000, 1500, Durability::None).0 < 4.0);
}

#[test]
fn one_megabyte_takes_at_most_four_with_immediate_durability() {
    assert!(mixed(1000, 300, Durability::Immediate).0 < 4.0);
}

#[test]
fn file_of_three_megabytes_is_at_most_four_times_as_long_as_its_data() {
    let (taken, length) = mixed(3000, 1500, Durability::Eventual);
    assert!(taken < 4.0 && length < 4.0, "{taken} {length}");
}
