//! `ByteLocks`: claims as locked bytes of one file, with locks that belong to an open file description.
//!
//! The key of a call determines eight bytes of the file ([`lock_levels`]). The process that has locked one of them holds the
//! claim. Another process that wants it has a thread block on that byte ([`lock_waits`](super::lock_waits)). The system
//! releases the lock when the claim holder unlocks it or dies, and the waiter acquires it. Within one process, the locks do not
//! exclude each other, so [`ClaimTable`] hands a claim from one thread to the next.

mod lock_file;
mod lock_levels;
mod table;

use std::{
    fs,
    io::{self, ErrorKind},
    path::Path,
    sync::{Arc, Mutex, MutexGuard},
};

use fleche_core::{
    CallKey,
    claim::{Claim, ClaimHolder},
    spi::LockResultExt,
};

use self::{lock_file::LockFile, table::ClaimTable};

const NAME: &str = ".fleche-claims";

/// The lock file of one directory, once a claim has been requested.
#[derive(Default)]
pub(super) struct ByteLocks(Mutex<Option<Arc<ClaimTable>>>);

impl ByteLocks {
    /// Requests the claim.
    pub(super) fn claim(&self, root: &Path, key: &CallKey, shared: bool) -> io::Result<Claim> {
        match self.table(root, true, shared)? {
            Some(table) => table.claim(key),
            None => Ok(Claim::WithinProcess),
        }
    }

    /// Returns the claim holder, if it is known.
    pub(super) fn claim_holder(&self, root: &Path, key: &CallKey, shared: bool) -> io::Result<Option<ClaimHolder>> {
        self.table(root, false, shared)?.map_or(Ok(None), |table| table.claim_holder(key))
    }

    fn table(&self, root: &Path, create: bool, shared: bool) -> io::Result<Option<Arc<ClaimTable>>> {
        // Other processes do not see claims in a removed file, so new claims need a new file. Claims that are held keep
        // the old one.
        let is_good = |table: &Arc<ClaimTable>| !(create && table.file.is_removed());
        let open = self.open().clone();
        if open.as_ref().is_some_and(is_good) {
            return Ok(open);
        }
        let mut open = self.open();
        if !open.as_ref().is_some_and(is_good) {
            *open = open_or_create(root, create, shared)?.map(|file| Arc::new(ClaimTable::new(file)));
        }
        Ok(open.clone())
    }

    fn open(&self) -> MutexGuard<'_, Option<Arc<ClaimTable>>> {
        self.0.lock().ignore_poison()
    }
}

fn open_or_create(root: &Path, create: bool, shared: bool) -> io::Result<Option<LockFile>> {
    let path = root.join(NAME);
    match LockFile::open(&path, create, shared) {
        Err(error) if error.kind() == ErrorKind::NotFound => {
            fs::create_dir_all(root)?;
            LockFile::open(&path, create, shared)
        }
        file => file,
    }
}
