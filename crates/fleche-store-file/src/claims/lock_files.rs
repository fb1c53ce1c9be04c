//! A lock file for each claim, for systems whose open file descriptions cannot lock single bytes.
//!
//! The process that has locked the file named for the claim holds the claim. A process that has locked a file that has
//! lost this name since holds nothing and starts over. The claim holder removes the file before it unlocks it, so only
//! killed processes leave such files behind.

use std::{
    fs::{self, File, TryLockError},
    io::{self, ErrorKind},
    os::unix::fs::{FileExt, MetadataExt},
    path::{Path, PathBuf},
    process,
    sync::Arc,
    time::SystemTime,
};

use fleche_core::{
    CallKey, Error,
    claim::{Claim, ClaimGuard, ClaimHolder, ContendedClaim},
    spi::{process_id::Process, written_file},
};

use super::{
    claim_info::{ClaimInfo, SIZE},
    lock_waits::{self, Finish, OnAcquired, Wait},
};
use crate::temp_files::create_directory;

const DIRECTORY: &str = "claims";

/// Requests the claim.
pub(super) fn claim(root: &Path, key: &CallKey, shared: bool) -> io::Result<Claim> {
    let request = ClaimRequest { key: *key, path: path(root, key), shared };
    Ok(match request.try_lock()? {
        Some(held) => Claim::Held(Arc::new(held)),
        None => Claim::Taken(Box::new(request)),
    })
}

/// Returns the claim holder, if it is known.
pub(super) fn claim_holder(root: &Path, key: &CallKey, shared: bool) -> io::Result<Option<ClaimHolder>> {
    let file = match written_file::open(&path(root, key), false, shared) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        file => file?,
    };
    match file.try_lock_shared() {
        Err(TryLockError::WouldBlock) => {}
        // The claim is free. A process that requests it at this very moment has to wait until this lock is released.
        Ok(()) => return Ok(None),
        Err(TryLockError::Error(error)) => return Err(error),
    }
    let mut bytes = [0; SIZE];
    let length = file.read_at(&mut bytes, 0)?;
    Ok(ClaimInfo::from_bytes(&bytes[..length]).filter(|holder| holder.is_of(key, 0)).map(ClaimInfo::into_claim_holder))
}

fn path(root: &Path, key: &CallKey) -> PathBuf {
    root.join(DIRECTORY).join(key.to_string())
}

struct ClaimRequest {
    key: CallKey,
    path: PathBuf,
    shared: bool,
}

impl ClaimRequest {
    fn try_lock(&self) -> io::Result<Option<LockedFile>> {
        loop {
            let file = self.open()?;
            match file.try_lock() {
                Ok(()) => {}
                Err(TryLockError::WouldBlock) => return Ok(None),
                Err(TryLockError::Error(error)) => return Err(error),
            }
            if self.still_has_name(&file)? {
                return Ok(Some(LockedFile::new(self, file)));
            }
        }
    }

    fn lock(&self) -> io::Result<LockedFile> {
        loop {
            let file = self.open()?;
            match file.lock() {
                Err(error) if error.kind() == ErrorKind::Interrupted => continue,
                locked => locked?,
            }
            if self.still_has_name(&file)? {
                return Ok(LockedFile::new(self, file));
            }
        }
    }

    fn open(&self) -> io::Result<File> {
        let open = || written_file::open(&self.path, true, self.shared);
        match open() {
            Err(error) if error.kind() == ErrorKind::NotFound => {
                create_directory(self.path.parent().unwrap_or(&self.path), self.shared)?;
                open()
            }
            file => file,
        }
    }

    fn still_has_name(&self, file: &File) -> io::Result<bool> {
        let own = file.metadata()?;
        match fs::metadata(&self.path) {
            Ok(current) => Ok((current.dev(), current.ino()) == (own.dev(), own.ino())),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(false),
            Err(error) => Err(error),
        }
    }
}

impl ContendedClaim for ClaimRequest {
    fn when_acquired(self: Box<Self>, on_acquired: OnAcquired) {
        lock_waits::wait(Box::new(ClaimWait { request: *self, on_acquired: Some(on_acquired), acquired: None }));
    }
}

struct ClaimWait {
    request: ClaimRequest,
    on_acquired: Option<OnAcquired>,
    acquired: Option<io::Result<LockedFile>>,
}

impl Wait for ClaimWait {
    fn block(&mut self) {
        self.acquired = Some(self.request.lock());
    }

    fn try_now(&mut self) -> Option<Finish> {
        let acquired = self.acquired.take().or_else(|| self.request.try_lock().transpose())?;
        Some(self.finish(acquired))
    }

    fn fail(&mut self, error: io::Error) -> Finish {
        self.finish(Err(error))
    }
}

impl ClaimWait {
    fn finish(&mut self, acquired: io::Result<LockedFile>) -> Finish {
        let held =
            acquired.map(|held| Arc::new(held) as Arc<dyn ClaimGuard>).map_err(Error::io("lock", &self.request.path));
        let on_acquired = self.on_acquired.take();
        Box::new(move || {
            if let Some(on_acquired) = on_acquired {
                on_acquired(held);
            }
        })
    }
}

struct LockedFile {
    key: CallKey,
    path: PathBuf,
    file: File,
    process: Process,
    since: SystemTime,
}

impl LockedFile {
    fn new(request: &ClaimRequest, file: File) -> Self {
        let (key, path) = (request.key, request.path.clone());
        let held = Self { key, path, file, process: Process::this(), since: SystemTime::now() };
        held.publish_waits(Some(&[]));
        held
    }

    /// Returns whether this is a forked child process, which has a copy of a claim that its parent still holds.
    fn is_inherited(&self) -> bool {
        self.process.id != process::id()
    }
}

impl ClaimGuard for LockedFile {
    fn publishes(&self) -> bool {
        true
    }

    fn publish_waits(&self, keys: Option<&[CallKey]>) {
        if self.is_inherited() {
            return;
        }
        let published = ClaimInfo::new(&self.key, 0, &self.process, self.since, keys);
        let bytes = published.to_bytes();
        let written = written_file::check_limit(bytes.len() as u64).and_then(|()| self.file.write_all_at(&bytes, 0));
        if let Err(error) = written {
            tracing::debug!("cannot write the claim holder to `{}`: {error}", self.path.display());
        }
    }
}

impl Drop for LockedFile {
    fn drop(&mut self) {
        if !self.is_inherited()
            && let Err(error) = fs::remove_file(&self.path)
        {
            // The next process locks this file instead of a new one.
            tracing::debug!("cannot remove `{}`: {error}", self.path.display());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use fleche_core::Digest;
    use std::{
        sync::{
            atomic::{AtomicBool, Ordering},
            mpsc,
        },
        thread,
        time::Duration,
    };
    use tempfile::TempDir;

    const TIMEOUT: Duration = Duration::from_mins(2);

    fn key(number: u32) -> CallKey {
        Digest::hash(&number.to_le_bytes()).into()
    }

    fn root() -> TempDir {
        tempfile::tempdir().unwrap()
    }

    fn held(root: &TempDir, number: u32) -> Arc<dyn ClaimGuard> {
        match claim(root.path(), &key(number), false).unwrap() {
            Claim::Held(held) => held,
            other => panic!("{other:?}"),
        }
    }

    fn taken(root: &TempDir, number: u32) -> Box<dyn ContendedClaim> {
        match claim(root.path(), &key(number), false).unwrap() {
            Claim::Taken(taken) => taken,
            other => panic!("{other:?}"),
        }
    }

    fn get(taken: Box<dyn ContendedClaim>) -> mpsc::Receiver<Arc<dyn ClaimGuard>> {
        let (sender, receiver) = mpsc::channel();
        taken.when_acquired(Box::new(move |held| sender.send(held.unwrap()).unwrap()));
        receiver
    }

    #[test]
    fn claim_is_exclusive_until_it_is_dropped() {
        let root = root();
        let first = held(&root, 1);
        let other = held(&root, 2);
        taken(&root, 1);
        drop(first);
        drop(held(&root, 1));
        drop(other);
        assert_eq!(fs::read_dir(root.path().join(DIRECTORY)).unwrap().count(), 0);
    }

    #[test]
    fn waiter_acquires_claim_when_it_is_released() {
        let root = root();
        let first = held(&root, 1);
        let waiting = get(taken(&root, 1));
        assert!(waiting.try_recv().is_err());
        drop(first);
        let second = waiting.recv_timeout(TIMEOUT).unwrap();
        taken(&root, 1);
        drop(second);
        drop(held(&root, 1));
    }

    #[test]
    fn locked_file_without_its_name_is_not_a_claim() {
        let root = root();
        let lost = held(&root, 1);
        fs::remove_file(path(root.path(), &key(1))).unwrap();
        let request = ClaimRequest { key: key(1), path: path(root.path(), &key(1)), shared: false };
        let now = request.open().unwrap();
        assert!(request.still_has_name(&now).unwrap());
        fs::rename(&request.path, root.path().join("elsewhere")).unwrap();
        assert!(!request.still_has_name(&now).unwrap());
        drop(held(&root, 1));
        drop(lost);
    }

    #[test]
    fn threads_hold_the_claim_one_at_a_time() {
        let root = root();
        let turn = AtomicBool::new(false);
        thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    for _ in 0..100 {
                        let held = match claim(root.path(), &key(1), false).unwrap() {
                            Claim::Held(held) => held,
                            Claim::Taken(taken) => get(taken).recv_timeout(TIMEOUT).unwrap(),
                            Claim::WithinProcess => panic!("locks are not supported here"),
                        };
                        assert!(!turn.swap(true, Ordering::SeqCst));
                        turn.store(false, Ordering::SeqCst);
                        drop(held);
                    }
                });
            }
        });
        assert_eq!(fs::read_dir(root.path().join(DIRECTORY)).unwrap().count(), 0);
    }

    #[test]
    fn holder_is_known_while_it_holds_the_claim() {
        let root = root();
        assert_eq!(claim_holder(root.path(), &key(1), false).unwrap(), None);
        let claim = held(&root, 1);
        claim.publish_waits(Some(&[key(2)]));
        let known = claim_holder(root.path(), &key(1), false).unwrap().unwrap();
        assert_eq!((known.process, known.waiting_on), (process::id(), Some(vec![key(2)])));
        drop(claim);
        assert_eq!(claim_holder(root.path(), &key(1), false).unwrap(), None);
    }
}
