//! `FileClock`: the clock that stamps the files of a directory, which on a network file system is the file server's.

use std::{
    fs::File,
    io,
    path::{Path, PathBuf},
    sync::Mutex,
    time::{Duration, Instant, SystemTime},
};

use fleche_core::store::kit::{LockResultExt as _, written_file};

/// The name of the file whose modification time shows the current time.
const NAME: &str = ".fleche-clock";

/// How long a reading of the clock is extrapolated for ages.
const REREAD_AFTER: Duration = Duration::from_secs(1);

/// Reads the clock of the file system by touching a file. Times of files are compared only with this clock, so the hosts that
/// share a directory need not agree on the time.
pub(crate) struct FileClock {
    path: PathBuf,
    last: Mutex<Option<(SystemTime, Instant)>>,
}

impl FileClock {
    /// Returns the clock of the file system of this directory.
    pub(crate) fn new(root: &Path) -> Self {
        Self { path: root.join(NAME), last: Mutex::new(None) }
    }

    /// Returns the current time.
    ///
    /// # Errors
    /// Fails if the file cannot be created or touched, as in a directory that this user may not write to.
    pub(crate) fn now(&self, shared: bool) -> io::Result<SystemTime> {
        let file = written_file::open(&self.path, true, shared)?;
        touch(&file)?;
        file.metadata()?.modified()
    }

    /// Returns the time since the file was modified. A time in the future counts as equally far in the past. Where the clock
    /// cannot be read, the clock of this host takes its place.
    pub(crate) fn age(&self, modified: SystemTime, shared: bool) -> Duration {
        let recent = self.recent(shared);
        recent.duration_since(modified).unwrap_or_else(|_| {
            // The extrapolated time may be behind, for example if the host has been suspended.
            let now = self.now(shared).unwrap_or_else(|_| SystemTime::now());
            now.duration_since(modified).unwrap_or_else(|ahead| ahead.duration())
        })
    }

    /// Returns the current time, extrapolated from a reading of the last second.
    fn recent(&self, shared: bool) -> SystemTime {
        let mut last = self.last.lock().ignore_poison();
        if let Some((read, at)) = *last
            && at.elapsed() < REREAD_AFTER
        {
            return read + at.elapsed();
        }
        let at = Instant::now();
        let read = self.now(shared);
        *last = read.as_ref().ok().map(|read| (*read, at));
        read.unwrap_or_else(|_| SystemTime::now())
    }
}

/// Sets the modification time of the file to now, by the clock of its file system.
#[cfg(unix)]
pub(crate) fn touch(file: &File) -> io::Result<()> {
    use nix::sys::{stat::futimens, time::TimeSpec};
    // An explicit time would be that of this host's clock.
    futimens(file, &TimeSpec::UTIME_NOW, &TimeSpec::UTIME_NOW)?;
    Ok(())
}

/// Sets the modification time of the file to now.
#[cfg(not(unix))]
pub(crate) fn touch(file: &File) -> io::Result<()> {
    file.set_modified(SystemTime::now())
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn clock_advances_and_agrees_with_times_of_new_files() {
        let root = tempfile::tempdir().unwrap();
        let clock = FileClock::new(root.path());
        let before = clock.now(false).unwrap();
        let file = File::create(root.path().join("file")).unwrap();
        let modified = file.metadata().unwrap().modified().unwrap();
        assert!(before <= modified && modified <= clock.now(false).unwrap());
    }

    #[test]
    fn age_is_the_distance_from_the_clock_of_the_file_system() {
        let root = tempfile::tempdir().unwrap();
        let clock = FileClock::new(root.path());
        let hour = Duration::from_hours(1);
        let now = clock.now(false).unwrap();
        assert!(clock.age(now - hour, false) >= hour);
        assert!(clock.age(now + hour, false) <= hour);
        assert!(clock.age(clock.now(false).unwrap(), false) < hour);
    }

    #[test]
    fn age_is_judged_by_the_host_where_the_clock_cannot_be_read() {
        let root = tempfile::tempdir().unwrap();
        fs::create_dir(root.path().join(NAME)).unwrap();
        let clock = FileClock::new(root.path());
        clock.now(false).unwrap_err();
        let hour = Duration::from_hours(1);
        assert!(clock.age(SystemTime::now() - hour, false) >= hour);
    }
}
