//! `FileCalls`: records in a directory, in files named for the keys of their calls.

use std::path::Path;

use fleche_core::{
    CallKey, CallStore, DigestPrefix, Record, Result,
    call::RecordSummary,
    store::{
        CallStoreConfig, Entries,
        kit::{Handle, damage_reason},
    },
};

#[cfg(unix)]
use fleche_core::claim::{Claim, ClaimHolder};

use crate::{
    ClaimMethod, Durability, FileCallsConfig,
    directory::{Directory, Kind},
    error::is_too_long,
    read::{MAX_RECORD_LEN, read_file},
};

/// A [`CallStore`] in a directory, with one file per record. A clone is another handle to the same store.
///
/// A record of a later major format, written by a newer version of fleche, is left in place: `get` returns `None`,
/// `contains` returns `true`, and `remove` removes nothing. `put` refuses to replace it if a `get` in this process has
/// found it, which is the case before each computation; otherwise, the last writer wins.
#[derive(Clone, Debug)]
pub struct FileCalls {
    directory: Handle<Directory>,
    durability: Durability,
    shared: bool,
    claims: ClaimMethod,
}

impl FileCalls {
    /// Opens the store in this directory, creating the directory if it is missing.
    ///
    /// # Errors
    /// Fails with [`Error::Io`](fleche_core::Error::Io) if the directory cannot be created or accessed, and with
    /// [`Error::Config`](fleche_core::Error::Config) if it holds values.
    pub fn open(root: impl AsRef<Path>) -> Result<Self> {
        Self::open_with(&FileCallsConfig::new(root.as_ref()))
    }

    /// Opens the store that the configuration describes.
    ///
    /// # Errors
    /// Fails as [`open`](Self::open) does.
    pub fn open_with(config: &FileCallsConfig) -> Result<Self> {
        let FileCallsConfig { ref root, durability, shared, claims } = *config;
        Ok(Self { directory: Handle::new(Directory::open(root, Kind::Calls, shared)?), durability, shared, claims })
    }

    /// Returns the directory as an absolute path, as it was named when it was first opened.
    pub fn root(&self) -> &Path {
        &self.directory.opened().root
    }

    /// Returns the decoded record, or `None` if there is none or it has a later format, which the store then remembers.
    fn read<T>(&self, key: &CallKey, decode: fn(&CallKey, &[u8]) -> Result<Option<T>>) -> Result<Option<T>> {
        let read = self.directory.current()?.read(key.digest(), |bytes| decode(key, &bytes).map_err(damage_reason))?;
        if let Some(None) = read {
            self.directory.opened().later_records().insert(*key.digest());
        }
        Ok(read.flatten())
    }
}

impl CallStore for FileCalls {
    fn get(&self, key: &CallKey) -> Result<Option<Record>> {
        self.read(key, Record::from_bytes)
    }

    fn summary(&self, key: &CallKey) -> Result<Option<RecordSummary>> {
        self.read(key, Record::summary_from_bytes)
    }

    fn put(&self, key: &CallKey, record: &Record) -> Result<()> {
        let found_later = self.directory.current()?.later_records().contains(key.digest());
        if found_later && matches!(inspect(key, &self.directory.current()?.path(key.digest())), Ok(Inspected::Later)) {
            return Err(self.directory.name().later_format(key));
        }
        let bytes = record.to_bytes(key)?;
        if bytes.len() as u64 > MAX_RECORD_LEN {
            return Err(self.directory.name().refused_record(key, "store records of more than 64 MiB"));
        }
        self.directory.current()?.write(key.digest(), &bytes, self.durability, self.shared)
    }

    fn contains(&self, key: &CallKey) -> Result<bool> {
        self.directory.current()?.contains(key.digest())
    }

    fn keys(&self, prefix: &DigestPrefix) -> Result<Entries<'_, CallKey>> {
        Ok(Box::new(self.directory.current()?.list(prefix).map(|digest| digest.map(CallKey::from))))
    }

    fn remove(&self, key: &CallKey, only: Option<&Record>) -> Result<bool> {
        self.directory.current()?.remove_if(key.digest(), |path| {
            Ok(match inspect(key, path)? {
                Inspected::Absent | Inspected::Later => false,
                Inspected::Intact(record) => only.is_none_or(|only| record == *only),
                Inspected::Damaged => only.is_none(),
            })
        })
    }

    #[cfg(unix)]
    fn claim(&self, key: &CallKey) -> Result<Claim> {
        self.directory.current()?.claims.claim(&self.directory.opened().root, key, self.shared, self.claims)
    }

    #[cfg(unix)]
    fn claim_holder(&self, key: &CallKey) -> Result<Option<ClaimHolder>> {
        self.directory.current()?.claims.claim_holder(&self.directory.opened().root, key, self.shared, self.claims)
    }

    fn identity(&self) -> usize {
        self.directory.identity()
    }

    fn sync(&self, key: &CallKey) -> Result<()> {
        if self.durability == Durability::Never { Ok(()) } else { self.directory.current()?.sync(key.digest()) }
    }

    fn config(&self) -> Box<dyn CallStoreConfig> {
        Box::new(FileCallsConfig::new(self.root()).durability(self.durability).shared(self.shared).claims(self.claims))
    }
}

enum Inspected {
    Absent,
    Intact(Record),
    Later,
    Damaged,
}

/// Reads the file as a record of this key, without quarantining it if it is damaged.
fn inspect(key: &CallKey, path: &Path) -> Result<Inspected> {
    let bytes = match read_file(path, MAX_RECORD_LEN) {
        Ok(Some(bytes)) => bytes,
        Ok(None) => return Ok(Inspected::Absent),
        Err(error) if is_too_long(&error) => return Ok(Inspected::Damaged),
        Err(error) => return Err(error),
    };
    Ok(match Record::from_bytes(key, &bytes) {
        Ok(Some(record)) => Inspected::Intact(record),
        Ok(None) => Inspected::Later,
        Err(_) => Inspected::Damaged,
    })
}
