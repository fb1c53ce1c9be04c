//! `KeyValueStore`: both stores from an engine that keeps bytes under keys.

use std::{
    fmt,
    ops::Bound::{self, Excluded, Included},
    sync::Arc,
    time::{Duration, SystemTime},
};

use bytes::Bytes;

use super::{Entry, Handle, Kind, OpenDatabase, Verified, damage_reason, pages, prefix_bounds, read_verified};
use crate::{
    call::{CallKey, Record, RecordSummary},
    digest::{Digest, DigestPrefix},
    error::Result,
    store::{
        CallStore, CallStoreConfig, Check, Entries, StorePair, ValueStore, ValueStoreConfig, matching_records,
        query::Query,
    },
};

/// The number of keys in a page of a listing.
const PAGE: usize = 256;

/// An open engine that keeps bytes under keys: values with the times when they were put, and records. [`KeyValueStore`]
/// builds both stores from it.
///
/// ```
/// use std::{collections::BTreeMap, ops::Bound, sync::{Arc, Mutex}};
/// use bytes::Bytes;
/// use fleche_core::{
///     Digest, Result, ValueStore,
///     layer::Void,
///     store::{
///         StorePair,
///         kit::{Change, Entry, FileBacked, KeyValueEngine, KeyValueStore, Kind, LockResultExt as _, OpenDatabase, StoreName, Stored},
///     },
/// };
///
/// struct Map {
///     name: StoreName,
///     entries: Mutex<BTreeMap<Entry, (Bytes, u64)>>,
/// }
///
/// impl FileBacked for Map {}
///
/// impl OpenDatabase for Map {
///     fn name(&self) -> &StoreName {
///         &self.name
///     }
/// }
///
/// impl KeyValueEngine for Map {
///     fn get(&self, entry: Entry) -> Result<Option<Bytes>> {
///         Ok(self.entries.lock().ignore_poison().get(&entry).map(|(bytes, _)| bytes.clone()))
///     }
///
///     fn put_time(&self, id: &Digest) -> Result<Option<u64>> {
///         Ok(self.entries.lock().ignore_poison().get(&Entry::value(id)).map(|(_, time)| *time))
///     }
///
///     fn update<'c>(&self, entry: Entry, decide: impl FnOnce(Option<Stored<'_>>) -> Change<'c>) -> Result<bool> {
///         let mut entries = self.entries.lock().ignore_poison();
///         match decide(entries.get(&entry).map(|(bytes, time)| Stored { bytes, time: Some(*time) })) {
///             Change::Keep => return Ok(false),
///             Change::Put(put) => drop(entries.insert(entry, (Bytes::copy_from_slice(put.bytes), put.time))),
///             Change::Remove | Change::Quarantine => drop(entries.remove(&entry)),
///         }
///         Ok(true)
///     }
///
///     fn keys(&self, kind: Kind, (first, last): (Bound<Digest>, Bound<Digest>), max: usize) -> Result<Vec<Digest>> {
///         let entry = |digest| Entry { kind, digest };
///         let entries = self.entries.lock().ignore_poison();
///         Ok(entries.range((first.map(entry), last.map(entry))).map(|(entry, _)| entry.digest).take(max).collect())
///     }
///
///     fn configs(&self) -> StorePair {
///         (Box::new(Void), Box::new(Void)) // In place of the configurations that `store_configs!` defines.
///     }
/// }
///
/// let map = Map { name: StoreName::new("map", "an example"), entries: Mutex::default() };
/// let store = KeyValueStore::new(Arc::new(map));
/// let id = Digest::hash(b"a value");
/// ValueStore::put(&store, &id, b"a value")?;
/// assert_eq!(ValueStore::get(&store, &id)?.as_deref(), Some(&b"a value"[..]));
/// # Ok::<(), fleche_core::Error>(())
/// ```
pub trait KeyValueEngine: OpenDatabase + 'static {
    /// The part of error messages that says where an entry is after [`Change::Quarantine`].
    const FATE_OF_DAMAGED: &'static str = "it was removed";

    /// Returns the bytes of the entry, or `None` if there is none.
    fn get(&self, entry: Entry) -> Result<Option<Bytes>>;

    /// Returns whether there is an entry. The default reads it.
    fn contains(&self, entry: Entry) -> Result<bool> {
        Ok(self.get(entry)?.is_some())
    }

    /// Returns the [time](Put::time) when the value was last put, or `None` if there is no value.
    fn put_time(&self, id: &Digest) -> Result<Option<u64>>;

    /// Passes the entry, or `None` if there is none, to `decide`, and makes the change that `decide` returns, in one atomic
    /// step. Returns whether there was a change.
    fn update<'c>(&self, entry: Entry, decide: impl FnOnce(Option<Stored<'_>>) -> Change<'c>) -> Result<bool>;

    /// Returns the first `max` keys in this range, in ascending order.
    fn keys(&self, kind: Kind, range: (Bound<Digest>, Bound<Digest>), max: usize) -> Result<Vec<Digest>>;

    /// Returns the calls whose records may match the query, or `None` if the engine has no index for it. The default has
    /// none.
    fn candidates<'a>(&'a self, query: &'a Query) -> Result<Option<Entries<'a, CallKey>>> {
        let _ = query;
        Ok(None)
    }

    /// Returns once all earlier changes would survive a power failure. The default does nothing.
    fn sync(&self) -> Result<()> {
        Ok(())
    }

    /// Returns the configurations from which another process can open the stores.
    fn configs(&self) -> StorePair;
}

/// An entry that an engine has.
#[derive(Clone, Copy, Debug)]
pub struct Stored<'a> {
    /// The bytes of the entry.
    pub bytes: &'a [u8],
    /// The [time](Put::time) when the value was last put. Ignored for records.
    pub time: Option<u64>,
}

/// The change of an entry.
#[derive(Clone, Copy, Debug)]
pub enum Change<'a> {
    /// The entry stays as it is.
    Keep,
    /// The entry is created or replaced.
    Put(Put<'a>),
    /// The entry is removed.
    Remove,
    /// The entry, which is damaged, is removed from its key. The engine may keep a copy, as
    /// [`quarantined`](super::quarantined) describes.
    Quarantine,
}

/// The new content of an entry.
#[derive(Clone, Copy, Debug)]
pub struct Put<'a> {
    /// The bytes.
    pub bytes: &'a [u8],
    /// The time, in nanoseconds since the Unix epoch. Engines store it with values.
    pub time: u64,
    /// The decoded record, for an index, if the entry is a record.
    pub record: Option<&'a Record>,
}

/// A handle to the stores of a [`KeyValueEngine`], which is both a [`ValueStore`] and a [`CallStore`]. A clone is another
/// handle to the same stores.
///
/// A record of a later major format, written by a newer version of fleche, is left in place: `get` returns `None`,
/// `contains` returns `true`, `remove` removes nothing, and `put` refuses to replace it.
pub struct KeyValueStore<E>(Handle<E>);

impl<E: KeyValueEngine> KeyValueStore<E> {
    /// Creates a handle to the stores of an open engine.
    pub fn new(engine: Arc<E>) -> Self {
        Self(Handle::new(engine))
    }

    /// Returns the handle to the engine.
    pub fn handle(&self) -> &Handle<E> {
        &self.0
    }

    fn read_entry<T>(&self, entry: Entry, verify: impl Fn(&Bytes) -> Result<Option<T>, String>) -> Result<Option<T>> {
        let engine = self.0.current()?;
        let read = || -> Result<Verified<T, Bytes>> {
            let Some(bytes) = engine.get(entry)? else { return Ok(Ok(None)) };
            Ok(verify(&bytes).map_err(|why| (why, bytes)))
        };
        read_verified(engine.name(), entry, E::FATE_OF_DAMAGED, read, |damaged: &Bytes| {
            self.0.writable()?.update(entry, |stored| match stored {
                Some(stored) if stored.bytes == damaged => Change::Quarantine,
                _ => Change::Keep,
            })
        })
    }

    fn list(
        &self,
        kind: Kind,
        prefix: &DigestPrefix,
    ) -> Result<impl Iterator<Item = Result<Digest>> + Send + use<'_, E>> {
        let engine = self.0.current()?;
        let (first, last) = prefix_bounds(prefix);
        Ok(pages(move |after: Option<Digest>| {
            let from = after.map_or(Included(first), Excluded);
            let keys = engine.keys(kind, (from, Included(last)), PAGE)?;
            let next = keys.last().copied().filter(|_| keys.len() == PAGE);
            Ok((keys.into_iter().map(Ok).collect(), next))
        }))
    }
}

impl<E> Clone for KeyValueStore<E> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

impl<E: OpenDatabase> fmt::Debug for KeyValueStore<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl<E: KeyValueEngine> ValueStore for KeyValueStore<E> {
    fn read(&self, id: &Digest, check: Check<'_>) -> Result<Option<Bytes>> {
        self.read_entry(Entry::value(id), |bytes| check(bytes.clone()).map(Some))
    }

    /// Stores the value without hashing it: a mismatch of bytes and digest is detected when the entry is read.
    fn put(&self, id: &Digest, encoded: &[u8]) -> Result<()> {
        let put = Put { bytes: encoded, time: now(), record: None };
        self.0.writable()?.update(Entry::value(id), |_| Change::Put(put)).map(drop)
    }

    fn contains(&self, id: &Digest) -> Result<bool> {
        self.0.current()?.contains(Entry::value(id))
    }

    fn age(&self, id: &Digest) -> Result<Option<Duration>> {
        Ok(self.0.current()?.put_time(id)?.map(age))
    }

    fn remove(&self, id: &Digest, older_than: Option<Duration>) -> Result<bool> {
        self.0.writable()?.update(Entry::value(id), |stored| match (stored, older_than) {
            (Some(stored), Some(limit)) if age(stored.time.unwrap_or(0)) <= limit => Change::Keep,
            (Some(_), _) => Change::Remove,
            (None, _) => Change::Keep,
        })
    }

    fn ids(&self, prefix: &DigestPrefix) -> Result<Entries<'_, Digest>> {
        Ok(Box::new(self.list(Kind::Value, prefix)?))
    }

    fn sync(&self, _id: &Digest) -> Result<()> {
        self.0.synced(E::sync)
    }

    fn config(&self) -> Box<dyn ValueStoreConfig> {
        self.0.opened().configs().0
    }
}

impl<E: KeyValueEngine> CallStore for KeyValueStore<E> {
    fn get(&self, key: &CallKey) -> Result<Option<Record>> {
        self.read_entry(Entry::record(key), |bytes| Record::from_bytes(key, bytes).map_err(damage_reason))
    }

    fn summary(&self, key: &CallKey) -> Result<Option<RecordSummary>> {
        self.read_entry(Entry::record(key), |bytes| Record::summary_from_bytes(key, bytes).map_err(damage_reason))
    }

    fn put(&self, key: &CallKey, record: &Record) -> Result<()> {
        let bytes = record.to_bytes(key)?;
        let engine = self.0.writable()?;
        let is_put = engine.update(Entry::record(key), |stored| {
            if stored.is_some_and(|stored| matches!(Record::from_bytes(key, stored.bytes), Ok(None))) {
                return Change::Keep;
            }
            Change::Put(Put { bytes: &bytes, time: now(), record: Some(record) })
        })?;
        if is_put { Ok(()) } else { Err(engine.name().later_format(key)) }
    }

    fn contains(&self, key: &CallKey) -> Result<bool> {
        self.0.current()?.contains(Entry::record(key))
    }

    fn keys(&self, prefix: &DigestPrefix) -> Result<Entries<'_, CallKey>> {
        Ok(Box::new(self.list(Kind::Record, prefix)?.map(|digest| digest.map(CallKey::from))))
    }

    fn remove(&self, key: &CallKey, only: Option<&Record>) -> Result<bool> {
        self.0.writable()?.update(Entry::record(key), |stored| {
            let Some(stored) = stored else { return Change::Keep };
            match Record::from_bytes(key, stored.bytes) {
                Ok(Some(record)) if only.is_none_or(|only| record == *only) => Change::Remove,
                Err(_) if only.is_none() => Change::Remove,
                _ => Change::Keep,
            }
        })
    }

    fn find<'a>(&'a self, query: &'a Query) -> Result<Entries<'a, (CallKey, Record)>> {
        let keys = match self.0.current()?.candidates(query)? {
            Some(keys) => keys,
            None => CallStore::keys(self, &DigestPrefix::all())?,
        };
        Ok(matching_records(self, keys, query))
    }

    fn identity(&self) -> usize {
        self.0.identity()
    }

    fn sync(&self, _key: &CallKey) -> Result<()> {
        self.0.synced(E::sync)
    }

    fn config(&self) -> Box<dyn CallStoreConfig> {
        self.0.opened().configs().1
    }
}

fn age(time: u64) -> Duration {
    Duration::from_nanos(now().abs_diff(time))
}

fn now() -> u64 {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    since.as_nanos().try_into().unwrap_or(u64::MAX)
}
