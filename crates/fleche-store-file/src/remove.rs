//! Removing entries, with conditions that hold at the moment of removal.

use std::{
    fs,
    io::{self, ErrorKind},
    path::Path,
};

use fleche_core::{Digest, Error, Result};

use crate::{tree::Tree, unfinished::Unfinished};

impl Tree {
    /// Removes the entry. Whether there was one.
    pub(crate) fn remove(&self, digest: &Digest) -> Result<bool> {
        let path = self.path(digest);
        present(fs::remove_file(&path)).map_err(Error::io("remove", path))
    }

    /// Removes the entry if `condition` holds for its file. Whether it was removed.
    ///
    /// Looking at an entry and then removing it would lose what is put in between. So the entry is moved away first,
    /// looked at where nobody can change it any more, and put back if the condition does not hold. Since it is absent
    /// meanwhile, the condition is asked once before, too, and mostly settled there.
    pub(crate) fn remove_if(&self, digest: &Digest, condition: impl Fn(&Path) -> Result<bool>) -> Result<bool> {
        let path = self.path(digest);
        if !condition(&path)? {
            return Ok(false);
        }
        let trash = path.with_file_name(Unfinished::Removal.name());
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

/// Gives an entry that was moved away its name back, unless that has been taken since
/// (or somebody has removed it for good).
pub(crate) fn put_back(from: &Path, path: &Path) -> io::Result<()> {
    match fs::hard_link(from, path) {
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
        // Not every file system has links. Without them what is put between these two steps is lost: a miss, no more.
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
    use crate::{config::Durability, tree::Kind};

    #[test]
    fn an_entry_that_is_no_longer_meant_once_it_is_moved_is_put_back() {
        let root = tempfile::tempdir().unwrap();
        let tree = Tree::open(root.path(), Kind::Values, false).unwrap();
        let digest = Digest::of(b"a");
        tree.write(&digest, b"a", Durability::Auto, false).unwrap();
        let path = tree.path(&digest);
        assert!(!tree.remove_if(&digest, |looked_at| Ok(looked_at == path)).unwrap());
        assert_eq!(fs::read(&path).unwrap(), b"a");
        assert_eq!(fs::read_dir(path.parent().unwrap()).unwrap().count(), 1);
    }

    #[test]
    fn what_is_put_back_does_not_replace_what_was_put_since() {
        let root = tempfile::tempdir().unwrap();
        let [from, path] = ["from", "path"].map(|name| root.path().join(name));
        fs::write(&from, b"earlier").unwrap();
        fs::write(&path, b"later").unwrap();
        put_back(&from, &path).unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"later");
        assert!(!from.exists());
    }

    #[test]
    fn what_was_removed_for_good_is_not_put_back() {
        let root = tempfile::tempdir().unwrap();
        put_back(&root.path().join("from"), &root.path().join("path")).unwrap();
        assert_eq!(fs::read_dir(root.path()).unwrap().count(), 0);
    }
}
