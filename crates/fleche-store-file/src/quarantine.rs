//! Quarantine: damaged entries are moved to `damaged/`, where users can inspect them and no lookup finds them.

use std::{
    fs,
    io::{self, ErrorKind},
    path::{Path, PathBuf},
    process,
};

use fleche_core::{
    Digest, Result,
    spi::process_id::{next_number, this_run},
};

use crate::{
    directory::Directory,
    error::damaged,
    read::{Rechecked, read_file},
    write::put_back,
};

impl Directory {
    /// Moves the entry, which is damaged because of `reason`, to `damaged/`, checks it again there, and puts it back if
    /// it is intact.
    ///
    /// # Errors
    /// Fails with [`Error::Damaged`](fleche_core::Error::Damaged) if the entry is damaged, whether or not it could be
    /// moved.
    pub(crate) fn quarantine<T>(
        &self,
        digest: &Digest,
        path: &Path,
        reason: &str,
        verify: impl Fn(Vec<u8>) -> Result<T, String>,
    ) -> Result<Rechecked<T>> {
        let quarantined = self.quarantine_path(digest);
        match move_creating_directory(path, &quarantined) {
            Ok(()) => {}
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Rechecked::Gone),
            Err(error) => {
                let fate =
                    format!("it stays in place, since it cannot be moved to `{}`: {error}", quarantined.display());
                return Err(damaged(path, reason, &fate));
            }
        }
        let (reason, content) = match read_file(&quarantined, self.max_len()).map(|bytes| bytes.map(verify)) {
            Ok(Some(Ok(content))) => (reason.to_owned(), Some(content)),
            Ok(Some(Err(reason))) => (reason, None),
            Ok(None) | Err(_) => (reason.to_owned(), None),
        };
        if let Some(content) = content {
            // An intact entry is returned even if it cannot be put back. Other processes miss it then.
            let _ = put_back(&quarantined, path);
            return Ok(Rechecked::Intact(content));
        }
        Err(damaged(path, &reason, &format!("it was moved to `{}`", quarantined.display())))
    }

    fn quarantine_path(&self, digest: &Digest) -> PathBuf {
        let unique = format!("{digest}.{}-{:016x}-{}", process::id(), this_run(), next_number());
        self.root.join("damaged").join(unique)
    }
}

fn move_creating_directory(path: &Path, quarantined: &Path) -> io::Result<()> {
    match fs::rename(path, quarantined) {
        // Either the entry or the directory is missing.
        Err(error) if error.kind() == ErrorKind::NotFound => {
            fs::create_dir_all(quarantined.parent().unwrap_or(quarantined))?;
            fs::rename(path, quarantined)
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
        let directory = Directory::open(root.path(), Kind::Values, false).unwrap();
        let digest = Digest::hash(b"good");
        let path = directory.path(&digest);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, b"good").unwrap();
        let rechecked = directory.quarantine(&digest, &path, "it was damaged", Ok).unwrap();
        assert!(matches!(rechecked, Rechecked::Intact(bytes) if bytes == b"good"));
        assert_eq!(fs::read(&path).unwrap(), b"good");
        assert_eq!(fs::read_dir(root.path().join("damaged")).unwrap().count(), 0);
    }

    #[test]
    fn entry_moved_by_another_process_is_gone() {
        let root = tempfile::tempdir().unwrap();
        let directory = Directory::open(root.path(), Kind::Values, false).unwrap();
        let digest = Digest::hash(b"");
        let rechecked = directory.quarantine(&digest, &directory.path(&digest), "it was damaged", Ok).unwrap();
        assert!(matches!(rechecked, Rechecked::Gone));
    }
}
