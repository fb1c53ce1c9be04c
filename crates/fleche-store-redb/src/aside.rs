//! The files beside a database that is healed: the damaged one, and what takes its place.

use std::{
    fs::{self, File, TryLockError},
    io,
    path::{Path, PathBuf},
};

/// So many damaged files are kept. A file that is damaged again and again lies on a disk that needs somebody's attention.
const MOST_ASIDE: usize = 4;

/// The file and those that stand beside it while it is healed. Killed at any point, it is damaged still or healed in the end.
pub(crate) struct Files {
    file: PathBuf,
    /// What takes its place, as far as it has come.
    unfinished: PathBuf,
    /// The same when it is whole: whoever opens the file takes that instead of what is there.
    healed: PathBuf,
}

impl Files {
    pub(crate) fn of(file: &Path) -> Self {
        let beside = |ending: &str| {
            let mut name = file.as_os_str().to_owned();
            name.push(ending);
            PathBuf::from(name)
        };
        Self { file: file.to_owned(), unfinished: beside(".healing-unfinished"), healed: beside(".healing") }
    }

    pub(crate) fn unfinished(&self) -> &Path {
        &self.unfinished
    }

    /// Removes what somebody has left who was killed.
    pub(crate) fn remove_unfinished(&self) -> io::Result<()> {
        match fs::remove_file(&self.unfinished) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        }
    }

    /// Keeps a copy of the damaged file: where it is now.
    pub(crate) fn set_aside(&self) -> io::Result<PathBuf> {
        let aside = (1..=MOST_ASIDE).map(|number| self.aside(number)).find(|path| !path.exists()).ok_or_else(|| {
            io::Error::other(format!(
                "{MOST_ASIDE} damaged files are kept already, the first as `{}`: look at the disk, and remove them",
                self.aside(1).display()
            ))
        })?;
        let copied = fs::copy(&self.file, &aside).and_then(|_| File::open(&aside)?.sync_all());
        if let Err(error) = copied {
            // It would be taken for the whole.
            let _ = fs::remove_file(&aside);
            return Err(error);
        }
        Ok(aside)
    }

    fn aside(&self, number: usize) -> PathBuf {
        let mut name = self.file.as_os_str().to_owned();
        name.push(format!(".damaged-{number}"));
        name.into()
    }

    /// Says that what takes the file's place is whole.
    pub(crate) fn finish(&self) -> io::Result<()> {
        fs::rename(&self.unfinished, &self.healed)?;
        sync_directory(&self.file)
    }

    /// Puts what is to take the file's place there, if there is anything. It goes into the same file, by which everybody in this
    /// process knows it, and which nobody must have open.
    pub(crate) fn replace(&self) -> io::Result<()> {
        let mut healed = match File::open(&self.healed) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            opened => opened?,
        };
        let Some(mut file) = self.emptied()? else { return Ok(()) };
        io::copy(&mut healed, &mut file)?;
        file.sync_all()?;
        fs::remove_file(&self.healed)?;
        sync_directory(&self.file)
    }

    /// Removes all that is in the file.
    pub(crate) fn empty(&self) -> io::Result<()> {
        self.emptied()?.map_or(Ok(()), |file| file.sync_all())
    }

    /// The file, locked as redb does it; `None` where another process has it open, of which redb says what to do.
    fn emptied(&self) -> io::Result<Option<File>> {
        let file = File::options().write(true).open(&self.file)?;
        match file.try_lock() {
            Err(TryLockError::WouldBlock) => return Ok(None),
            locked => locked?,
        }
        file.set_len(0)?;
        Ok(Some(file))
    }
}

fn sync_directory(file: &Path) -> io::Result<()> {
    // Other systems than Unix cannot open one, and need not.
    match file.parent() {
        Some(directory) if cfg!(unix) => File::open(directory)?.sync_all(),
        _ => Ok(()),
    }
}
