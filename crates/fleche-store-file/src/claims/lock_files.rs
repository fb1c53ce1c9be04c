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
    claim::{Claim, Held, Owner, Taken},
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
pub(super) fn owner(root: &Path, key: &CallKey, shared: bool) -> io::Result<Option<Owner>> {
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
    Ok(ClaimInfo::from_bytes(&bytes[..length]).filter(|holder| holder.is_of(key, 0)).map(ClaimInfo::into_owner))
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
            Ok(there) => Ok((there.dev(), there.ino()) == (own.dev(), own.ino())),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(false),
            Err(error) => Err(error),
        }
    }
}

impl Taken for ClaimRequest {
    fn when_held(self: Box<Self>, on_acquired: OnAcquired) {
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
        let held = acquired.map(|held| Arc::new(held) as Arc<dyn Held>).map_err(Error::io("lock", &self.request.path));
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
        held.awaits(Some(&[]));
        held
    }

    /// Returns whether this is a forked child process, which has a copy of a claim that its parent still holds.
    fn is_inherited(&self) -> bool {
        self.process.id != process::id()
    }
}

impl Held for LockedFile {
    fn publishes(&self) -> bool {
        true
    }

    fn awaits(&self, keys: Option<&[CallKey]>) {
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
mod tests;
