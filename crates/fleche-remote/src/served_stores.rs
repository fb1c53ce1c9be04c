//! The stores that a process serves, and how it performs the operations that arrive.

use std::sync::{Arc, Mutex, Weak};

use bytes::Bytes;
use fleche_core::{
    Cache, CallKey, CallStore, Digest, DigestPrefix, Error, Record, Result, ValueStore, encoding,
    spi::{CacheSpi, CallId, LockResultExt, WeakCache, catch_panic, is_timeout, log::Throttle},
    store::retry_if_reopened,
};
use serde::Serialize;

use crate::{
    claim_permits::{ClaimPermits, ServedCalls},
    frame::{self, Frame, Kind},
    operation::{Operation, ServedStore, status},
};

/// The stores that clients may use through their channel, for as long as they are in use in this process.
#[derive(Debug, Default)]
pub struct ServedStores {
    values: Mutex<Table<dyn ValueStore>>,
    calls: Mutex<Table<dyn CallStore>>,
    /// The number of each call store, with a cache of the store.
    caches: Mutex<Vec<(u64, WeakCache)>>,
}

#[derive(Debug)]
struct Table<S: ?Sized> {
    next: u64,
    stores: Vec<(u64, Weak<S>)>,
}

impl<S: ?Sized> Default for Table<S> {
    fn default() -> Self {
        Self { next: 0, stores: Vec::new() }
    }
}

impl<S: ?Sized> Table<S> {
    fn number(&mut self, store: &Arc<S>) -> u64 {
        self.stores.retain(|(_, known)| known.strong_count() > 0);
        let store = Arc::downgrade(store);
        if let Some((number, _)) = self.stores.iter().find(|(_, known)| known.ptr_eq(&store)) {
            return *number;
        }
        self.next += 1;
        self.stores.push((self.next, store));
        self.next
    }

    fn get(&self, number: u64) -> Result<Arc<S>> {
        let found = self.stores.iter().find(|(known, _)| *known == number).and_then(|(_, store)| store.upgrade());
        found.ok_or_else(|| Error::backend("a served store")("the store was closed in the process that serves it"))
    }
}

impl ServedStores {
    /// Returns how clients refer to the value store and to the call store of this cache.
    pub fn serve(&self, cache: &Cache) -> (ServedStore, ServedStore) {
        let values = self.values.lock().ignore_poison().number(cache.values());
        let calls = self.calls.lock().ignore_poison().number(cache.calls());
        let mut caches = self.caches.lock().ignore_poison();
        caches.retain(|(_, known)| known.is_open());
        if !caches.iter().any(|(number, known)| *number == calls && known.is(cache)) {
            caches.push((calls, cache.downgrade()));
        }
        let values = ServedStore { number: values, quick: !cache.values().may_block(), exclusive: false };
        let quick = !cache.calls().may_block();
        (values, ServedStore { number: calls, quick, exclusive: cache.calls().is_exclusive() })
    }

    /// Returns an open cache of the call store with this number, if there is one.
    fn cache(&self, calls: u64) -> Option<Cache> {
        let caches = self.caches.lock().ignore_poison();
        caches.iter().filter(|(number, _)| *number == calls).find_map(|(_, cache)| cache.upgrade())
    }

    /// Performs an operation for a client with these permits. Returns the bytes of the answer, if it has any.
    fn perform(
        &self,
        permits: &ClaimPermits,
        store: u64,
        operation: &Operation,
        bytes: &Bytes,
    ) -> Result<Option<Bytes>> {
        let values = || self.values(store);
        let calls = || self.calls.lock().ignore_poison().get(store);
        let served = || Ok::<_, Error>(ServedCalls { calls: calls()?, cache: self.cache(store) });
        match operation {
            Operation::GetValue(id) => values()?.get(id),
            Operation::PutValue(id) => values()?.put(id, bytes).map(|()| None),
            Operation::HasValue(id) => encoded(&values()?.contains(id)?),
            Operation::AgeOfValue(id) => encoded(&values()?.age(id)?),
            Operation::RemoveValue(id, older_than) => encoded(&values()?.remove(id, *older_than)?),
            Operation::Values(prefix) => {
                encoded(&values()?.ids(&prefix.parse::<DigestPrefix>()?)?.collect::<Result<Vec<_>>>()?)
            }
            Operation::SyncValue(id) => values()?.sync(id).map(|()| None),
            Operation::GetRecord(key) => calls()?.get(key)?.map(|record| Ok(record.to_bytes(key)?.into())).transpose(),
            Operation::PutRecord(key) => {
                let record = Record::from_bytes(key, bytes)?;
                record.map_or(Ok(()), |record| calls()?.put(key, &record)).map(|()| None)
            }
            Operation::HasRecord(key) => encoded(&calls()?.contains(key)?),
            Operation::RemoveRecord(key, compare) => {
                let only = if *compare { Record::from_bytes(key, bytes)? } else { None };
                encoded(&calls()?.remove(key, only.as_ref())?)
            }
            Operation::Records(prefix) => {
                encoded(&calls()?.keys(&prefix.parse::<DigestPrefix>()?)?.collect::<Result<Vec<_>>>()?)
            }
            Operation::SyncRecord(key) => calls()?.sync(key).map(|()| None),
            Operation::Claim(key, within) => encoded(&permits.claim(&served()?, *key, within)?),
            Operation::AwaitClaim(key, within) => encoded(&permits.wait(&served()?, *key, within)?),
            Operation::ClaimHolder(key) => {
                let calls = served()?;
                let here = CallId { store: calls.identity(), key: *key }.claim_holder_here();
                encoded(&here.map_or_else(|| calls.claim_holder(key), |owner| Ok(Some(owner)))?)
            }
            Operation::Release(number) => {
                permits.release(*number);
                Ok(None)
            }
            Operation::Hit(key, values, inline) => self.hit(&*calls()?, key, *values, *inline),
            Operation::ReadValue(id) => values()?.read(id, &Ok),
            Operation::ReportDamage(id, found, why) => {
                let check = |bytes: Bytes| if Digest::hash(&bytes) == *found { Err(why.clone()) } else { Ok(bytes) };
                values()?.read(id, &check).map(|_| None)
            }
            Operation::RemoveValues(ids, older_than) => encoded(&values()?.remove_all(ids, *older_than)?),
        }
    }
}

impl ServedStores {
    /// Returns the answer to [`Operation::Hit`].
    fn hit(&self, calls: &dyn CallStore, key: &CallKey, values: u64, inline: u64) -> Result<Option<Bytes>> {
        let Some(record) = calls.get(key)? else { return Ok(None) };
        // The client verifies the result. It asks again for one that is missing here, and receives the error if it cannot be read.
        let result = record.result.stored().map(|id| self.values(values)?.read(id, &Ok));
        let result = result.and_then(|result: Result<_>| result.ok().flatten());
        let result = result.filter(|result| result.len() as u64 <= inline).unwrap_or_default();
        let record = record.to_bytes(key)?;
        Ok(Some([&(record.len() as u64).to_le_bytes(), &record[..], &result].concat().into()))
    }

    fn values(&self, number: u64) -> Result<Arc<dyn ValueStore>> {
        self.values.lock().ignore_poison().get(number)
    }

    /// Performs a request on this thread, and returns the answer. Its parts are the status, and what belongs to that.
    pub fn answer(&self, permits: &ClaimPermits, frame: &Frame) -> Frame {
        let parts = match self.perform_frame(permits, frame) {
            Ok(Some(bytes)) => vec![Bytes::from_static(&[status::BYTES]), bytes],
            Ok(None) => vec![Bytes::from_static(&[status::NOTHING])],
            Err(Failed { status, texts }) => {
                [Bytes::from_static(status)].into_iter().chain(texts.into_iter().map(Into::into)).collect()
            }
        };
        Frame::new(Kind::ANSWER, frame.number, parts)
    }

    /// Performs an operation for a client that expects no answer.
    pub fn perform_one_way(&self, permits: &ClaimPermits, frame: &Frame) {
        static FAULTS: Throttle = Throttle::new();
        if let Err(Failed { texts, .. }) = self.perform_frame(permits, frame) {
            let error = texts.join(": ");
            fleche_core::spi::log::warn_rarely!(&FAULTS, 0, %error, "cannot perform an operation of another process on a store");
        }
    }

    fn perform_frame(&self, permits: &ClaimPermits, frame: &Frame) -> Result<Option<Bytes>, Failed> {
        let store = frame::number(&frame.part(0));
        let operation = encoding::from_slice(&frame.part(1))
            .map_err(|error| Failed { status: &[status::UNKNOWN], texts: vec![error.to_string()] })?;
        // The client must get an answer, even if the store panics.
        let answer = || self.perform(permits, store, &operation, &frame.part(2));
        match catch_panic(|| retry_if_reopened(1, |_| (), answer)) {
            Ok(answer) => answer.map_err(Failed::from),
            Err(panic) => Err(Failed { status: &[status::FAILED], texts: vec![panic.to_string()] }),
        }
    }
}

/// The error of an operation: the status of its answer, and the texts that follow.
struct Failed {
    status: &'static [u8; 1],
    texts: Vec<String>,
}

impl From<Error> for Failed {
    fn from(error: Error) -> Self {
        match error {
            Error::Damaged { entry, why } => Self { status: &[status::DAMAGED], texts: vec![entry, why] },
            error => {
                let status = if is_timeout(&error) { &[status::TIMED_OUT] } else { &[status::FAILED] };
                Self { status, texts: vec![error.report().to_string()] }
            }
        }
    }
}

fn encoded<T: Serialize>(answer: &T) -> Result<Option<Bytes>> {
    Ok(Some(encoding::to_vec(answer)?.into()))
}
