//! Stores of another process: every operation is sent over the channel.

use std::{cell::Cell, sync::Arc, time::Duration};

use bytes::Bytes;
use fleche_core::{
    CallKey, CallStore, Digest, DigestPrefix, Error, Record, Result, ValueStore,
    call::RecordSummary,
    claim::{Claim, ClaimGuard, ClaimHolder, ContendedClaim, OnAcquired},
    spi::{enclosing_calls, thread_spawner},
    store::{CallStoreConfig, Check, Entries, ValueStoreConfig, whole},
};
use serde::de::DeserializeOwned;

use crate::{
    client::{Answer, Client},
    frame::{CHUNK, Kind, number},
    operation::{ClaimAnswer, Operation, ServedStore, decoded},
    session::Session,
};

/// The number of values that one request removes.
const REMOVED_AT_ONCE: usize = 1000;

/// The largest result, in bytes, that is sent with its record.
const INLINE: u64 = 1 << 16;

/// The store of each kind that a server serves to sessions.
const FIRST: ServedStore = ServedStore { number: 1, quick: false, exclusive: false };

/// The connection to the server of a store.
#[derive(Debug)]
enum Link {
    /// One connection.
    Client(Arc<Client>),
    /// Connections one after the other.
    Session(Arc<Session>),
}

impl Link {
    /// Returns the present connection.
    fn client(&self) -> Result<Arc<Client>> {
        match self {
            Self::Client(client) => Ok(client.clone()),
            Self::Session(session) => session.client(),
        }
    }
}

macro_rules! remote_store {
    ($(#[$doc:meta])* $name:ident, $config:ident) => {
        $(#[$doc])*
        #[derive(Debug)]
        pub struct $name {
            link: Link,
            store: ServedStore,
            config: Box<dyn $config>,
        }

        impl $name {
            /// Creates the store that this client reaches.
            pub fn new(client: Arc<Client>, store: ServedStore, config: Box<dyn $config>) -> Self {
                Self { link: Link::Client(client), store, config }
            }

            /// Creates the store that this session reaches.
            pub(crate) fn of_session(session: Arc<Session>, config: Box<dyn $config>) -> Self {
                Self { link: Link::Session(session), store: FIRST, config }
            }

            fn request(&self, operation: &Operation, bytes: &[u8]) -> Result<Option<Bytes>> {
                let kind = if self.store.quick { Kind::QUICK_REQUEST } else { Kind::REQUEST };
                self.link.client()?.request(kind, self.store.number, operation, bytes)
            }

            fn ask<T: DeserializeOwned>(&self, operation: &Operation) -> Result<T> {
                decoded(self.request(operation, &[])?)
            }

            /// Returns the entries of a page, which may be many.
            fn list<T: DeserializeOwned>(&self, operation: &Operation) -> Result<Vec<T>> {
                decoded(self.link.client()?.request(Kind::REQUEST, self.store.number, operation, &[])?)
            }

            /// Sends a write. The server performs it on a quick store before it reads the next message, so the client waits for no
            /// answer, and the server logs a failure.
            fn write(&self, operation: &Operation, bytes: &[u8], last: bool) -> Result<()> {
                if !self.store.quick || bytes.len() > CHUNK / 2 {
                    return self.request(operation, bytes).map(drop);
                }
                self.link.client()?.tell(self.store.number, operation, bytes, last)
            }
        }
    };
}

remote_store! {
    /// A value store of another process.
    RemoteValues, ValueStoreConfig
}

remote_store! {
    /// A call store of another process.
    RemoteCalls, CallStoreConfig
}

impl ValueStore for RemoteValues {
    fn read(&self, id: &Digest, check: Check<'_>) -> Result<Option<Bytes>> {
        match &self.link {
            // The server has verified the bytes before it sent them.
            Link::Client(_) => self.get(id)?.map(|bytes| check(bytes).map_err(|why| damaged(id, why))).transpose(),
            Link::Session(session) => self.read_through(session, id, check),
        }
    }

    fn get(&self, id: &Digest) -> Result<Option<Bytes>> {
        match &self.link {
            Link::Client(_) => self.request(&Operation::GetValue(*id), &[]),
            Link::Session(session) => self.read_through(session, id, &|bytes| whole(id, bytes)),
        }
    }

    fn put(&self, id: &Digest, encoded: &[u8]) -> Result<()> {
        self.write(&Operation::PutValue(*id), encoded, false)
    }

    fn contains(&self, id: &Digest) -> Result<bool> {
        self.ask(&Operation::HasValue(*id))
    }

    fn age(&self, id: &Digest) -> Result<Option<Duration>> {
        self.ask(&Operation::AgeOfValue(*id))
    }

    fn remove(&self, id: &Digest, older_than: Option<Duration>) -> Result<bool> {
        self.forget([id]);
        self.ask(&Operation::RemoveValue(*id, older_than))
    }

    fn remove_all(&self, ids: &[Digest], older_than: Option<Duration>) -> Result<u64> {
        self.forget(ids);
        let mut removed = 0;
        for ids in ids.chunks(REMOVED_AT_ONCE) {
            removed += self.ask::<u64>(&Operation::RemoveValues(ids.to_vec(), older_than))?;
        }
        Ok(removed)
    }

    fn ids(&self, prefix: &DigestPrefix) -> Result<Entries<'_, Digest>> {
        Ok(Box::new(pages(prefix).flat_map(|page| items(self.list::<Digest>(&Operation::Values(page))))))
    }

    fn sync(&self, id: &Digest) -> Result<()> {
        self.request(&Operation::SyncValue(*id), &[]).map(drop)
    }

    fn config(&self) -> Box<dyn ValueStoreConfig> {
        self.config.clone()
    }
}

impl RemoteValues {
    /// Reads a value and checks it here, since only the caller knows in which form it was put.
    fn read_through(&self, session: &Session, id: &Digest, check: Check<'_>) -> Result<Option<Bytes>> {
        let arrived = session.results().take(id);
        let bytes = match arrived {
            Some(bytes) => Some(bytes),
            None => self.request(&Operation::ReadValue(*id), &[])?,
        };
        let Some(bytes) = bytes else { return Ok(None) };
        let why = match check(bytes.clone()) {
            Ok(checked) => return Ok(Some(checked)),
            Err(why) => why,
        };
        // The server reports the damage, unless the entry has been replaced.
        self.request(&Operation::ReportDamage(*id, Digest::hash(&bytes), why.clone()), &[])?;
        self.request(&Operation::ReadValue(*id), &[])?
            .map(|bytes| check(bytes).map_err(|why| damaged(id, why)))
            .transpose()
    }

    /// Forgets these results, which arrived with their records.
    fn forget<'a>(&self, ids: impl IntoIterator<Item = &'a Digest>) {
        if let Link::Session(session) = &self.link {
            let mut results = session.results();
            ids.into_iter().for_each(|id| drop(results.take(id)));
        }
    }
}

impl RemoteCalls {
    /// Returns the summary of a record, and keeps the result that arrives with it for the value store of this session.
    fn hit(&self, session: &Session, key: &CallKey) -> Result<Option<RecordSummary>> {
        let operation = Operation::Hit(*key, FIRST.number, INLINE);
        let bytes = match session.client()?.try_request(Kind::REQUEST, self.store.number, &operation, &[])? {
            Answer::Bytes(Some(bytes)) => bytes,
            Answer::Bytes(None) => return Ok(None),
            Answer::Unknown => return Ok(self.get(key)?.as_ref().map(RecordSummary::from)),
        };
        let (length, rest) = bytes.split_at(bytes.len().min(8));
        let length = usize::try_from(number(length)).unwrap_or(usize::MAX).min(rest.len());
        let summary = Record::summary_from_bytes(key, &rest[..length])?;
        if let Some(id) = summary.as_ref().and_then(|summary| summary.result.stored())
            && length < rest.len()
        {
            session.results().keep(*id, Bytes::copy_from_slice(&rest[length..]));
        }
        Ok(summary)
    }
}

impl CallStore for RemoteCalls {
    fn get(&self, key: &CallKey) -> Result<Option<Record>> {
        let bytes = self.request(&Operation::GetRecord(*key), &[])?;
        bytes.map_or(Ok(None), |bytes| Record::from_bytes(key, &bytes))
    }

    fn put(&self, key: &CallKey, record: &Record) -> Result<()> {
        self.write(&Operation::PutRecord(*key), &record.to_bytes(key)?, is_last_record(key))
    }

    fn summary(&self, key: &CallKey) -> Result<Option<RecordSummary>> {
        match &self.link {
            Link::Client(_) => Ok(self.get(key)?.as_ref().map(RecordSummary::from)),
            Link::Session(session) => self.hit(session, key),
        }
    }

    fn contains(&self, key: &CallKey) -> Result<bool> {
        self.ask(&Operation::HasRecord(*key))
    }

    fn keys(&self, prefix: &DigestPrefix) -> Result<Entries<'_, CallKey>> {
        Ok(Box::new(pages(prefix).flat_map(|page| items(self.list::<CallKey>(&Operation::Records(page))))))
    }

    fn remove(&self, key: &CallKey, only: Option<&Record>) -> Result<bool> {
        let bytes = only.map(|only| only.to_bytes(key)).transpose()?;
        let operation = Operation::RemoveRecord(*key, bytes.is_some());
        decoded(self.request(&operation, bytes.as_deref().unwrap_or_default())?)
    }

    fn claim(&self, key: &CallKey) -> Result<Claim> {
        let within = enclosing_calls();
        let operation = Operation::Claim(*key, within.clone());
        // Answered on the thread that reads the channel: a caller that waits asks again.
        let client = self.link.client()?;
        let granted = client.request(Kind::QUICK_REQUEST, self.store.number, &operation, &[])?;
        let asked = Asked { client, store: self.store.number, key: *key, within };
        Ok(match decoded(granted)? {
            ClaimAnswer::Permit(number) => Claim::Held(asked.held(number)),
            ClaimAnswer::Taken => Claim::Taken(Box::new(asked)),
            ClaimAnswer::Cycle => Claim::WithinProcess,
        })
    }

    fn is_exclusive(&self) -> bool {
        self.store.exclusive
    }

    fn identity(&self) -> usize {
        match &self.link {
            Link::Client(_) => std::ptr::from_ref(self).addr(),
            Link::Session(session) => Arc::as_ptr(session).addr(),
        }
    }

    fn claim_holder(&self, key: &CallKey) -> Result<Option<ClaimHolder>> {
        self.ask(&Operation::ClaimHolder(*key))
    }

    fn sync(&self, key: &CallKey) -> Result<()> {
        self.request(&Operation::SyncRecord(*key), &[]).map(drop)
    }

    fn config(&self) -> Box<dyn CallStoreConfig> {
        self.config.clone()
    }
}

fn damaged(id: &Digest, why: String) -> Error {
    Error::Damaged { entry: format!("value {id} of another process"), why }
}

/// A claim that this process requested from the server.
struct Asked {
    client: Arc<Client>,
    store: u64,
    key: CallKey,
    within: Vec<CallKey>,
}

impl Asked {
    fn held(&self, number: u64) -> Arc<dyn ClaimGuard> {
        Arc::new(ClaimPermit { client: self.client.clone(), store: self.store, number })
    }

    /// Waits until no other caller holds the claim. Returns `None` if the waits form a cycle.
    fn wait(&self) -> Result<Option<Arc<dyn ClaimGuard>>> {
        let operation = Operation::AwaitClaim(self.key, self.within.clone());
        loop {
            match decoded(self.client.request(Kind::REQUEST, self.store, &operation, &[])?)? {
                ClaimAnswer::Permit(number) => return Ok(Some(self.held(number))),
                ClaimAnswer::Taken => {}
                ClaimAnswer::Cycle => return Ok(None),
            }
        }
    }
}

impl ContendedClaim for Asked {
    fn when_acquired(self: Box<Self>, then: OnAcquired) {
        // The reading thread must not write, which dropping an unneeded claim would do.
        let wait = move || {
            let held = self.wait().map(|held| held.unwrap_or_else(|| Arc::new(Nothing)));
            then(held);
        };
        if let Err(error) = thread_spawner::spawn("fleche-claim", wait) {
            // Dropping the callback ends the wait: the call is computed without the claim.
            fleche_core::spi::log::warn!(%error, "cannot start a thread to wait for a claim; the call is computed without it");
        }
    }
}

/// A permit that this process holds. Dropping it gives it back.
struct ClaimPermit {
    client: Arc<Client>,
    store: u64,
    number: u64,
}

impl ClaimGuard for ClaimPermit {
    fn is_expired(&self) -> bool {
        // The server releases the permits of a connection that has ended.
        self.client.has_ended()
    }
}

impl Drop for ClaimPermit {
    fn drop(&mut self) {
        // If the server is gone, so are its permits.
        let _ = self.client.tell(self.store, &Operation::Release(self.number), &[], false);
    }
}

/// A placeholder for a claim, for a call that is computed without one.
struct Nothing;

impl ClaimGuard for Nothing {}

/// Returns the prefixes that split a listing into pages, so that no answer is as large as the store.
fn pages(prefix: &DigestPrefix) -> impl Iterator<Item = String> + use<> {
    let prefix = prefix.as_str().to_owned();
    let more = 16_usize.pow(2_u32.saturating_sub(u32::try_from(prefix.len()).unwrap_or(u32::MAX)));
    let digits = 2_usize.saturating_sub(prefix.len());
    (0..more).map(move |page| if digits == 0 { prefix.clone() } else { format!("{prefix}{page:0digits$x}") })
}

fn items<T>(page: Result<Vec<T>>) -> impl Iterator<Item = Result<T>> {
    let (items, error) = match page {
        Ok(items) => (items, None),
        Err(error) => (Vec::new(), Some(Err(error))),
    };
    items.into_iter().map(Ok).chain(error)
}

thread_local! {
    static LAST: Cell<Option<CallKey>> = const { Cell::new(None) };
}

/// The task of a call on this thread, until this is dropped.
pub struct LastRecord(());

impl LastRecord {
    /// Notes that a task of this call begins on this thread.
    pub fn new(key: CallKey) -> Self {
        LAST.set(Some(key));
        Self(())
    }
}

impl Drop for LastRecord {
    fn drop(&mut self) {
        LAST.set(None);
    }
}

/// Returns whether the record of this call is the last one that this thread's task writes.
fn is_last_record(key: &CallKey) -> bool {
    LAST.get().is_some_and(|last| last == *key)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pages_cover_every_digest_of_a_prefix_once() {
        let pages = |prefix: &str| pages(&prefix.parse().unwrap()).collect::<Vec<_>>();
        assert_eq!(pages("").len(), 256);
        assert_eq!((pages("").first().unwrap().as_str(), pages("").last().unwrap().as_str()), ("00", "ff"));
        assert_eq!(pages("a").len(), 16);
        assert_eq!(pages("a")[15], "af");
        assert_eq!(pages("abc"), ["abc"]);
    }
}
