//! The files of a SQLite database, as read and written without SQLite: their bytes, and copies of damaged files, which
//! users may want to inspect.

use std::{
    fs::{self, File},
    io::{self, Read as _, Seek as _, SeekFrom, Write as _},
    path::{Path, PathBuf},
    sync::{Arc, Mutex},
};

use fleche_core::{
    Error, Result,
    store::kit::{LockResultExt as _, Place, beside, free_numbered, sync_parent},
};

/// The page size of all files of fleche.
const PAGE: usize = 4096;
/// The number of bytes of a log that are searched for the names of fleche's tables.
const SEARCHED: u64 = 16 << 20;
/// The beginning of a header: <https://sqlite.org/fileformat.html>.
const MAGIC: &[u8; 16] = b"SQLite format 3\0";

/// The prefixes of the names of fleche's tables and of SQLite's internal ones.
const OWN_PREFIXES: [&[u8; 7]; 2] = [b"fleche_", b"sqlite_"];

/// Opened files, which stay open as long as they exist: closing any descriptor of a file releases all POSIX locks that
/// the process has on it, including SQLite's.
static OPENED: Mutex<Vec<(Place, Arc<File>)>> = Mutex::new(Vec::new());

/// The bytes of a file.
pub(crate) struct FileBytes {
    path: PathBuf,
    file: Arc<File>,
}

impl FileBytes {
    /// Opens a file that this process may have open as a database.
    pub(crate) fn open(path: &Path) -> Result<Self> {
        let place = Place::new(path)?;
        let mut opened = OPENED.lock().ignore_poison();
        // Files without a name are closed, so that their space on the disk becomes free.
        #[cfg(unix)]
        opened.retain(|(_, file)| file.metadata().is_ok_and(|file| std::os::unix::fs::MetadataExt::nlink(&file) > 0));
        if let Some((_, file)) = opened.iter().find(|(other, _)| *other == place) {
            return Ok(Self { path: path.to_owned(), file: file.clone() });
        }
        let file_bytes = Self::open_copy(path)?;
        opened.push((place, file_bytes.file.clone()));
        Ok(file_bytes)
    }

    /// Opens a copy, which nothing else has open.
    pub(crate) fn open_copy(path: &Path) -> Result<Self> {
        let file = File::options().read(true).write(true).open(path).map_err(Error::io("open", path))?;
        Ok(Self { path: path.to_owned(), file: Arc::new(file) })
    }

    /// Returns whether the file belongs to fleche, as far as its first page or its log shows. A SQLite file of at most
    /// one page counts as a file of fleche, since it holds no entries of any program.
    pub(crate) fn has_own_tables(&self) -> Result<bool> {
        let first = self.first()?;
        let length = self.file.metadata().map_err(Error::io("read the metadata of", &self.path))?.len();
        if names_own_table(&first) || first.starts_with(MAGIC) && length <= PAGE as u64 {
            return Ok(true);
        }
        let mut log = Vec::new();
        if let Ok(file) = File::open(beside(&self.path, "-wal")) {
            file.take(SEARCHED).read_to_end(&mut log).map_err(Error::io("read the log of", &self.path))?;
        }
        Ok(names_own_table(&log))
    }

    /// Returns the name of a table of another program, if there is one, as far as the first page shows.
    pub(crate) fn foreign_table(&self) -> Result<Option<String>> {
        Ok(foreign_table_in(&self.first()?))
    }

    /// Returns the first page, or as much of it as there is.
    fn first(&self) -> Result<Vec<u8>> {
        let mut file = &*self.file;
        let mut first = Vec::new();
        let read = file.seek(SeekFrom::Start(0)).and_then(|_| file.take(PAGE as u64).read_to_end(&mut first));
        read.map_err(Error::io("read", &self.path))?;
        Ok(first)
    }

    /// Repairs the beginning of the header, which is the same in every file of fleche, and extends a shorter file to
    /// one page. Otherwise, SQLite would treat the file as empty, or as one without a log, and lock it differently
    /// from the processes that have it open. Returns the previous content of the first page if it was damaged.
    pub(crate) fn repair_header(&self, rollback: bool) -> Result<Option<Vec<u8>>> {
        let first = self.first()?;
        if first.len() == PAGE && is_sound(&first) {
            return Ok(None);
        }
        let mut file = &*self.file;
        let repaired = file.seek(SeekFrom::Start(0)).and_then(|_| file.write_all(&header(rollback)));
        let repaired = repaired.and_then(|()| if first.len() < PAGE { file.set_len(PAGE as u64) } else { Ok(()) });
        repaired.map_err(Error::io("repair the header of", &self.path))?;
        Ok(Some(first))
    }

    /// Replaces the first page.
    pub(crate) fn replace_first(&self, page: &[u8]) -> Result<()> {
        let mut file = &*self.file;
        let written = file.seek(SeekFrom::Start(0)).and_then(|_| file.write_all(page));
        written.map_err(Error::io("write", &self.path))
    }

    /// Copies the file with the first page that it had before its header was repaired, if `first` is given.
    pub(crate) fn copy(&self, to: &Path, first: Option<&[u8]>) -> Result<()> {
        let mut file = &*self.file;
        let copied = File::create(to).and_then(|mut copy| {
            let from = if let Some(first) = first { copy.write_all(first).map(|()| PAGE)? } else { 0 };
            file.seek(SeekFrom::Start(from as u64))?;
            std::io::copy(&mut file, &mut copy)?;
            copy.sync_all()
        });
        copied.map_err(Error::io("copy the damaged file to", to))
    }
}

fn names_own_table(bytes: &[u8]) -> bool {
    bytes.windows(OWN_PREFIXES[0].len()).any(|window| window == OWN_PREFIXES[0])
}

/// Returns the name of a table of another program that is defined in these bytes, if there is one.
pub(crate) fn foreign_table_in(bytes: &[u8]) -> Option<String> {
    const DEFINES: [&[u8]; 2] = [b"CREATE TABLE ", b"CREATE VIRTUAL TABLE "];
    let name = (0..bytes.len()).find_map(|at| {
        let defined = DEFINES.iter().find_map(|defines| bytes[at..].strip_prefix(*defines));
        defined.filter(|name| !is_own_table(name))
    })?;
    let name = name.split(|byte| matches!(byte, b' ' | b'(')).next()?;
    Some(String::from_utf8_lossy(name).into_owned())
}

/// Returns whether a table of this name belongs to fleche or SQLite. One byte of the name may be damaged.
pub(crate) fn is_own_table(name: &[u8]) -> bool {
    let differ = |prefix: &[u8]| prefix.iter().zip(name).filter(|(expected, found)| expected != found).count();
    OWN_PREFIXES.iter().any(|prefix| name.len() >= prefix.len() && differ(*prefix) <= 1)
}

/// Returns the first 24 bytes of the header: the magic, the page size, the versions for writing and reading, and
/// constants.
fn header(rollback: bool) -> [u8; 24] {
    let version = if rollback { 1 } else { 2 };
    let mut header = [0; 24];
    header[..16].copy_from_slice(MAGIC);
    header[16..].copy_from_slice(&[0x10, 0, version, version, 0, 64, 32, 32]);
    header
}

fn is_sound(first: &[u8]) -> bool {
    // A vacuumed file may have another page size.
    let size = u16::from_be_bytes([first[16], first[17]]);
    first.starts_with(MAGIC)
        && (size == 1 || size >= 512 && size.is_power_of_two())
        && matches!(first[18..20], [1, 1] | [2, 2])
        && first[20..24] == [0, 64, 32, 32]
}

/// Returns the first page of a database that is not open, to replace a lost one. Its page count is cleared, so that
/// SQLite takes it from the file's length.
pub(crate) fn first_page(path: &Path) -> Result<Vec<u8>> {
    let mut page = fs::read(path).map_err(Error::io("read", path))?;
    page.truncate(PAGE);
    if let Some(pages) = page.get_mut(28..32) {
        pages.fill(0);
    }
    Ok(page)
}

/// Returns a free path for a copy of this file.
///
/// # Errors
/// Fails with [`Error::Io`] if the maximum number of copies exists.
pub(crate) fn free_path(file: &Path) -> Result<PathBuf> {
    let free = free_numbered(file, |path| path.exists() || beside(path, "-wal").exists());
    free.map_err(Error::io("keep the damaged file as", beside(file, ".damaged-N")))
}

/// Copies a database that no process has open, with its log.
pub(crate) fn copy_database(database: &Path, to: &Path) -> Result<()> {
    fs::copy(database, to).map_err(Error::io("copy the damaged file to", to))?;
    copy_log(database, to)
}

/// Moves a copy, with its log, to its final path.
pub(crate) fn back_up(copy: &Path, path: &Path) -> Result<()> {
    let moved = |from: &Path, to: &Path| fs::rename(from, to).map_err(Error::io("keep the damaged file as", to));
    let log = beside(copy, "-wal");
    if log.exists() {
        moved(&log, &beside(path, "-wal"))?;
    }
    moved(copy, path)?;
    sync_parent(path);
    Ok(())
}

/// Copies the write-ahead log of a database, unless it is empty, to the log of the copy.
pub(crate) fn copy_log(database: &Path, copy: &Path) -> Result<()> {
    let (from, to) = (beside(database, "-wal"), beside(copy, "-wal"));
    if fs::metadata(&from).is_ok_and(|log| log.len() == 0) {
        return Ok(());
    }
    match fs::copy(from, &to).and_then(|_| File::open(&to)?.sync_all()) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(Error::io("copy the damaged log to", to)(error)),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn header_is_repaired_only_if_it_is_damaged() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("db");
        for (damage, repaired) in [(50, false), (0, true), (16, true), (18, true), (21, true)] {
            let mut content = vec![7; 2 * PAGE];
            content[..24].copy_from_slice(&header(false));
            let sound = content.clone();
            content[damage] ^= 0xff;
            fs::write(&path, &content).unwrap();
            let first = FileBytes::open_copy(&path).unwrap().repair_header(false).unwrap();
            assert_eq!(first.as_deref(), repaired.then_some(&content[..PAGE]));
            assert_eq!(fs::read(&path).unwrap() == sound, repaired);
        }
    }

    #[test]
    fn tables_of_other_programs_are_recognized_despite_a_damaged_byte() {
        let others = |text: &str| foreign_table_in(text.as_bytes());
        assert_eq!(others("..CREATE TABLE fleche_meta (name)..CREATE TABLE sqlite_sequence(name,seq)"), None);
        assert_eq!(others("CREATE TABLE fl3che_meta (name)"), None);
        assert_eq!(others("CREATE TABLE fleche_meta (n)CREATE TABLE users (n)").as_deref(), Some("users"));
        assert_eq!(others("CREATE VIRTUAL TABLE words USING fts5(n)").as_deref(), Some("words"));
    }

    #[test]
    fn file_shorter_than_a_page_is_extended_and_copied_unchanged() {
        let directory = tempfile::tempdir().unwrap();
        let (path, copy) = (directory.path().join("db"), directory.path().join("copy"));
        fs::write(&path, &MAGIC[..10]).unwrap();
        let file_bytes = FileBytes::open_copy(&path).unwrap();
        let first = file_bytes.repair_header(true).unwrap();
        assert_eq!(fs::metadata(&path).unwrap().len(), PAGE as u64);
        file_bytes.copy(&copy, first.as_deref()).unwrap();
        assert_eq!(fs::read(&copy).unwrap(), &MAGIC[..10]);
    }
}
