//! Reads and copies the files of a store.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

/// The files below a directory, with their contents, sorted by name.
pub(super) struct Files(Vec<(PathBuf, Vec<u8>)>);

impl Files {
    pub(super) fn read(root: &Path) -> io::Result<Self> {
        let mut files = Vec::new();
        each(root, &mut |path| {
            let name = path.strip_prefix(root).map_err(io::Error::other)?;
            files.push((name.to_owned(), fs::read(path)?));
            Ok(())
        })?;
        files.sort();
        Ok(Self(files))
    }

    pub(super) fn len(&self) -> usize {
        self.0.len()
    }

    /// Returns the path of each file, relative to the directory, and its content.
    pub(super) fn iter(&self) -> impl Iterator<Item = (&Path, &[u8])> {
        self.0.iter().map(|(name, content)| (&**name, &**content))
    }
}

/// Copies the directory. If it does not exist, creates an empty one.
pub(super) fn copy(from: &Path, to: &Path) -> io::Result<()> {
    fs::create_dir_all(to)?;
    each(from, &mut |path| {
        let target = to.join(path.strip_prefix(from).map_err(io::Error::other)?);
        fs::create_dir_all(target.parent().unwrap_or(to))?;
        fs::copy(path, target).map(drop)
    })
}

fn each(root: &Path, visit: &mut dyn FnMut(&Path) -> io::Result<()>) -> io::Result<()> {
    let entries = match fs::read_dir(root) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        entries => entries?,
    };
    for entry in entries {
        let entry = entry?;
        let kind = entry.file_type()?;
        if kind.is_dir() {
            each(&entry.path(), visit)?;
        } else if kind.is_file() {
            visit(&entry.path())?;
        }
    }
    Ok(())
}
