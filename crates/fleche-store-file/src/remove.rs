//! Removal of entries, with conditions that are evaluated atomically.

use std::{
    fs,
    io::{self, ErrorKind},
    path::Path,
};

use fleche_core::{Digest, Error, Result};

use crate::{directory::Directory, temp_files::TempFile};

impl Directory {
    /// Removes the entry. Returns whether there was one.
    pub(crate) fn remove(&self, digest: &Digest) -> Result<bool> {
        let path = self.path(digest);
        present(fs::remove_file(&path)).map_err(Error::io("remove", path))
    }

    /// Removes the entry if `condition` holds for its file. Returns whether it was removed.
    ///
    /// Checking an entry and then removing it would lose an entry that is put between the two steps. So the entry is
    /// first renamed, then checked where no other process can change it, and put back if the condition does not hold.
    /// Readers miss the entry while it is renamed, so the condition is also evaluated once before, which usually
    /// settles the matter.
    pub(crate) fn remove_if(&self, digest: &Digest, condition: impl Fn(&Path) -> Result<bool>) -> Result<bool> {
        let path = self.path(digest);
        if !condition(&path)? {
            return Ok(false);
        }
        let trash = path.with_file_name(TempFile::Removal.name());
        if !present(fs::rename(&path, &trash)).map_err(Error::io("remove", &path))? {
            return Ok(false);
        }
        match condition(&trash) {
            Ok(true) => fs::remove_file(&trash).map(|()| true).map_err(Error::io("remove", trash)),
            other => {
                put_back(&trash, &path).map_err(Error::io("put back", path))?;
                other
            }
        }
    }
}

/// Gives a renamed entry its name back, unless a newer entry has that name or the renamed entry has been removed since.
pub(crate) fn put_back(from: &Path, path: &Path) -> io::Result<()> {
    match fs::hard_link(from, path) {
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
        // Not every file system has hard links. Without them, an entry that is put between these two steps is lost,
        // which is only a miss.
        Err(_) if path.symlink_metadata().is_err() => fs::rename(from, path),
        Ok(()) | Err(_) => fs::remove_file(from),
    }
}

fn present(done: io::Result<()>) -> io::Result<bool> {
    match done {
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(false),
        done => done.map(|()| true),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{config::Durability, directory::Kind};

    #[test]
    fn entry_is_put_back_if_condition_fails_after_renaming() {
        let root = tempfile::tempdir().unwrap();
        let tree = Directory::open(root.path(), Kind::Values, false).unwrap();
        let digest = Digest::of(b"a");
        tree.write(&digest, b"a", Durability::Auto, false).unwrap();
        let path = tree.path(&digest);
        assert!(!tree.remove_if(&digest, |looked_at| Ok(looked_at == path)).unwrap());
        assert_eq!(fs::read(&path).unwrap(), b"a");
        assert_eq!(fs::read_dir(path.parent().unwrap()).unwrap().count(), 1);
    }

    #[test]
    fn put_back_does_not_replace_newer_entry() {
        let root = tempfile::tempdir().unwrap();
        let [from, path] = ["from", "path"].map(|name| root.path().join(name));
        fs::write(&from, b"earlier").unwrap();
        fs::write(&path, b"later").unwrap();
        put_back(&from, &path).unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"later");
        assert!(!from.exists());
    }

    #[test]
    fn put_back_ignores_removed_entry() {
        let root = tempfile::tempdir().unwrap();
        put_back(&root.path().join("from"), &root.path().join("path")).unwrap();
        assert_eq!(fs::read_dir(root.path()).unwrap().count(), 0);
    }
}
