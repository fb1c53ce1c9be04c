//! The files beside a database that is healed: the damaged one, and what takes its place.

use std::{
    fs::{self, File, Metadata, TryLockError},
    io::{self, Read as _},
    path::{Path, PathBuf},
};

use fleche_core::written_file;

/// So many damaged files are kept. A file that is damaged again and again lies on a disk that needs somebody's attention.
const MOST_ASIDE: usize = 4;

/// The file and those that stand beside it while it is healed. Killed at any point, it is damaged still or healed in the end.
pub(crate) struct Files {
    file: PathBuf,
    /// What takes its place, as far as it has come.
    unfinished: PathBuf,
    /// The same when it is whole: whoever opens the file takes that instead of what is there.
    healed: PathBuf,
    /// A copy of the damaged file, as far as it has come.
    copy: PathBuf,
}

impl Files {
    pub(crate) fn of(file: &Path) -> Self {
        let [unfinished, healed, copy] =
            [".healing-unfinished", ".healing", ".damaged-unfinished"].map(|ending| beside(file, ending));
        Self { file: file.to_owned(), unfinished, healed, copy }
    }

    pub(crate) fn unfinished(&self) -> &Path {
        &self.unfinished
    }

    /// Removes what somebody has left who was killed, or has failed.
    pub(crate) fn remove_unfinished(&self) -> io::Result<()> {
        [&self.unfinished, &self.copy].into_iter().try_for_each(|path| match fs::remove_file(path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        })
    }

    /// Where a damaged file can be kept.
    pub(crate) fn free_place(&self) -> io::Result<PathBuf> {
        let aside = |number| beside(&self.file, &format!(".damaged-{number}"));
        (1..=MOST_ASIDE).map(aside).find(|path| !path.exists()).ok_or_else(|| {
            io::Error::other(format!(
                "{MOST_ASIDE} damaged files are kept already, the first as `{}`: look at the disk, and remove them",
                aside(1).display()
            ))
        })
    }

    /// Keeps a copy of the damaged file: where it is now.
    pub(crate) fn set_aside(&self) -> io::Result<PathBuf> {
        let aside = self.free_place()?;
        written_file::check_beside(&self.copy)?;
        fs::copy(&self.file, &self.copy)?;
        File::open(&self.copy)?.sync_all()?;
        fs::rename(&self.copy, &aside)?;
        Ok(aside)
    }

    /// Says that what takes the file's place is whole.
    pub(crate) fn finish(&self) -> io::Result<()> {
        fs::rename(&self.unfinished, &self.healed)?;
        sync_directory(&self.file);
        Ok(())
    }

    /// Puts what is to take the file's place there, if there is anything. It goes into the same file, by which everybody in this
    /// process knows it, and which nobody must have open.
    pub(crate) fn replace(&self) -> io::Result<()> {
        if !self.healed.exists() {
            return Ok(());
        }
        // Of a file that another process has open redb says what to do.
        let Some(mut file) = self.locked()? else { return Ok(()) };
        let mut healed = match File::open(&self.healed) {
            // Another process has done it by now.
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            opened => opened?,
        };
        file.set_len(0)?;
        io::copy(&mut healed, &mut file)?;
        file.sync_all()?;
        fs::remove_file(&self.healed)?;
        sync_directory(&self.file);
        Ok(())
    }

    /// Keeps the file elsewhere and empties it, if it is ours and still what it was then: where it is kept.
    pub(crate) fn begin_anew(&self, then: &Metadata) -> io::Result<Option<PathBuf>> {
        let Some(file) = self.locked()? else { return Ok(None) };
        let now = file.metadata()?;
        if (now.len(), now.modified()?) != (then.len(), then.modified()?) || !self.tells_of_us()? {
            return Ok(None);
        }
        let aside = self.set_aside()?;
        file.set_len(0)?;
        file.sync_all()?;
        sync_directory(&self.file);
        Ok(Some(aside))
    }

    /// Whether the names of our tables stand in the file.
    fn tells_of_us(&self) -> io::Result<bool> {
        const NAMES: [&[u8]; 4] = [b"fleche", b"values", b"records", b"ages"];
        const BLOCK: usize = 1 << 20;
        /// So much of a block is looked at again with the next one, for a name that begins there.
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

    /// The file, locked as redb does it; `None` where another process has it open.
    fn locked(&self) -> io::Result<Option<File>> {
        let file = File::options().read(true).write(true).open(&self.file)?;
        match file.try_lock() {
            Err(TryLockError::WouldBlock) => Ok(None),
            Err(TryLockError::Error(error)) => Err(error),
            Ok(()) => Ok(Some(file)),
        }
    }
}

fn beside(file: &Path, ending: &str) -> PathBuf {
    let mut name = file.as_os_str().to_owned();
    name.push(ending);
    name.into()
}

/// So that names survive a power failure. Where that cannot be done, nothing is lost but that; other systems than Unix cannot
/// open directories, and need not.
fn sync_directory(file: &Path) {
    if cfg!(unix)
        && let Some(directory) = file.parent()
    {
        let _ = File::open(directory).and_then(|directory| directory.sync_all());
    }
}
