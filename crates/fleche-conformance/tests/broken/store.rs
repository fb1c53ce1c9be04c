//! A store for values and for records, which is sound except for one given fault, and `backend!`: a backend of such stores.

use std::{
    collections::HashSet,
    path::{Path, PathBuf},
    sync::{Arc, Mutex},
    thread,
    time::Duration,
};

use bytes::Bytes;
use fleche_core::{
    CallKey, CallStore, Digest, DigestPrefix, Error, Query, Record, Result, ValueStore,
    call::RecordFields,
    claim::{Claim, ClaimGuard, ContendedClaim, OnAcquired},
    store::{CallStoreConfig, Check, Entries, Reach, ValueStoreConfig, whole},
};
use serde::{Deserialize, Serialize};

use super::directory::Directory;

#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) enum Fault {
    None,
    LosesSomePuts,
    LosesEveryPut,
    ReturnsWrongBytes,
    ForgetsRefresh,
    RefreshRacesRemoval,
    ListsTwice,
    ListsNothingForFullPrefix,
    IgnoresAgeOnRemoval,
    ErrsOnAbsence,
    ReadsUnverified,
    ForgetsCheck,
    NeverRepairs,
    LeavesDamageInPlace,
    FirstWriterWins,
    IgnoresOnly,
    CompareRacesPut,
    DropsUnknownFields,
    FindIgnoresTime,
    FindEndsAtDamage,
    ReportsLaterFormatsAsDamage,
    RemovesForTwo,
    ForgetsOnClose,
    LosesFaultInConfig,
    UndoesRemovals,
    FirstWriterWinsOverDamage,
    PanicsAtDamage,
    RefusesDamage,
    KeepsClaims,
    ReadsWhenItOpens,
    StoresHex,
    Panics,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Config {
    #[serde(with = "fleche_core::store::portable_path")]
    pub(crate) root: PathBuf,
    pub(crate) fault: Fault,
}

impl PartialEq for Config {
    fn eq(&self, other: &Self) -> bool {
        self.fault != Fault::LosesFaultInConfig && (&self.root, self.fault) == (&other.root, other.fault)
    }
}

impl Config {
    fn store(&self) -> Result<Arc<Broken>> {
        let root = match self.fault {
            // Each time it is opened, it uses a new directory.
            Fault::ForgetsOnClose => {
                let count = std::fs::read_dir(&self.root).map_or(0, Iterator::count);
                self.root.join(count.to_string())
            }
            _ => self.root.clone(),
        };
        if self.fault == Fault::UndoesRemovals {
            Directory::undo_removals(&root);
        }
        let directory = Directory::open(&root)?;
        let known = match self.fault {
            Fault::ReadsWhenItOpens => Some(directory.list(&DigestPrefix::all())?.collect::<Result<_>>()?),
            _ => None,
        };
        Ok(Arc::new(Broken { config: self.clone(), directory, known: known.map(Mutex::new) }))
    }
}

impl Config {
    fn unless_damaged(&self, is_whole: impl Fn(&Digest, Vec<u8>) -> bool) -> Result<Arc<Broken>> {
        let store = self.store()?;
        if self.fault == Fault::RefusesDamage {
            for id in store.directory.list(&DigestPrefix::all())? {
                let id = id?;
                if !store.directory.read(&id)?.is_some_and(|bytes| is_whole(&id, bytes)) {
                    return Err(store.damaged(&id, "and with it the store"));
                }
            }
        }
        Ok(store)
    }
}

#[typetag::serde(name = "broken")]
impl ValueStoreConfig for Config {
    fn open(&self) -> Result<Arc<dyn ValueStore>> {
        Ok(self.unless_damaged(|id, bytes| whole(id, bytes.into()).is_ok())?)
    }
    fn reach(&self) -> Reach {
        Reach::Shared
    }
}

#[typetag::serde(name = "broken")]
impl CallStoreConfig for Config {
    fn open(&self) -> Result<Arc<dyn CallStore>> {
        Ok(self.unless_damaged(|id, bytes| Record::from_bytes(&CallKey::from(*id), &bytes).is_ok())?)
    }
    fn reach(&self) -> Reach {
        Reach::Shared
    }
}

/// A claim that is never released.
struct Kept;

impl ClaimGuard for Kept {}

impl ContendedClaim for Kept {
    fn when_acquired(self: Box<Self>, then: OnAcquired) {
        // Dropping the callback would tell the waiting thread that it will never be called.
        std::mem::forget(then);
    }
}

#[derive(Debug)]
struct Broken {
    config: Config,
    directory: Arc<Directory>,
    /// The entries it knows of, if it reads the directory only once.
    known: Option<Mutex<HashSet<Digest>>>,
}

impl Broken {
    fn has(&self, fault: Fault) -> bool {
        self.config.fault == fault
    }

    fn knows(&self, id: &Digest) -> bool {
        self.known.as_ref().is_none_or(|known| known.lock().unwrap().contains(id))
    }

    fn write(&self, id: &Digest, bytes: &[u8]) -> Result<()> {
        if let Some(known) = &self.known {
            known.lock().unwrap().insert(*id);
        }
        if self.has(Fault::StoresHex) {
            let digit = |half: u8| b"0123456789abcdef"[usize::from(half)];
            let text: Vec<u8> = bytes.iter().flat_map(|byte| [digit(byte >> 4), digit(byte & 15)]).collect();
            return self.directory.write(id, &text);
        }
        self.directory.write(id, bytes)
    }

    fn stored(&self, id: &Digest) -> Result<Option<Vec<u8>>> {
        let found = self.directory.read(id)?;
        if !self.has(Fault::StoresHex) {
            return Ok(found);
        }
        // An invalid hexadecimal number reads as the empty value, which fails verification.
        let byte = |pair: &[u8]| u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok();
        Ok(found.map(|text| text.chunks(2).map(byte).collect::<Option<_>>().unwrap_or_default()))
    }

    fn list(&self, prefix: &DigestPrefix) -> Result<Entries<'_, Digest>> {
        let twice = if self.has(Fault::ListsTwice) { 2 } else { 1 };
        if self.has(Fault::ListsNothingForFullPrefix) && prefix.as_str().len() == 64 {
            return Ok(Box::new(std::iter::empty()));
        }
        let ids = self.directory.list(prefix)?.map(Result::unwrap);
        Ok(Box::new(ids.flat_map(move |id| std::iter::repeat_n(id, twice).map(Ok))))
    }

    fn damaged(&self, id: &Digest, why: &str) -> Error {
        assert!(!self.has(Fault::PanicsAtDamage), "the store panics at damage");
        if !self.has(Fault::LeavesDamageInPlace) && !self.has(Fault::FirstWriterWinsOverDamage) {
            let _changing = self.directory.lock();
            self.directory.delete(id);
        }
        Error::Damaged { entry: format!("{id}"), why: why.into() }
    }

    fn remove_if(&self, id: &Digest, race: Fault, condition: impl Fn() -> bool) -> bool {
        if self.has(race) || self.has(Fault::RemovesForTwo) {
            let found = condition();
            (0..50).for_each(|_| thread::yield_now());
            return found && (self.directory.delete(id) || self.has(Fault::RemovesForTwo));
        }
        let _changing = self.directory.lock();
        if self.has(Fault::UndoesRemovals) {
            return condition() && self.directory.move_away(id);
        }
        condition() && self.directory.delete(id)
    }
}

impl ValueStore for Broken {
    fn read(&self, id: &Digest, check: Check<'_>) -> Result<Option<Bytes>> {
        let Some(bytes) = self.stored(id)? else {
            return if self.has(Fault::ErrsOnAbsence) { Err(self.damaged(id, "it is not there")) } else { Ok(None) };
        };
        assert!(!self.has(Fault::Panics), "the store panics");
        if self.has(Fault::ReturnsWrongBytes) && bytes.len() > 1000 {
            let mut bytes = bytes;
            bytes[1000] ^= 1;
            return Ok(Some(bytes.into()));
        }
        if self.has(Fault::ReadsUnverified) {
            return Ok(Some(bytes.into()));
        }
        let check = if self.has(Fault::ForgetsCheck) { &|bytes| whole(id, bytes) } else { check };
        check(bytes.into()).map(Some).map_err(|why| self.damaged(id, &why))
    }

    fn put(&self, id: &Digest, encoded: &[u8]) -> Result<()> {
        let _changing = self.directory.lock();
        let there = self.directory.contains(id);
        let lost = match self.config.fault {
            Fault::LosesSomePuts => id.as_bytes()[0].is_multiple_of(8),
            Fault::LosesEveryPut => true,
            _ => false,
        };
        let kept = [Fault::ForgetsRefresh, Fault::NeverRepairs, Fault::FirstWriterWinsOverDamage];
        let kept = there && kept.contains(&self.config.fault);
        if lost || kept { Ok(()) } else { self.write(id, encoded) }
    }

    fn contains(&self, id: &Digest) -> Result<bool> {
        Ok(self.directory.contains(id) && self.knows(id))
    }

    fn age(&self, id: &Digest) -> Result<Option<Duration>> {
        Ok(self.directory.age(id))
    }

    fn remove(&self, id: &Digest, older_than: Option<Duration>) -> Result<bool> {
        let older_than = older_than.filter(|_| !self.has(Fault::IgnoresAgeOnRemoval));
        let old = || self.directory.age(id).is_some_and(|age| older_than.is_none_or(|limit| age > limit));
        Ok(self.remove_if(id, Fault::RefreshRacesRemoval, old))
    }

    fn ids(&self, prefix: &DigestPrefix) -> Result<Entries<'_, Digest>> {
        self.list(prefix)
    }

    fn config(&self) -> Box<dyn ValueStoreConfig> {
        Box::new(self.config.clone())
    }
}

impl CallStore for Broken {
    fn get(&self, key: &CallKey) -> Result<Option<Record>> {
        let Some(mut bytes) = self.stored(key.digest())? else { return Ok(None) };
        if self.has(Fault::ReadsUnverified) {
            // The checksum is recomputed for the bytes that were read.
            let map = bytes.len().saturating_sub(16);
            bytes.truncate(map);
            let mut sum = [0; 16];
            blake3::Hasher::new().update(key.digest().as_bytes()).update(&bytes).finalize_xof().fill(&mut sum);
            bytes.extend(sum);
        }
        match Record::from_bytes(key, &bytes) {
            Ok(None) if self.has(Fault::ReportsLaterFormatsAsDamage) => {
                Err(self.damaged(key.digest(), "it was damaged"))
            }
            Ok(record) => Ok(record),
            Err(_) => Err(self.damaged(key.digest(), "it was damaged")),
        }
    }

    fn put(&self, key: &CallKey, record: &Record) -> Result<()> {
        let _changing = self.directory.lock();
        let there = self.directory.contains(key.digest());
        let keeps = [Fault::FirstWriterWins, Fault::NeverRepairs, Fault::FirstWriterWinsOverDamage];
        if there && keeps.contains(&self.config.fault) {
            return Ok(());
        }
        let mut fields: RecordFields = (**record).clone();
        if self.has(Fault::DropsUnknownFields) {
            fields.other.clear();
        }
        self.write(key.digest(), &Record::new(fields).to_bytes(key)?)
    }

    fn contains(&self, key: &CallKey) -> Result<bool> {
        Ok(self.directory.contains(key.digest()) && self.knows(key.digest()))
    }

    fn keys(&self, prefix: &DigestPrefix) -> Result<Entries<'_, CallKey>> {
        Ok(Box::new(self.list(prefix)?.map(|id| id.map(CallKey::from))))
    }

    fn remove(&self, key: &CallKey, only: Option<&Record>) -> Result<bool> {
        let only = only.filter(|_| !self.has(Fault::IgnoresOnly));
        let only = only.map(|record| record.to_bytes(key)).transpose()?;
        let same = || self.stored(key.digest()).unwrap().is_some_and(|is| only.as_ref().is_none_or(|o| *o == is));
        Ok(self.remove_if(key.digest(), Fault::CompareRacesPut, same))
    }

    fn find<'a>(&'a self, query: &'a Query) -> Result<Entries<'a, (CallKey, Record)>> {
        let mut records = Vec::new();
        for key in self.keys(&DigestPrefix::all())? {
            let key = key?;
            match CallStore::get(self, &key) {
                Err(error) if self.has(Fault::FindEndsAtDamage) => return Err(error),
                Err(error) => records.push(Err(error)),
                Ok(None) => {}
                Ok(Some(record)) => {
                    let ignored = self.has(Fault::FindIgnoresTime) && query.function_name().is_none();
                    if ignored || query.matches(&record) {
                        records.push(Ok((key, record)));
                    }
                }
            }
        }
        Ok(Box::new(records.into_iter()))
    }

    fn claim(&self, key: &CallKey) -> Result<Claim> {
        if !self.has(Fault::KeepsClaims) {
            return Ok(Claim::WithinProcess);
        }
        Ok(if self.directory.mark(key.digest()) { Claim::Held(Arc::new(Kept)) } else { Claim::Taken(Box::new(Kept)) })
    }

    fn config(&self) -> Box<dyn CallStoreConfig> {
        Box::new(self.config.clone())
    }
}

pub(crate) fn config(directory: &Path, kind: &str, fault: Fault) -> Config {
    Config { root: directory.join(kind), fault }
}

/// Creates the backend with this fault, which declares this reach, by default `Exclusive`.
macro_rules! backend {
    ($fault:ident) => {
        backend!($fault, Exclusive)
    };
    ($fault:ident, $reach:ident) => {
        backend!($fault, $reach, "broken")
    };
    ($fault:ident, $reach:ident, $name:literal) => {{
        static BACKEND: fleche_core::store::BackendInfo = fleche_core::store::BackendInfo {
            name: $name,
            summary: "a store with a fault",
            reach: fleche_core::store::Reach::$reach,
            durable: true,
            module: module_path!(),
            scratch: |directory| {
                let config = |kind| {
                    Box::new($crate::broken::store::config(directory, kind, $crate::broken::store::Fault::$fault))
                };
                (config("values"), config("calls"))
            },
        };
        &BACKEND
    }};
}
pub(crate) use backend;
