//! Finds a store's entries in its files by their content, and damages them.

use std::{
    fs,
    io::ErrorKind,
    path::{Path, PathBuf},
};

/// The files below a directory.
pub(crate) struct Disk<'a>(pub(crate) &'a Path);

/// A file with its content.
pub(crate) struct StoreFile {
    file: PathBuf,
    content: Vec<u8>,
}

impl StoreFile {
    pub(crate) fn len(&self) -> usize {
        self.content.len()
    }

    pub(crate) fn middle(&self) -> FilePosition {
        FilePosition { file: self.file.clone(), offset: self.content.len() / 2 }
    }

    /// Swaps the contents of two files of the same length.
    pub(crate) fn swap(&self, other: &Self) {
        for (file, content) in [(&self.file, &other.content), (&other.file, &self.content)] {
            FilePosition { file: file.clone(), offset: 0 }.edit(|bytes| bytes.copy_from_slice(content));
        }
    }
}

/// A position in a file.
pub(crate) struct FilePosition {
    pub(crate) file: PathBuf,
    pub(crate) offset: usize,
}

impl Disk<'_> {
    /// Returns whether the directory is empty, without even an empty subdirectory.
    pub(crate) fn is_empty(&self) -> bool {
        fs::read_dir(self.0).unwrap().next().is_none()
    }

    /// Returns every position at which a file contains these bytes.
    pub(crate) fn find(&self, bytes: &[u8]) -> Vec<FilePosition> {
        let mut positions = Vec::new();
        for file in self.files() {
            let content = match fs::read(&file) {
                // The store may remove a file while it closes, such as a journal.
                Err(error) if error.kind() == ErrorKind::NotFound => continue,
                content => content.unwrap(),
            };
            let mut from = 0;
            while let Some(at) = position(&content[from..], bytes) {
                positions.push(FilePosition { file: file.clone(), offset: from + at });
                from += at + bytes.len();
            }
        }
        positions
    }

    /// Returns the files with more than this number of bytes.
    pub(crate) fn larger_than(&self, bytes: usize) -> Vec<StoreFile> {
        let read = |file| fs::read(&file).ok().map(|content| StoreFile { file, content });
        self.files().into_iter().filter_map(read).filter(|file| file.len() > bytes).collect()
    }

    /// Sets the modes of all directories, including this one, and of all files.
    #[cfg(unix)]
    pub(crate) fn set_modes(&self, directories: u32, files: u32) {
        use std::os::unix::fs::PermissionsExt as _;
        let set = |path: &Path, mode| fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
        let (all_files, all_directories) = self.all();
        for file in &all_files {
            set(file, files);
        }
        for directory in &all_directories {
            set(directory, directories);
        }
    }

    #[cfg(not(unix))]
    pub(crate) fn set_modes(&self, _directories: u32, _files: u32) {}

    fn files(&self) -> Vec<PathBuf> {
        self.all().0
    }

    /// Returns all files and all directories, including this one.
    fn all(&self) -> (Vec<PathBuf>, Vec<PathBuf>) {
        let (mut files, mut directories) = (Vec::new(), vec![self.0.to_owned()]);
        let mut next = 0;
        while let Some(directory) = directories.get(next).cloned() {
            next += 1;
            for entry in fs::read_dir(directory).unwrap() {
                let entry = entry.unwrap();
                let kind = entry.file_type().unwrap();
                if kind.is_dir() {
                    directories.push(entry.path());
                } else if kind.is_file() {
                    files.push(entry.path());
                }
            }
        }
        (files, directories)
    }
}

impl FilePosition {
    /// Changes the bytes of the file from this position on.
    ///
    /// The file keeps its modification time and permissions, as it would if the disk had failed.
    pub(crate) fn edit(&self, change: impl FnOnce(&mut [u8])) {
        let mut content = fs::read(&self.file).unwrap();
        change(&mut content[self.offset..]);
        self.keeping_metadata(|file| {
            use std::io::Write as _;
            (&*file).write_all(&content).unwrap();
        });
    }

    /// Truncates the file at this position.
    pub(crate) fn truncate(&self) {
        let len = u64::try_from(self.offset).unwrap();
        self.keeping_metadata(|file| file.set_len(len).unwrap());
    }

    fn keeping_metadata(&self, change: impl FnOnce(&fs::File)) {
        let metadata = fs::metadata(&self.file).unwrap();
        let mut writable = metadata.permissions();
        #[allow(clippy::permissions_set_readonly_false)] // The permissions are restored below.
        writable.set_readonly(false);
        fs::set_permissions(&self.file, writable).unwrap();
        let file = fs::File::options().write(true).open(&self.file).unwrap();
        change(&file);
        file.set_modified(metadata.modified().unwrap()).unwrap();
        fs::set_permissions(&self.file, metadata.permissions()).unwrap();
    }
}

fn position(content: &[u8], wanted: &[u8]) -> Option<usize> {
    let (first, last) = (*wanted.first()?, content.len().checked_sub(wanted.len())?);
    let mut from = 0;
    while from <= last {
        from += content[from..=last].iter().position(|byte| *byte == first)?;
        if content[from..].starts_with(wanted) {
            return Some(from);
        }
        from += 1;
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_are_found_at_any_position() {
        assert_eq!(position(b"aab", b"ab"), Some(1));
        assert_eq!(position(b"ab", b"ab"), Some(0));
        assert_eq!(position(b"ba", b"ab"), None);
        assert_eq!(position(b"a", b"ab"), None);
    }

    #[test]
    fn edit_changes_bytes_and_keeps_the_modification_time() {
        let directory = tempfile::tempdir().unwrap();
        fs::create_dir(directory.path().join("a")).unwrap();
        let file = directory.path().join("a/b");
        fs::write(&file, b"0123456789").unwrap();
        let before = fs::metadata(&file).unwrap().modified().unwrap();

        let positions = Disk(directory.path()).find(b"45");
        assert_eq!(positions.len(), 1);
        positions[0].edit(|bytes| bytes[0] = b'x');
        assert_eq!(fs::read(&file).unwrap(), b"0123x56789");
        positions[0].truncate();
        assert_eq!(fs::read(&file).unwrap(), b"0123");
        assert_eq!(fs::metadata(&file).unwrap().modified().unwrap(), before);
    }
}
