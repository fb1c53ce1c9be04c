//! The operations on the trees of a database. Damaged entries are moved to the tree `damaged`, where users can inspect them
//! and no lookup finds them.

use std::ops::Bound;

use bytes::Bytes;
use fleche_core::{
    CallKey, Digest, Query, Record, Result,
    store::{
        Entries, StorePair,
        kit::{Change, Entry, KeyValueEngine, Kind, MAX_QUARANTINED, Put, Stored, quarantined},
    },
};
use sled::{IVec, Tree};

use crate::{
    SledCallsConfig, SledValuesConfig,
    calls::{call_of, fingerprints, may_match, row_key, row_prefix},
    database::Database,
};

impl KeyValueEngine for Database {
    const FATE_OF_DAMAGED: &'static str = "it was moved to the tree `damaged`";

    fn get(&self, entry: Entry) -> Result<Option<Bytes>> {
        Ok(self.run(|| self.tree(entry.kind).get(entry.digest.as_bytes()))?.map(Bytes::from_owner))
    }

    fn contains(&self, entry: Entry) -> Result<bool> {
        self.run(|| self.tree(entry.kind).contains_key(entry.digest.as_bytes()))
    }

    fn put_time(&self, id: &Digest) -> Result<Option<u64>> {
        self.run(|| if self.values.contains_key(id.as_bytes())? { self.time(id) } else { Ok(None) })
    }

    fn update<'c>(&self, entry: Entry, decide: impl FnOnce(Option<Stored<'_>>) -> Change<'c>) -> Result<bool> {
        self.change(&entry.digest, || {
            let before = self.tree(entry.kind).get(entry.digest.as_bytes())?;
            let time = if entry.kind == Kind::Value { self.time(&entry.digest)? } else { None };
            match decide(before.as_deref().map(|bytes| Stored { bytes, time })) {
                Change::Keep => return Ok(Ok(false)),
                Change::Put(put) => {
                    if let Err(error) = self.check_size(put.bytes.len()) {
                        return Ok(Err(error));
                    }
                    self.put(entry, before, put)?;
                }
                Change::Remove => self.remove(entry)?,
                Change::Quarantine => {
                    if let Some(kept) = quarantined(entry, before.as_deref().unwrap_or_default()) {
                        self.damaged.insert(self.sled.generate_id()?.to_be_bytes(), kept)?;
                        while self.damaged.len() > MAX_QUARANTINED && self.damaged.pop_min()?.is_some() {}
                    }
                    self.tree(entry.kind).remove(entry.digest.as_bytes())?;
                }
            }
            Ok(Ok(true))
        })?
    }

    fn keys(&self, kind: Kind, (first, last): (Bound<Digest>, Bound<Digest>), max: usize) -> Result<Vec<Digest>> {
        let bytes = |digest: Digest| *digest.as_bytes();
        let entries = self.tree(kind).range((first.map(bytes), last.map(bytes))).keys();
        let digest = |key: IVec| Some(Digest::from_bytes(*key.first_chunk()?));
        self.run(|| entries.filter_map(|key| key.map(digest).transpose()).take(max).collect())
    }

    fn candidates<'a>(&'a self, query: &'a Query) -> Result<Option<Entries<'a, CallKey>>> {
        let Some(function) = query.function_name() else { return Ok(None) };
        let mut rows = self.calls.scan_prefix(row_prefix(function));
        let next = move || self.run(|| rows.next().transpose()).transpose();
        Ok(Some(Box::new(std::iter::from_fn(next).filter_map(move |row| match row {
            Ok((row, fingerprints)) if may_match(query, &fingerprints) => call_of(&row).map(Ok),
            Ok(_) => None,
            Err(error) => Some(Err(error)),
        }))))
    }

    fn sync(&self) -> Result<()> {
        Self::sync(self)
    }

    fn configs(&self) -> StorePair {
        (Box::new(SledValuesConfig::new(&self.path)), Box::new(SledCallsConfig::new(&self.path)))
    }
}

impl Database {
    fn tree(&self, kind: Kind) -> &Tree {
        match kind {
            Kind::Value => &self.values,
            Kind::Record => &self.records,
        }
    }

    fn time(&self, id: &Digest) -> sled::Result<Option<u64>> {
        let time = self.ages.get(id.as_bytes())?;
        Ok(time.and_then(|time| time.first_chunk().map(|time| u64::from_be_bytes(*time))))
    }

    fn put(&self, entry: Entry, before: Option<IVec>, put: Put<'_>) -> sled::Result<()> {
        let key = entry.digest.as_bytes();
        if entry.kind == Kind::Value {
            // The age comes first, so that a kill between the two writes leaves no value without an age.
            self.ages.insert(key, &put.time.to_be_bytes())?;
            if before.is_none_or(|before| before.len() != put.bytes.len()) {
                self.values.insert(key, put.bytes)?;
            }
            return Ok(());
        }
        // The row comes first: a kill between the two writes leaves a row without a record, which `find` skips.
        if let Some(record) = put.record {
            self.calls.insert(row_key(&record.function.name, &entry.digest), fingerprints(record))?;
        }
        self.records.insert(key, put.bytes).map(drop)
    }

    fn remove(&self, entry: Entry) -> sled::Result<()> {
        let key = entry.digest.as_bytes();
        if entry.kind == Kind::Value {
            self.values.remove(key)?;
            return self.ages.remove(key).map(drop);
        }
        let before = self.records.remove(key)?;
        // The row of a damaged record is unknown: it stays, and leads to no record or to its replacement.
        if let Some(Ok(Some(record))) = before.map(|before| Record::from_bytes(&entry.digest.into(), &before)) {
            self.calls.remove(row_key(&record.function.name, &entry.digest))?;
        }
        Ok(())
    }
}
