//! The directory that submitters and jobs share. `docs/cluster.md` describes its files.
//!
//! A key file names the one element that may run a call. It is created with `link` and replaced with `rename`, so it changes
//! atomically, and a job that is not named there ends without running its call.

mod waiters;

use std::{
    fs::{self, DirBuilder, File, OpenOptions},
    io::{self, ErrorKind, Read, Seek, SeekFrom, Write},
    os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, PermissionsExt},
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use bytes::Bytes;
use fleche_core::{
    Digest, encoding,
    spi::process_id::{self, Process},
};
use nix::{fcntl::AT_FDCWD, sys::stat::UtimensatFlags, sys::time::TimeSpec, unistd::Uid};

use crate::format::{CallsFile, Outcome};

/// An element of a batch.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Place {
    pub(crate) batch: Arc<str>,
    pub(crate) element: u32,
}

/// What the names of the files of a batch tell about its elements.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum StateFile {
    /// The element has started, for the n-th time.
    Started(u32),
    /// The element has an outcome.
    Outcome,
    /// The n-th run of the element has ended.
    Exit(u32),
}

/// The length of the end of stderr that errors hold, in bytes.
const TAIL: u64 = 4096;

/// The shared directory.
#[derive(Clone, Debug)]
pub(crate) struct SharedDirectory {
    root: PathBuf,
}

impl SharedDirectory {
    /// Opens the directory, and creates it if it is missing. Only this user may use it, because jobs run what it holds.
    ///
    /// # Errors
    /// Fails if it cannot be created, or if another user owns it or could write to it.
    pub(crate) fn open(root: &Path) -> io::Result<Self> {
        let mut builder = DirBuilder::new();
        builder.recursive(true).mode(0o700);
        builder.create(root)?;
        let metadata = fs::metadata(root)?;
        if metadata.uid() != Uid::effective().as_raw() {
            let why = format!("it belongs to user {}; use a directory of your own", metadata.uid());
            return Err(io::Error::new(ErrorKind::PermissionDenied, why));
        }
        if metadata.mode() & 0o022 != 0 {
            let why = "other users can write to it; run `chmod go-w` on it";
            return Err(io::Error::new(ErrorKind::PermissionDenied, why));
        }
        for name in ["binaries", "keys", "batches"] {
            builder.create(root.join(name))?;
        }
        Ok(Self { root: root.to_owned() })
    }

    /// Returns the directory at this path, which a submitter has opened.
    pub(crate) fn existing(root: &Path) -> Self {
        Self { root: root.to_owned() }
    }

    /// Returns the directory of staged programs.
    pub(crate) fn binaries(&self) -> PathBuf {
        self.root.join("binaries")
    }

    /// Returns the directory of a batch.
    pub(crate) fn batch(&self, batch: &str) -> PathBuf {
        self.root.join("batches").join(batch)
    }

    fn key(&self, key: &Digest) -> PathBuf {
        let hex = key.to_hex();
        let (first, rest) = hex.as_ref().split_at(2);
        self.root.join("keys").join(first).join(rest)
    }

    fn state(&self, place: &Place, kind: &str) -> PathBuf {
        self.batch(&place.batch).join("state").join(format!("{}.{kind}", place.element))
    }

    /// Makes this element the one that may run the call, unless the call has a key file. Returns the element that the key file
    /// names.
    ///
    /// # Errors
    /// Fails with the error of the system.
    pub(crate) fn claim_key(&self, key: &Digest, place: &Place) -> io::Result<Place> {
        let path = self.key(key);
        loop {
            let link = |new: &Path, path: &Path| fs::hard_link(new, path);
            match publish(&path, place.text().as_bytes(), link) {
                Ok(()) => return Ok(place.clone()),
                Err(error) if error.kind() == ErrorKind::NotFound => {
                    DirBuilder::new().recursive(true).mode(0o700).create(path.parent().unwrap_or(&path))?;
                }
                // A link may have been made although the answer of the file server says that it exists.
                Err(error) if error.kind() == ErrorKind::AlreadyExists => {
                    if let Some(holder) = self.read_key(key)? {
                        return Ok(holder);
                    }
                }
                Err(error) => return Err(error),
            }
        }
    }

    /// Returns the content of the key file, or `None` if there is none.
    ///
    /// # Errors
    /// Fails with the error of the system, and if the file is damaged.
    pub(crate) fn read_key(&self, key: &Digest) -> io::Result<Option<Place>> {
        let text = match fs::read_to_string(self.key(key)) {
            Ok(text) => text,
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error),
        };
        Place::parse(&text).map(Some).ok_or_else(|| {
            io::Error::new(
                ErrorKind::InvalidData,
                format!("the key file {} is damaged; remove it", self.key(key).display()),
            )
        })
    }

    /// Replaces the element that may run the call if it is the expected one. Returns the element that the key file names otherwise.
    ///
    /// Two processes that replace it at the same moment may both succeed; then the last one holds the key.
    ///
    /// # Errors
    /// Fails with the error of the system.
    pub(crate) fn replace_key(&self, key: &Digest, from: &Place, to: &Place) -> io::Result<Result<(), Option<Place>>> {
        let present = self.read_key(key)?;
        if present.as_ref() != Some(from) {
            return Ok(Err(present));
        }
        publish(&self.key(key), to.text().as_bytes(), |new, path| fs::rename(new, path))?;
        Ok(Ok(()))
    }

    /// Removes the key file if it names this element. Returns whether it did: from then on the element does not start the call.
    ///
    /// # Errors
    /// Fails with the error of the system.
    pub(crate) fn remove_key(&self, key: &Digest, place: &Place) -> io::Result<bool> {
        let is_named = self.read_key(key)?.as_ref() == Some(place);
        if is_named {
            fs::remove_file(self.key(key))?;
        }
        Ok(is_named)
    }

    /// Creates a batch with this file of calls and this script, which the waiter with this mark submits. It is complete before a
    /// key names it.
    ///
    /// # Errors
    /// Fails with the error of the system.
    pub(crate) fn create_batch(&self, batch: &str, calls: &[u8], script: &[u8], submitter: &str) -> io::Result<()> {
        let path = self.batch(batch);
        let mut builder = DirBuilder::new();
        builder.recursive(true).mode(0o700);
        builder.create(path.join("state"))?;
        builder.create(path.join("log"))?;
        builder.create(path.join("waiters"))?;
        self.watch(batch, submitter)?;
        fs::write(path.join("submitter"), submitter)?;
        fs::write(path.join("script"), script)?;
        let mut file = File::create(path.join("calls"))?;
        file.write_all(calls)?;
        file.sync_all()
    }

    /// Returns the calls of a batch.
    ///
    /// # Errors
    /// Fails if the file is missing or damaged.
    pub(crate) fn calls(&self, batch: &str) -> io::Result<CallsFile> {
        CallsFile::open(&self.batch(batch).join("calls"))
    }

    /// Removes a batch.
    ///
    /// # Errors
    /// Fails with the error of the system.
    pub(crate) fn remove_batch(&self, batch: &str) -> io::Result<()> {
        fs::remove_dir_all(self.batch(batch))
    }

    /// Returns the names of all batches.
    ///
    /// # Errors
    /// Fails with the error of the system.
    pub(crate) fn batches(&self) -> io::Result<Vec<String>> {
        let entries = fs::read_dir(self.root.join("batches"))?;
        Ok(entries.flatten().filter_map(|entry| entry.file_name().into_string().ok()).collect())
    }

    /// Records the id of the array that runs the batch.
    ///
    /// # Errors
    /// Fails with the error of the system.
    pub(crate) fn write_job(&self, batch: &str, job: u64) -> io::Result<()> {
        let path = self.batch(batch).join("job");
        publish(&path, job.to_string().as_bytes(), |new, path| fs::rename(new, path))
    }

    /// Returns the id of the array that runs the batch, or `None` if it is not recorded.
    pub(crate) fn job(&self, batch: &str) -> Option<u64> {
        fs::read_to_string(self.batch(batch).join("job")).ok()?.trim().parse().ok()
    }

    /// Returns whether the batch has not been removed.
    pub(crate) fn exists(&self, batch: &str) -> bool {
        self.batch(batch).join("state").exists()
    }

    /// Returns what the files of the batch tell about its elements.
    ///
    /// # Errors
    /// Fails with the error of the system.
    pub(crate) fn list(&self, batch: &str) -> io::Result<Vec<(u32, StateFile)>> {
        let entries = fs::read_dir(self.batch(batch).join("state"))?;
        Ok(entries.flatten().filter_map(|entry| StateFile::parse(entry.file_name().to_str()?)).collect())
    }

    /// Records that the element runs, for the n-th time. Returns the file, whose age is that of the last sign of life.
    ///
    /// # Errors
    /// Fails with the error of the system.
    pub(crate) fn start(&self, place: &Place, run: u32) -> io::Result<PathBuf> {
        let path = self.state(place, &format!("started.{run}"));
        let process = encoding::to_vec(&Process::this()).unwrap_or_default();
        fs::write(&path, process)?;
        Ok(path)
    }

    /// Returns whether the element has started, or has started again after it was requeued once.
    pub(crate) fn has_started(&self, place: &Place) -> bool {
        ["started.0", "started.1"].iter().any(|kind| self.state(place, kind).exists())
    }

    /// Returns the age of the last sign of life of an element's n-th run, by the file server's clock.
    ///
    /// # Errors
    /// Fails with the error of the system.
    pub(crate) fn heartbeat(&self, place: &Place, run: u32) -> io::Result<Duration> {
        self.age(&self.state(place, &format!("started.{run}")))
    }

    /// Returns the age of a file, by the clock that stamped it: that of the file server.
    fn age(&self, path: &Path) -> io::Result<Duration> {
        let probe = self.root.join(format!("{}.probe", process_id::mark()));
        let now = File::create(&probe).and_then(|file| file.metadata()?.modified());
        let _ = fs::remove_file(&probe);
        Ok(now?.duration_since(fs::metadata(path)?.modified()?).unwrap_or_default())
    }

    /// Records the outcome of an element, unless it has one.
    ///
    /// # Errors
    /// Fails with the error of the system.
    pub(crate) fn write_outcome(&self, place: &Place, outcome: &[u8]) -> io::Result<()> {
        match publish(&self.state(place, "outcome"), outcome, |new, path| fs::hard_link(new, path)) {
            Err(error) if error.kind() != ErrorKind::AlreadyExists => Err(error),
            _ => Ok(()),
        }
    }

    /// Returns the outcome of an element.
    ///
    /// # Errors
    /// Fails if it is missing or damaged.
    pub(crate) fn outcome(&self, place: &Place) -> io::Result<Outcome> {
        Outcome::from_bytes(fs::read(self.state(place, "outcome"))?)
    }

    /// Returns whether the element has an outcome.
    pub(crate) fn has_outcome(&self, place: &Place) -> bool {
        self.state(place, "outcome").exists()
    }

    /// Returns the exit code of an element's n-th run, or `None` if it is not recorded.
    pub(crate) fn exit(&self, place: &Place, run: u32) -> Option<i32> {
        fs::read_to_string(self.state(place, &format!("exit.{run}"))).ok()?.trim().parse().ok()
    }

    /// Returns the end of the element's stderr; empty if there is none.
    pub(crate) fn stderr(&self, place: &Place) -> String {
        let path = self.batch(&place.batch).join("log").join(format!("{}.err", place.element));
        let read = || {
            let mut file = File::open(path)?;
            let length = file.metadata()?.len();
            file.seek(SeekFrom::Start(length.saturating_sub(TAIL)))?;
            let mut tail = Vec::new();
            file.take(TAIL).read_to_end(&mut tail)?;
            io::Result::Ok(String::from_utf8_lossy(&tail).into_owned())
        };
        read().unwrap_or_default()
    }

    /// Returns the age of a batch, by the file server's clock.
    ///
    /// # Errors
    /// Fails with the error of the system.
    pub(crate) fn batch_age(&self, batch: &str) -> io::Result<Duration> {
        self.age(&self.batch(batch).join("state"))
    }

    /// Returns the call and job key of an element.
    ///
    /// # Errors
    /// Fails if the file is missing or damaged.
    pub(crate) fn call(&self, place: &Place) -> io::Result<(Digest, Bytes)> {
        self.calls(&place.batch)?.call(place.element)
    }
}

impl Place {
    fn text(&self) -> String {
        format!("{} {}", self.batch, self.element)
    }

    fn parse(text: &str) -> Option<Self> {
        let (batch, element) = text.split_once(' ')?;
        let is_name = !batch.is_empty() && batch.bytes().all(|byte| byte.is_ascii_alphanumeric());
        is_name.then_some(Self { batch: batch.into(), element: element.parse().ok()? })
    }
}

impl StateFile {
    fn parse(name: &str) -> Option<(u32, Self)> {
        let (element, kind) = name.split_once('.')?;
        let kind = match kind.split_once('.') {
            None if kind == "outcome" => Self::Outcome,
            Some(("started", run)) => Self::Started(run.parse().ok()?),
            Some(("exit", run)) => Self::Exit(run.parse().ok()?),
            _ => return None,
        };
        Some((element.parse().ok()?, kind))
    }
}

/// Writes a file under a temporary name, and moves it to its name with `move_there`.
fn publish(path: &Path, bytes: &[u8], move_there: impl FnOnce(&Path, &Path) -> io::Result<()>) -> io::Result<()> {
    let new = path.with_extension(format!("{}.new", process_id::mark()));
    let written = fs::write(&new, bytes).and_then(|()| move_there(&new, path));
    let _ = fs::remove_file(&new);
    written
}

/// Sets the time of a file to now, by the file server's clock.
///
/// # Errors
/// Fails with the error of the system.
pub(crate) fn touch(path: &Path) -> io::Result<()> {
    let now = TimeSpec::UTIME_NOW;
    Ok(nix::sys::stat::utimensat(AT_FDCWD, path, &now, &now, UtimensatFlags::FollowSymlink)?)
}

/// Copies a file to a name from which it is never changed again, and which only its owner may run.
///
/// # Errors
/// Fails with the error of the system.
pub(crate) fn stage(from: &mut File, to: &Path) -> io::Result<()> {
    let new = to.with_extension(format!("{}.new", process_id::mark()));
    let mut copy = || {
        let mut copy = OpenOptions::new().write(true).create_new(true).mode(0o500).open(&new)?;
        io::copy(from, &mut copy)?;
        copy.set_permissions(fs::Permissions::from_mode(0o500))?;
        copy.sync_all()?;
        fs::rename(&new, to)
    };
    let copied = copy();
    let _ = fs::remove_file(&new);
    copied
}

#[cfg(test)]
mod tests {
    use std::time::SystemTime;

    use super::*;

    fn place(batch: &str, element: u32) -> Place {
        Place { batch: batch.into(), element }
    }

    fn directory() -> (tempfile::TempDir, SharedDirectory) {
        let scratch = tempfile::tempdir().unwrap();
        let directory = SharedDirectory::open(&scratch.path().join("shared")).unwrap();
        (scratch, directory)
    }

    #[test]
    fn first_element_holds_the_key_until_it_is_replaced() {
        let (_scratch, directory) = directory();
        let key = Digest::hash(b"key");
        let [first, second, third] = [place("a", 1), place("b", 20), place("c", 0)];
        assert_eq!(directory.read_key(&key).unwrap(), None);
        assert_eq!(directory.claim_key(&key, &place("a", 1)).unwrap(), first);
        assert_eq!(directory.claim_key(&key, &place("b", 20)).unwrap(), first);
        assert_eq!(directory.replace_key(&key, &second, &third).unwrap(), Err(Some(first.clone())));
        assert_eq!(directory.replace_key(&key, &first, &second).unwrap(), Ok(()));
        assert!(!directory.remove_key(&key, &first).unwrap());
        assert_eq!(directory.read_key(&key).unwrap(), Some(second.clone()));
        assert!(directory.remove_key(&key, &second).unwrap());
        assert_eq!(directory.read_key(&key).unwrap(), None);
        let files = fs::read_dir(directory.key(&key).parent().unwrap()).unwrap().count();
        assert_eq!(files, 0, "temporary files are removed");
    }

    #[test]
    fn one_of_many_threads_gets_the_key() {
        let (_scratch, directory) = directory();
        let key = Digest::hash(b"key");
        let holders: Vec<_> = std::thread::scope(|scope| {
            let claims: Vec<_> = (0..8)
                .map(|at| {
                    scope.spawn({
                        let directory = &directory;
                        move || directory.claim_key(&key, &place("a", at))
                    })
                })
                .collect();
            claims.into_iter().map(|claim| claim.join().unwrap().unwrap()).collect()
        });
        assert!(holders.iter().all(|holder| *holder == holders[0]), "{holders:?}");
    }

    #[test]
    fn first_outcome_stays() {
        let (_scratch, directory) = directory();
        directory.create_batch("a", b"calls", b"script", "me").unwrap();
        let outcome = |text: &'static [u8]| Outcome::of(Ok(Bytes::from_static(text))).to_bytes().unwrap();
        directory.write_outcome(&place("a", 0), &outcome(b"first")).unwrap();
        directory.write_outcome(&place("a", 0), &outcome(b"second")).unwrap();
        assert_eq!(directory.outcome(&place("a", 0)).unwrap().result.unwrap(), "first");
    }

    #[test]
    fn listing_tells_what_elements_have_done() {
        let (_scratch, directory) = directory();
        directory.create_batch("a", b"calls", b"script", "me").unwrap();
        assert!(!directory.has_started(&place("a", 3)));
        let started = directory.start(&place("a", 3), 1).unwrap();
        directory.write_outcome(&place("a", 12), b"x").unwrap();
        fs::write(directory.batch("a").join("state/3.exit.1"), "77\n").unwrap();
        fs::write(directory.batch("a").join("state/3.exit.1.new"), "7").unwrap();
        let mut files = directory.list("a").unwrap();
        files.sort_by_key(|(element, file)| (*element, matches!(file, StateFile::Exit(_))));
        assert_eq!(files, [(3, StateFile::Started(1)), (3, StateFile::Exit(1)), (12, StateFile::Outcome)]);
        assert_eq!(directory.exit(&place("a", 3), 1), Some(77));
        assert!(directory.has_started(&place("a", 3)) && !directory.has_started(&place("a", 1)));
        assert!(directory.heartbeat(&place("a", 3), 1).unwrap() < Duration::from_mins(1));
        let long_ago = SystemTime::now() - Duration::from_hours(1);
        File::options().write(true).open(&started).unwrap().set_modified(long_ago).unwrap();
        assert!(directory.heartbeat(&place("a", 3), 1).unwrap() > Duration::from_mins(50));
        touch(&started).unwrap();
        assert!(directory.heartbeat(&place("a", 3), 1).unwrap() < Duration::from_mins(1));
    }

    #[test]
    fn end_of_stderr_is_at_most_four_kilobytes() {
        let (_scratch, directory) = directory();
        directory.create_batch("a", b"calls", b"script", "me").unwrap();
        assert_eq!(directory.stderr(&place("a", 0)), "");
        fs::write(directory.batch("a").join("log/0.err"), "x".repeat(10_000) + "end").unwrap();
        let tail = directory.stderr(&place("a", 0));
        assert!(tail.len() == 4096 && tail.ends_with("end"));
    }

    #[test]
    fn directory_that_others_can_write_to_is_refused() {
        let scratch = tempfile::tempdir().unwrap();
        fs::set_permissions(scratch.path(), fs::Permissions::from_mode(0o777)).unwrap();
        let why = SharedDirectory::open(scratch.path()).unwrap_err().to_string();
        assert!(why.contains("chmod"), "{why}");
    }
}
