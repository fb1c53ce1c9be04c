//! Tests of cache maintenance: collecting, verifying and transferring entries.
#![allow(missing_docs)]

#[path = "upkeep/collect.rs"]
mod collect;
#[path = "engine/support.rs"]
#[allow(dead_code)] // The module is shared with the engine tests.
mod support;
#[path = "upkeep/transfer.rs"]
mod transfer;
#[path = "upkeep/verify.rs"]
mod verify;

use std::{
    fs::File,
    path::{Path, PathBuf},
    time::{Duration, SystemTime},
};

use fleche_core::{Cache, Digest, cache::HotTier, fleche};
use fleche_store_file::{FileCalls, FileValues};

/// A function whose result and one argument are too long to be stored in the record.
#[fleche]
fn long(x: u64, filling: String) -> Vec<u64> {
    assert!(filling.len() > 100);
    (0..100).map(|y| x + y).collect()
}

fn filling() -> String {
    "f".repeat(101)
}

/// Opens a cache that reads every hit from the disk.
fn in_files(directory: &Path) -> Cache {
    let open = |name| directory.join(name);
    let cache = Cache::new(FileValues::open(open("values")).unwrap(), FileCalls::open(open("calls")).unwrap());
    cache.hot_tier(HotTier::OFF)
}

/// Returns the file of an entry in this directory of entries.
fn file_of(directory: &Path, id: &Digest) -> PathBuf {
    let name = id.to_string();
    directory.join(&name[..2]).join(&name[2..])
}

/// Changes the time of the value's last put to two hours ago.
fn make_old(directory: &Path, id: &Digest) {
    let file = File::options().write(true).open(file_of(&directory.join("values"), id)).unwrap();
    file.set_modified(SystemTime::now() - Duration::from_hours(2)).unwrap();
}

/// Returns the id of the call's result.
fn result_of(cache: &Cache, x: u64) -> Digest {
    let record = cache.record(&long::key(x, filling())).unwrap().expect("the call has no record");
    *record.result.stored().expect("the result is stored inline")
}
