//! Files that change through a shared mapping, as memory-mapped arrays and databases change them.
#![expect(unsafe_code)]

use std::{
    fs::{self, File},
    os::unix::fs::MetadataExt,
    path::Path,
    thread,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use fleche_core::{Cache, FileContent, fleche};
use fleche_store_file::{FileCalls, FileValues};
use memmap2::MmapMut;

/// More than is read each time.
const LENGTH: usize = 1 << 20;

#[fleche]
fn first(file: &FileContent) -> u8 {
    fs::read(file).unwrap()[0]
}

#[fleche]
fn length(file: &FileContent) -> u64 {
    fs::metadata(file).unwrap().len()
}

/// Creates a file of `A`s and maps it, with a page that was stored to.
fn mapped(path: &Path) -> MmapMut {
    fs::write(path, vec![b'A'; LENGTH]).unwrap();
    let file = File::options().read(true).write(true).open(path).unwrap();
    // SAFETY: nothing truncates the file while the mapping lives.
    let mut map = unsafe { MmapMut::map_mut(&file) }.unwrap();
    map[0] = b'A';
    map
}

/// Waits until a change of the file would give it other times.
fn settle(path: &Path) {
    let changed = UNIX_EPOCH + Duration::from_secs(fs::metadata(path).unwrap().ctime().try_into().unwrap());
    while SystemTime::now() < changed + Duration::from_secs(4) {
        thread::park_timeout(Duration::from_millis(50));
    }
}

#[test]
fn each_call_sees_what_a_shared_mapping_has_stored() {
    let mut directories = vec![tempfile::tempdir().unwrap()];
    directories.extend(tempfile::tempdir_in("/dev/shm").ok());
    let files: Vec<_> = directories.iter().map(|directory| directory.path().join("data.bin")).collect();
    let mut maps: Vec<_> = files.iter().map(|file| mapped(file)).collect();
    let store = tempfile::tempdir().unwrap();
    let [values, calls] = ["values", "calls"].map(|name| store.path().join(name));
    let cache = Cache::new(FileValues::open(values).unwrap(), FileCalls::open(calls).unwrap());
    let _active = cache.enter();
    for file in &files {
        settle(file);
    }
    for (file, map) in files.iter().zip(&mut maps) {
        // The digest of this content may be remembered from here on.
        assert_eq!(length(&FileContent::new(file)), LENGTH as u64);
        for now in *b"BCB" {
            map[0] = now;
            assert_eq!(first(&FileContent::new(file)), now, "{}", file.display());
        }
    }
    // Nothing was recorded under the key of another content.
    for holds in *b"ABC" {
        let honest = store.path().join(format!("honest-{holds}"));
        let mut content = vec![b'A'; LENGTH];
        content[0] = holds;
        fs::write(&honest, content).unwrap();
        assert_eq!(first(&FileContent::new(&honest)), holds);
    }
}
