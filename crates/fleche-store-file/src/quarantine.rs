//! Quarantine: damaged entries are moved to `damaged/`, where users can inspect them and no lookup finds them.

use std::{
    fs,
    io::{self, ErrorKind},
    path::{Path, PathBuf},
    process,
};

use fleche_core::{
    Digest, Result,
    owner::{next_number, this_run},
};

use crate::{directory::Directory, error::damaged, read::read_file, remove::put_back};

/// The result of checking a seemingly damaged entry again.
pub(crate) enum Found<T> {
    /// An intact entry, which another process had put in place of the damaged one.
    Whole(T),
    /// No entry: another process has quarantined or removed it.
    Gone,
}

impl Directory {
    /// Moves the entry, which is damaged because of `why`, to `damaged/`, checks it again there, and puts it back if it
    /// is intact.
    ///
    /// # Errors
    /// Fails with [`Error::Damaged`](fleche_core::Error::Damaged) if the entry is damaged, whether or not it could be
    /// moved.
    pub(crate) fn quarantine<T>(
        &self,
        digest: &Digest,
        path: &Path,
        why: &str,
        verify: impl Fn(Vec<u8>) -> Result<T, String>,
    ) -> Result<Found<T>> {
        let aside = self.aside(digest);
        match move_to(path, &aside) {
            Ok(()) => {}
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Found::Gone),
            Err(error) => {
                let fate = format!("it stays in place, since it cannot be moved to `{}`: {error}", aside.display());
                return Err(damaged(path, why, &fate));
            }
        }
        let (why, content) = match read_file(&aside, self.longest()).map(|bytes| bytes.map(verify)) {
            Ok(Some(Ok(content))) => (why.to_owned(), Some(content)),
            Ok(Some(Err(why))) => (why, None),
            Ok(None) | Err(_) => (why.to_owned(), None),
        };
        if let Some(content) = content {
            // An intact entry is returned even if it cannot be put back. Other processes miss it then.
            let _ = put_back(&aside, path);
            return Ok(Found::Whole(content));
        }
        Err(damaged(path, &why, &format!("it was moved to `{}`", aside.display())))
    }

    fn aside(&self, digest: &Digest) -> PathBuf {
        let unique = format!("{digest}.{}-{:016x}-{}", process::id(), this_run(), next_number());
        self.root.join("damaged").join(unique)
    }
}

fn move_to(path: &Path, aside: &Path) -> io::Result<()> {
    match fs::rename(path, aside) {
        // Either the entry or the directory is missing.
        Err(error) if error.kind() == ErrorKind::NotFound => {
            fs::create_dir_all(aside.parent().unwrap_or(aside))?;
            fs::rename(path, aside)
        }
        moved => moved,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::directory::Kind;

    #[test]
    fn entry_replaced_before_quarantine_is_returned_and_put_back() {
        let root = tempfile::tempdir().unwrap();
        let tree = Directory::open(root.path(), Kind::Values, false).unwrap();
        let digest = Digest::of(b"good");
        let path = tree.path(&digest);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, b"good").unwrap();
        let found = tree.quarantine(&digest, &path, "it was damaged", Ok).unwrap();
        assert!(matches!(found, Found::Whole(bytes) if bytes == b"good"));
        assert_eq!(fs::read(&path).unwrap(), b"good");
        assert_eq!(fs::read_dir(root.path().join("damaged")).unwrap().count(), 0);
    }

    #[test]
    fn entry_moved_by_another_process_is_gone() {
        let root = tempfile::tempdir().unwrap();
        let tree = Directory::open(root.path(), Kind::Values, false).unwrap();
        let digest = Digest::of(b"");
        let found = tree.quarantine(&digest, &tree.path(&digest), "it was damaged", Ok).unwrap();
        assert!(matches!(found, Found::Gone));
    }
}
