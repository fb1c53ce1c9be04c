//! The files beside a database: their names, and making names durable.

use std::{
    fs::File,
    io,
    path::{Path, PathBuf},
};

/// Returns the path with this suffix appended to its last part: `x.db` and `.lock` give `x.db.lock`.
pub fn beside(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    name.into()
}

/// Returns the first free path for a copy of a damaged file: `x.db.damaged-1` to `x.db.damaged-4`. `is_taken` returns
/// whether there is something at a path.
///
/// # Errors
/// Fails if all of these are taken. If files keep being damaged, the user has to check the disk.
pub fn free_numbered(path: &Path, is_taken: impl Fn(&Path) -> bool) -> io::Result<PathBuf> {
    const MAX_KEPT: usize = 4;
    let kept = |number| beside(path, &format!(".damaged-{number}"));
    (1..=MAX_KEPT).map(kept).find(|path| !is_taken(path)).ok_or_else(|| {
        io::Error::other(format!(
            "{MAX_KEPT} damaged files are kept already, the first as `{}`: check the disk, and remove them",
            kept(1).display()
        ))
    })
}

/// Makes the names in the directory of this file durable, as far as possible. Only Unix can open directories, and other
/// systems need not.
pub fn sync_parent(path: &Path) {
    if cfg!(unix)
        && let Some(directory) = path.parent()
    {
        let _ = File::open(directory).and_then(|directory| directory.sync_all());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn suffix_follows_the_whole_name() {
        assert_eq!(beside(Path::new("a/x.db"), "-wal"), Path::new("a/x.db-wal"));
    }

    #[test]
    fn first_free_number_is_used_until_none_is_left() {
        let taken = |number: u32| move |path: &Path| (1..=number).any(|n| path.ends_with(format!("x.damaged-{n}")));
        assert_eq!(free_numbered(Path::new("d/x"), taken(0)).unwrap(), Path::new("d/x.damaged-1"));
        assert_eq!(free_numbered(Path::new("d/x"), taken(3)).unwrap(), Path::new("d/x.damaged-4"));
        assert!(free_numbered(Path::new("d/x"), taken(4)).unwrap_err().to_string().contains("d/x.damaged-1"));
    }
}
