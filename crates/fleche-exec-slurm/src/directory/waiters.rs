//! The processes that wait for a batch, and the news for them.

use std::{
    fs::{self, DirBuilder, File},
    io::{self, ErrorKind},
    os::unix::fs::DirBuilderExt,
    path::{Path, PathBuf},
    time::{Duration, SystemTime},
};

use fleche_core::{encoding, spi::process_id::Process};

use super::{SharedDirectory, touch};

/// The file of a waiter that describes its process.
const PROCESS: &str = "process";

/// The age from which a waiter on another host, which shows no sign of life, counts as dead. A waiter shows one at each poll, or
/// every 5 minutes while the scheduler does not answer.
const SILENCE: Duration = Duration::from_mins(11);

impl SharedDirectory {
    fn waiter(&self, batch: &str, mark: &str) -> PathBuf {
        self.batch(batch).join("waiters").join(mark)
    }

    /// Registers that the waiter with this mark, in this process, waits for the batch.
    ///
    /// # Errors
    /// Fails with the error of the system.
    pub(crate) fn watch(&self, batch: &str, mark: &str) -> io::Result<()> {
        let waiter = self.waiter(batch, mark);
        match DirBuilder::new().mode(0o700).create(&waiter) {
            Err(error) if error.kind() != ErrorKind::AlreadyExists => return Err(error),
            _ => {}
        }
        fs::write(waiter.join(PROCESS), encoding::to_vec(&Process::this()).unwrap_or_default())
    }

    /// Shows that the waiter still waits for the batch.
    ///
    /// # Errors
    /// Fails with the error of the system.
    pub(crate) fn touch_waiter(&self, batch: &str, mark: &str) -> io::Result<()> {
        touch(&self.waiter(batch, mark).join(PROCESS))
    }

    /// Removes the waiter. Returns whether another one waits for the batch.
    ///
    /// # Errors
    /// Fails with the error of the system.
    pub(crate) fn unwatch(&self, batch: &str, mark: &str) -> io::Result<bool> {
        fs::remove_dir_all(self.waiter(batch, mark))?;
        let mut others = fs::read_dir(self.batch(batch).join("waiters"))?.flatten();
        Ok(others.any(|other| self.is_alive(&other.path())))
    }

    /// Returns whether the process that submits the batch is alive and waits for it.
    pub(crate) fn is_being_submitted(&self, batch: &str) -> bool {
        let submitter = fs::read_to_string(self.batch(batch).join("submitter"));
        submitter.is_ok_and(|mark| self.is_alive(&self.waiter(batch, &mark)))
    }

    /// Returns whether the process of a waiter is alive. On another host that shows in the time of its file.
    fn is_alive(&self, waiter: &Path) -> bool {
        let path = waiter.join(PROCESS);
        let Ok(process) = fs::read(&path) else { return false };
        match encoding::from_slice::<Process>(&process).ok().and_then(|process| process.lives()) {
            Some(lives) => lives,
            None => self.age(&path).is_ok_and(|age| age < SILENCE),
        }
    }

    /// Returns the time of the last change of the news for the waiter. The directory is opened, which makes clients of a network
    /// file system ask the server.
    ///
    /// # Errors
    /// Fails with the error of the system: [`ErrorKind::NotFound`] if the batch was removed.
    pub(crate) fn changed(&self, batch: &str, mark: &str) -> io::Result<SystemTime> {
        File::open(self.waiter(batch, mark))?.metadata()?.modified()
    }

    /// Removes and returns the news for the waiter: elements whose n-th run has ended.
    ///
    /// # Errors
    /// Fails as [`changed`](Self::changed) does.
    pub(crate) fn take_news(&self, batch: &str, mark: &str) -> io::Result<Vec<(u32, u32)>> {
        let mut news = Vec::new();
        for entry in fs::read_dir(self.waiter(batch, mark))?.flatten() {
            let name = entry.file_name();
            let ended = name.to_str().and_then(|name| name.split_once('.'));
            if let Some((Ok(element), Ok(run))) = ended.map(|(element, run)| (element.parse(), run.parse())) {
                fs::remove_file(entry.path())?;
                news.push((element, run));
            }
        }
        Ok(news)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn directory() -> (tempfile::TempDir, SharedDirectory) {
        let scratch = tempfile::tempdir().unwrap();
        let directory = SharedDirectory::open(&scratch.path().join("shared")).unwrap();
        (scratch, directory)
    }

    #[test]
    fn waiter_of_this_process_is_alive_and_a_silent_one_elsewhere_is_not() {
        let (_scratch, directory) = directory();
        directory.create_batch("a", b"calls", b"script", "me").unwrap();
        assert!(directory.is_being_submitted("a"));
        directory.watch("a", "other").unwrap();
        let path = directory.waiter("a", "other").join(PROCESS);
        fs::write(&path, b"of another host").unwrap();
        assert!(directory.unwatch("a", "me").unwrap());
        assert!(!directory.is_being_submitted("a"));
        let set = |time| File::options().write(true).open(&path).unwrap().set_modified(time).unwrap();
        directory.watch("a", "me").unwrap();
        set(SystemTime::UNIX_EPOCH);
        assert!(!directory.unwatch("a", "me").unwrap());
        directory.watch("a", "me").unwrap();
        directory.touch_waiter("a", "other").unwrap();
        assert!(directory.unwatch("a", "me").unwrap());
    }

    #[test]
    fn news_are_taken_once() {
        let (_scratch, directory) = directory();
        directory.create_batch("a", b"calls", b"script", "me").unwrap();
        fs::write(directory.waiter("a", "me").join("7.1"), "").unwrap();
        assert!(directory.changed("a", "me").is_ok());
        assert_eq!(directory.take_news("a", "me").unwrap(), [(7, 1)]);
        assert_eq!(directory.take_news("a", "me").unwrap(), []);
        directory.remove_batch("a").unwrap();
        assert_eq!(directory.changed("a", "me").unwrap_err().kind(), ErrorKind::NotFound);
    }
}
