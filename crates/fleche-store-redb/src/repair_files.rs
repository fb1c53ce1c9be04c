//! The files next to a database under repair: the damaged file and its replacement.

use std::{
    fs::{self, File, Metadata, TryLockError},
    io::{self, Read as _},
    path::{Path, PathBuf},
};

use fleche_core::store::kit::{beside, free_numbered, sync_parent, written_file};

/// The database file, and the files next to it during a repair. If the process is killed at any point, the file is
/// either still damaged or its repair is completed later.
pub(crate) struct Files {
    file: PathBuf,
    /// The replacement while it is being written.
    unfinished: PathBuf,
    /// The complete replacement. Opening the database puts it in place of the file.
    replacement: PathBuf,
    /// The copy of the damaged file while it is being written.
    copy: PathBuf,
}

impl Files {
    pub(crate) fn new(file: &Path) -> Self {
        let [unfinished, replacement, copy] =
            [".healing-unfinished", ".healing", ".damaged-unfinished"].map(|ending| beside(file, ending));
        Self { file: file.to_owned(), unfinished, replacement, copy }
    }

    pub(crate) fn unfinished(&self) -> &Path {
        &self.unfinished
    }

    /// Removes unfinished files of a repair that failed or was killed.
    pub(crate) fn remove_unfinished(&self) -> io::Result<()> {
        [&self.unfinished, &self.copy].into_iter().try_for_each(|path| match fs::remove_file(path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        })
    }

    /// Returns a free path for the damaged file.
    pub(crate) fn free_path(&self) -> io::Result<PathBuf> {
        free_numbered(&self.file, Path::exists)
    }

    /// Keeps a copy of the damaged file, and returns its path.
    pub(crate) fn quarantine(&self) -> io::Result<PathBuf> {
        let kept = self.free_path()?;
        written_file::check_beside(&self.copy)?;
        fs::copy(&self.file, &self.copy)?;
        File::open(&self.copy)?.sync_all()?;
        fs::rename(&self.copy, &kept)?;
        Ok(kept)
    }

    /// Marks the replacement as complete.
    pub(crate) fn finish(&self) -> io::Result<()> {
        fs::rename(&self.unfinished, &self.replacement)?;
        sync_parent(&self.file);
        Ok(())
    }

    /// Copies a complete replacement, if there is one, into the file. The file itself stays the same one, since handles
    /// of this process identify it; it must not be open.
    pub(crate) fn replace(&self) -> io::Result<()> {
        if !self.replacement.exists() {
            return Ok(());
        }
        // If another process has the file open, redb reports that.
        let Some(mut file) = self.open_locked()? else { return Ok(()) };
        let mut replacement = match File::open(&self.replacement) {
            // Another process has done this already.
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            opened => opened?,
        };
        file.set_len(0)?;
        io::copy(&mut replacement, &mut file)?;
        file.sync_all()?;
        fs::remove_file(&self.replacement)?;
        sync_parent(&self.file);
        Ok(())
    }

    /// Keeps a copy of the file and empties it, if it belongs to fleche or was never finished, and has not changed since `then`. Returns the
    /// path of the copy, or `None` if it left the file alone.
    pub(crate) fn quarantine_and_empty(&self, then: &Metadata) -> io::Result<Option<PathBuf>> {
        let Some(file) = self.open_locked()? else { return Ok(None) };
        let now = file.metadata()?;
        if (now.len(), now.modified()?) != (then.len(), then.modified()?)
            || !(self.has_our_tables()? || self.is_unfinished()?)
        {
            return Ok(None);
        }
        let kept = self.quarantine()?;
        file.set_len(0)?;
        file.sync_all()?;
        sync_parent(&self.file);
        Ok(Some(kept))
    }

    /// Returns whether the file contains the names of fleche's tables.
    fn has_our_tables(&self) -> io::Result<bool> {
        const NAMES: [&[u8]; 4] = [b"fleche", b"values", b"records", b"ages"];
        const BLOCK: usize = 1 << 20;
        /// The part of a block that is searched again with the next one, for a name that crosses the border.
        const OVERLAP: usize = 8;
        let (mut file, mut block) = (File::open(&self.file)?, Vec::with_capacity(BLOCK + OVERLAP));
        let mut found = [false; NAMES.len()];
        while file.by_ref().take(BLOCK as u64).read_to_end(&mut block)? > 0 {
            for (name, found) in NAMES.iter().zip(&mut found) {
                *found = *found || block.windows(name.len()).any(|window| window == *name);
            }
            let rest = block.len().saturating_sub(OVERLAP);
            block.drain(..rest);
        }
        Ok(found == [true; NAMES.len()])
    }

    /// Returns whether the process that created the file was killed before redb wrote its magic number. redb first extends the
    /// new file with zeros, then writes the rest of its header.
    fn is_unfinished(&self) -> io::Result<bool> {
        const PAGE: u32 = 4096;
        const MAX_LEN: u64 = 1 << 24;
        let length = fs::metadata(&self.file)?.len();
        if !(u64::from(PAGE) + 1..=MAX_LEN).contains(&length) {
            return Ok(false);
        }
        let content = fs::read(&self.file)?;
        let is_zero = |bytes: &[u8]| bytes.iter().all(|byte| *byte == 0);
        let (header, rest) = content.split_at(PAGE as usize);
        // The page size, which is part of the header, follows the magic number and 3 other bytes.
        Ok(is_zero(rest) && is_zero(&header[..9]) && (is_zero(header) || header[12..16] == PAGE.to_le_bytes()))
    }

    /// Opens the file and locks it as redb does. Returns `None` if another process has it open.
    fn open_locked(&self) -> io::Result<Option<File>> {
        let file = File::options().read(true).write(true).open(&self.file)?;
        match file.try_lock() {
            Err(TryLockError::WouldBlock) => Ok(None),
            Err(TryLockError::Error(error)) => Err(error),
            Ok(()) => Ok(Some(file)),
        }
    }
}
