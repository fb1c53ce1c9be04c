//! Reading: from a snapshot that is kept from one commit to the next, and always verified.

use std::sync::{Arc, PoisonError};

use bytes::Bytes;
use fleche_core::{CallKey, Digest, Error, Record, Result, store::Check};
use redb::ReadableDatabase as _;

use crate::{
    Durability,
    database::{Database, Inner},
    error::{backend, caught, damaged},
    index::RowKey,
    operation::{Kind, Operation, Outcome, divide},
    tables::Snapshot,
};

/// How often an entry that seems damaged is looked at again, where somebody keeps replacing it.
const LOOKS: usize = 3;

impl Inner {
    /// What `run` finds in what was committed last. It must not take long: meanwhile what commits free is not used again.
    pub(crate) fn read<T>(&self, run: impl FnOnce(&Snapshot) -> Result<T, redb::Error>) -> Result<T> {
        caught(|| {
            let redb = self.redb.read().unwrap_or_else(PoisonError::into_inner);
            let snapshot = {
                let mut kept = self.snapshot.lock().unwrap_or_else(PoisonError::into_inner);
                match &*kept {
                    Some(snapshot) => Arc::clone(snapshot),
                    // Made under the lock: a commit meanwhile would find it there afterwards, and put an end to it.
                    None => Arc::clone(kept.insert(Arc::new(Snapshot::new(&redb.begin_read()?)?))),
                }
            };
            run(&snapshot)
        })
        .map_err(|error| backend(&self.path, &error))
    }

    /// Who reads from now on reads what is committed by now.
    pub(crate) fn renew_snapshot(&self) {
        let old = self.snapshot.lock().unwrap_or_else(PoisonError::into_inner).take();
        // Freed here, after the lock.
        drop(old);
    }
}

/// A record and where its row in the index is; the record is missing where it is of a later format.
pub(crate) type Found = (RowKey, Option<Record>);

impl Database {
    /// What the check makes of the value's bytes. They are copied once.
    pub(crate) fn value(&self, id: &Digest, check: Check<'_>, durability: Durability) -> Result<Option<Bytes>> {
        for _ in 0..LOOKS {
            let bytes = self.inner.read(|snapshot| {
                let found = snapshot.values.get(id.as_bytes())?;
                Ok(found.map(|found| Bytes::copy_from_slice(found.value())))
            })?;
            let Some(bytes) = bytes else { return Ok(None) };
            match check(bytes.clone()) {
                Ok(content) => return Ok(Some(content)),
                Err(why) => self.set_aside(Kind::Value, id, bytes, &why, durability)?,
            }
        }
        Ok(None)
    }

    /// The record, decoded where it lies.
    pub(crate) fn record(&self, key: &CallKey, durability: Durability) -> Result<Option<Found>> {
        for _ in 0..LOOKS {
            let found = self.inner.read(|snapshot| {
                let Some(found) = snapshot.records.get(key.digest().as_bytes())? else { return Ok(None) };
                let stored = found.value();
                let record = match divide(stored) {
                    Some((row, bytes)) => Record::from_bytes(key, bytes).map(|record| (row, record)).map_err(why),
                    None => Err(format!("{} bytes are too few", stored.len())),
                };
                Ok(Some(record.map_err(|why| (why, Bytes::copy_from_slice(stored)))))
            })?;
            match found {
                None => return Ok(None),
                Some(Ok(found)) => return Ok(Some(found)),
                Some(Err((why, bytes))) => self.set_aside(Kind::Record, key.digest(), bytes, &why, durability)?,
            }
        }
        Ok(None)
    }

    /// Moves damaged bytes to where nobody is served them; nothing if others are there by now.
    ///
    /// # Errors
    /// [`Error::Damaged`] if they were there, moved or not.
    fn set_aside(&self, kind: Kind, digest: &Digest, bytes: Bytes, why: &str, durability: Durability) -> Result<()> {
        let entry = match kind {
            Kind::Value => format!("value {digest}"),
            Kind::Record => format!("the record of call {digest}"),
        };
        let fate = match self.perform(&Operation::SetAside { kind, digest: *digest, bytes }, durability) {
            Ok(Outcome::Changed(0)) => return Ok(()),
            Ok(_) => "it is kept in the table `damaged`".to_owned(),
            Err(error) => format!("it stays where it is, for it cannot be moved: {error}"),
        };
        Err(damaged(&self.inner.path, &entry, why, &fate))
    }
}

fn why(error: Error) -> String {
    match error {
        Error::Damaged { why, .. } => why,
        other => other.to_string(),
    }
}
