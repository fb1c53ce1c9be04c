//! Tests of files as arguments, whose content is part of the key.

use std::fs;

use fleche_core::{FileContent, SkipReason, fleche};

use crate::support::{Runs, memory};

#[test]
fn file_argument_is_keyed_by_content_and_not_by_name() {
    static RUNS: Runs = Runs::new();
    #[fleche]
    fn size(file: &FileContent) -> u64 {
        RUNS.count();
        fs::metadata(file).unwrap().len()
    }
    let directory = tempfile::tempdir().unwrap();
    let (one, other) = (directory.path().join("one"), directory.path().join("other"));
    fs::write(&one, "abc").unwrap();
    fs::write(&other, "abc").unwrap();
    let cache = memory();
    let _active = cache.enter();
    assert_eq!((size(&FileContent::new(&one)), size(&FileContent::new(&other))), (3, 3));
    assert_eq!(RUNS.take(), 1);
    fs::write(&one, "abd").unwrap();
    assert_eq!(size(&FileContent::new(&one)), 3);
    assert_eq!(RUNS.take(), 1);
    assert!(cache.stats().skipped.is_empty());
}

#[test]
fn bound_call_reads_a_file_with_the_bound_content() {
    #[fleche]
    fn text(file: &FileContent) -> String {
        fs::read_to_string(file).unwrap()
    }
    let directory = tempfile::tempdir().unwrap();
    let (one, twin) = (directory.path().join("one"), directory.path().join("twin"));
    fs::write(&one, "the same").unwrap();
    fs::write(&twin, "the same").unwrap();
    let cache = memory();
    let call = cache.scope(|| text::bind(&FileContent::new(&one)));
    FileContent::new(&twin).digest().unwrap();
    fs::write(&twin, "something else").unwrap();
    assert_eq!(call.call().unwrap(), "the same");
    assert!(cache.contains(&call.key().unwrap()).unwrap());
}

#[test]
fn directory_has_no_file_content() {
    let directory = tempfile::tempdir().unwrap();
    let error = FileContent::new(directory.path()).digest().unwrap_err().report().to_string();
    assert!(error.contains("not a regular file"), "{error}");
}

#[test]
fn call_with_a_missing_file_runs_uncached() {
    #[fleche]
    fn present(file: FileContent) -> bool {
        file.exists()
    }
    let cache = memory();
    let _active = cache.enter();
    assert!(!present(FileContent::new("no/such/file")));
    assert_eq!(cache.stats().skipped[&SkipReason::ArgumentNotEncodable], 1);
}

#[test]
fn bound_call_finds_its_file() {
    #[fleche]
    fn content(file: &FileContent) -> String {
        fs::read_to_string(file).unwrap()
    }
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("bound");
    fs::write(&path, "what is in it").unwrap();
    let call = memory().scope(|| content::bind(&FileContent::new(&path)));
    assert_eq!(call.call().unwrap(), "what is in it");
}

/// Files that change through a shared mapping, as memory-mapped arrays and databases do.
#[cfg(target_os = "linux")]
#[expect(unsafe_code)]
mod shared_mapping {
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

    /// The length of a file that one read does not return as a whole.
    const LENGTH: usize = 1 << 20;

    #[fleche]
    fn first(file: &FileContent) -> u8 {
        fs::read(file).unwrap()[0]
    }

    #[fleche]
    fn length(file: &FileContent) -> u64 {
        fs::metadata(file).unwrap().len()
    }

    /// Creates a file of `A`s and maps it, with a page that has been written.
    fn mapped(path: &Path) -> MmapMut {
        fs::write(path, vec![b'A'; LENGTH]).unwrap();
        let file = File::options().read(true).write(true).open(path).unwrap();
        // SAFETY: the file is not truncated while the mapping exists.
        let mut map = unsafe { MmapMut::map_mut(&file) }.unwrap();
        map[0] = b'A';
        map
    }

    /// Waits until any further change would give the file new timestamps.
    fn settle(path: &Path) {
        let changed = UNIX_EPOCH + Duration::from_secs(fs::metadata(path).unwrap().ctime().try_into().unwrap());
        while SystemTime::now() < changed + Duration::from_secs(4) {
            thread::park_timeout(Duration::from_millis(50));
        }
    }

    #[test]
    fn call_sees_changes_through_a_shared_mapping() {
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
            // From now on, the digest of this content may be cached.
            assert_eq!(length(&FileContent::new(file)), LENGTH as u64);
            for now in *b"BCB" {
                map[0] = now;
                assert_eq!(first(&FileContent::new(file)), now, "{}", file.display());
            }
        }
        // No result may be recorded under the key of another content.
        for holds in *b"ABC" {
            let honest = store.path().join(format!("honest-{holds}"));
            let mut content = vec![b'A'; LENGTH];
            content[0] = holds;
            fs::write(&honest, content).unwrap();
            assert_eq!(first(&FileContent::new(&honest)), holds);
        }
    }
}
