//! Paths under which file contents were seen, here and in the arguments of calls sent to other processes.
//!
//! A decoded `FileContent` has a digest but needs a path.

use std::{
    cell::RefCell,
    path::{Path, PathBuf},
    sync::{LazyLock, Mutex},
};

use super::file_digests::{RecentMap, digest_of};
use crate::{
    digest::Digest,
    runtime::{fork, lock::LockResultExt},
};

/// A file and the digest of its content.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KnownFile {
    /// The digest of the content.
    pub digest: Digest,
    /// The absolute path of the file.
    pub path: PathBuf,
}

impl KnownFile {
    /// Lets this process look for the content at this path. The file is read and verified when an argument is decoded.
    pub fn introduce(self) {
        add(self.digest, self.path);
    }
}

/// The number of contents that one generation of the table holds.
const CONTENTS_PER_GENERATION: usize = 16 << 10;

/// The number of paths that are remembered for one content.
const PATHS_PER_CONTENT: usize = 4;

/// The last paths of each content, the latest one last.
static KNOWN_PATHS: LazyLock<Mutex<RecentMap<Digest, Vec<PathBuf>>>> =
    LazyLock::new(|| Mutex::new(RecentMap::new(CONTENTS_PER_GENERATION)));

thread_local! {
    /// The files of the call whose arguments this thread decodes.
    static EXPECTED: RefCell<Vec<KnownFile>> = const { RefCell::new(Vec::new()) };
    /// The files that were encoded since [`record_files`] began; `None` outside of it.
    static RECORDED: RefCell<Option<Vec<KnownFile>>> = const { RefCell::new(None) };
}

/// Runs the closure, which decodes arguments. These files are found even if the table has forgotten them.
pub(crate) fn expecting_files<R>(files: &[KnownFile], decode: impl FnOnce() -> R) -> R {
    struct Restored(usize);
    impl Drop for Restored {
        fn drop(&mut self) {
            let _ = EXPECTED.try_with(|expected| expected.borrow_mut().truncate(self.0));
        }
    }
    if files.is_empty() {
        return decode();
    }
    let _restored = EXPECTED.with_borrow_mut(|expected| {
        let before = expected.len();
        expected.extend_from_slice(files);
        Restored(before)
    });
    decode()
}

/// Records that the file holds this content.
pub(super) fn add(digest: Digest, path: PathBuf) {
    // Another thread of the parent may have held the lock when this process was forked.
    if fork::is_child() {
        return;
    }
    let mut known = KNOWN_PATHS.lock().ignore_poison();
    match known.get(&digest) {
        Some(paths) => {
            paths.retain(|other| *other != path);
            if paths.len() >= PATHS_PER_CONTENT {
                paths.remove(0);
            }
            paths.push(path);
        }
        None => known.insert(digest, vec![path]),
    }
}

/// Returns the path of a file that now holds this content.
///
/// # Errors
/// Fails with a reason that says what to check, if no known file holds it.
pub(super) fn path_of(digest: &Digest) -> Result<PathBuf, String> {
    let mut paths = known_paths(digest);
    paths.reverse();
    let Some(latest) = paths.first().cloned() else {
        return Err(format!("this process knows of no file whose content has the digest {digest}"));
    };
    let holds = |path: &PathBuf| digest_of(path).is_ok_and(|found| found == *digest);
    paths.into_iter().find(holds).ok_or_else(|| {
        let why = match digest_of(&latest) {
            Ok(_) => "has changed since the call was made".to_owned(),
            Err(error) => format!("cannot be read: {error}"),
        };
        format!("the file {} {why}; its content had the digest {digest}", latest.display())
    })
}

/// Returns the paths under which the content was seen, the likeliest last.
fn known_paths(digest: &Digest) -> Vec<PathBuf> {
    let mut paths = if fork::is_child() {
        Vec::new()
    } else {
        KNOWN_PATHS.lock().ignore_poison().get(digest).cloned().unwrap_or_default()
    };
    let _ = EXPECTED.try_with(|expected| {
        let expected = expected.borrow();
        paths.extend(expected.iter().filter(|file| file.digest == *digest).map(|file| file.path.clone()));
    });
    paths
}

/// Runs the closure, which encodes arguments, and also returns the files among them.
pub(crate) fn record_files<R>(encode: impl FnOnce() -> R) -> (R, Vec<KnownFile>) {
    struct Restored(Option<Vec<KnownFile>>);
    impl Drop for Restored {
        fn drop(&mut self) {
            RECORDED.set(self.0.take());
        }
    }
    let _restored = Restored(RECORDED.replace(Some(Vec::new())));
    let encoded = encode();
    (encoded, RECORDED.take().unwrap_or_default())
}

/// Records a file that is being encoded, for [`record_files`].
pub(super) fn record(digest: &Digest, path: &Path) {
    let push = |recorded: &mut Vec<KnownFile>| recorded.push(KnownFile { digest: *digest, path: path.to_owned() });
    let _ = RECORDED.try_with(|recorded| recorded.borrow_mut().as_mut().map(push));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_latest_paths_of_a_content_are_kept() {
        let digest = Digest::hash(b"seen in many places");
        for number in 0..1000 {
            add(digest, format!("/{number}").into());
        }
        add(digest, "/998".into());
        let latest = ["/996", "/997", "/999", "/998"].map(PathBuf::from);
        assert_eq!(known_paths(&digest), latest);
    }

    #[test]
    fn expected_file_is_found_without_an_entry_in_the_table() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("a");
        std::fs::write(&path, "expected once").unwrap();
        let file = KnownFile { digest: Digest::hash(b"expected once"), path };
        assert_eq!(expecting_files(std::slice::from_ref(&file), || path_of(&file.digest)), Ok(file.path));
        assert!(path_of(&file.digest).unwrap_err().contains("knows of no file"));
    }
}
