//! The store traits, their configurations, and the registry of backends.

mod backing_file;
mod config;
pub mod kit;
mod open_stores;
pub mod portable_path;
pub(crate) mod query;

pub use crate::runtime::fork::ensure_not_forked;
pub use backing_file::{BackingFile, FileBacked, retry_if_reopened};
pub use config::{BackendInfo, CallStoreConfig, Reach, StorePair, ValueStoreConfig, backends, registered_twice};
#[doc(hidden)]
pub use config::{CallStoreConfigObject, ValueStoreConfigObject};
pub use open_stores::{OpenPlaceGuard, OpenStores, Place};
pub use query::MetadataField;

use std::{
    fmt::Debug,
    time::{Duration, SystemTime},
};

use bytes::Bytes;

use crate::{
    call::{CallKey, Record, RecordSummary},
    claim::{Claim, ClaimHolder},
    digest::{Digest, DigestPrefix},
    error::Result,
};
use query::Query;

/// An iterator over the contents of a store. Entries that are put or removed during the iteration may or may not
/// appear.
pub type Entries<'a, T> = Box<dyn Iterator<Item = Result<T>> + Send + 'a>;

/// A function that checks the bytes of an entry, and returns the bytes for the reader, or the reason why the entry is damaged.
/// A store may call it twice if the entry may have been replaced in the meantime.
pub type Check<'a> = &'a dyn Fn(Bytes) -> Result<Bytes, String>;

/// Returns the age of an entry that was put at this time, by this system's clock.
///
/// A time in the future counts as equally far in the past. If the clocks of hosts agree within the grace period of a
/// collection, an entry that another host has just put is thus young enough to be kept; and an entry that was put while
/// a clock was far ahead does not stay forever.
pub fn age_since(put: SystemTime) -> Duration {
    let now = SystemTime::now();
    now.duration_since(put).unwrap_or_else(|ahead| ahead.duration())
}

/// Checks that the bytes have this digest, and returns them.
///
/// # Errors
/// Fails with the length and the digest of the bytes if they have another digest.
pub fn whole(id: &Digest, bytes: Bytes) -> Result<Bytes, String> {
    let found = Digest::hash(&bytes);
    if found == *id { Ok(bytes) } else { Err(format!("its {} bytes have the digest {found}", bytes.len())) }
}

/// Returns the records of these calls that match the query, for [`CallStore::find`]. Calls without a record are skipped;
/// damaged records are errors among the items.
pub fn matching_records<'a, S: CallStore + ?Sized>(
    store: &'a S,
    keys: Entries<'a, CallKey>,
    query: &'a Query,
) -> Entries<'a, (CallKey, Record)> {
    Box::new(keys.filter_map(move |key| {
        let found = key.and_then(|key| Ok(store.get(&key)?.map(|record| (key, record))));
        found.transpose().filter(|found| found.as_ref().map_or(true, |(_, record)| query.matches(record)))
    }))
}

/// A store of encoded values, each under the digest of its bytes.
///
/// All methods may be called from any number of threads at once. Iterating over ids or keys neither locks the store nor
/// holds all of them in memory.
///
/// **Every read is verified**: the bytes that `get` returns have the requested digest. An entry that fails a read's
/// check is quarantined and reported once as [`Error::Damaged`](crate::Error::Damaged); afterwards it is absent.
///
/// **A store limits the time of its own operations**: an operation that talks to a server or waits for a lock fails
/// when its time is up. After an error of the kind [`TimedOut`](std::io::ErrorKind::TimedOut), a cache stops using the
/// store [at once](crate::Cache#when-a-store-fails) for some time. The engine sets no limit. An operation that never
/// returns blocks the call that needs it, and the callers that wait for that call's result without a `wait_timeout`.
/// All other calls proceed, including those on the same store. Calls of `async fn` are an exception: their operations run
/// on at most 8 threads per store. If operations occupy all of these for more than 5 s, further threads take their place,
/// for up to 64 of these operations per store and 512 in all. If more operations than that never return, later calls of
/// `async fn` on that store wait forever.
pub trait ValueStore: Debug + Send + Sync {
    /// Returns the result of the check on the bytes under this id, or `None` if there is no entry.
    fn read(&self, id: &Digest, check: Check<'_>) -> Result<Option<Bytes>>;

    /// Returns the bytes under this id, which have that digest, or `None` if there is no entry.
    fn get(&self, id: &Digest) -> Result<Option<Bytes>> {
        self.read(id, &|bytes| whole(id, bytes))
    }

    /// Stores the bytes, whose digest is `id`. Repeating it only resets the age, and repairs an entry of the wrong
    /// size.
    ///
    /// Layers that store values in another form, such as compressed, put that form under the digest of the value, and
    /// [`read`](Self::read) it with a check that decodes it.
    fn put(&self, id: &Digest, encoded: &[u8]) -> Result<()>;

    /// Returns whether there is an entry, without reading it.
    fn contains(&self, id: &Digest) -> Result<bool>;

    /// Returns the time since the last `put` of this id, or `None` if there is no entry. A `put` in the future counts
    /// as equally far in the past; see [`age_since`].
    fn age(&self, id: &Digest) -> Result<Option<Duration>>;

    /// Removes the entry if it exists and, if `older_than` is given, its age exceeds that. Atomic with respect to a
    /// concurrent `put` that resets the age. Returns whether an entry was removed.
    fn remove(&self, id: &Digest, older_than: Option<Duration>) -> Result<bool>;

    /// Removes each of these entries under the conditions of [`remove`](Self::remove). Returns how many were removed.
    /// The default removes them one by one; stores that are faster in bulk override it.
    fn remove_all(&self, ids: &[Digest], older_than: Option<Duration>) -> Result<u64> {
        let mut removed = 0;
        for id in ids {
            removed += u64::from(self.remove(id, older_than)?);
        }
        Ok(removed)
    }

    /// Returns the ids with this prefix, each once, in any order.
    fn ids(&self, prefix: &DigestPrefix) -> Result<Entries<'_, Digest>>;

    /// Blocks until the entry, which was put before, would survive a power failure, if the store can guarantee that.
    /// Called for results that took long to compute. The default does nothing.
    fn sync(&self, id: &Digest) -> Result<()> {
        let _ = id;
        Ok(())
    }

    /// Returns whether an operation may block, for example on a disk or a network. If so, calls of an `async fn` run it
    /// on a small thread pool of fleche. The default is `true`.
    fn may_block(&self) -> bool {
        true
    }

    /// Returns whether the store discards everything that is put. If so, results are not kept in the hot tier either,
    /// and every call runs. The default is `false`.
    fn keeps_nothing(&self) -> bool {
        false
    }

    /// Returns the description from which another process can open this store.
    fn config(&self) -> Box<dyn ValueStoreConfig>;
}

/// A store of records, each under the key of its call. The contract of [`ValueStore`] on threads, iteration, verification
/// and time applies here too. A record's checksum covers its key.
pub trait CallStore: Debug + Send + Sync {
    /// Returns the record under this key, or `None` if there is none or only one of a later format.
    fn get(&self, key: &CallKey) -> Result<Option<Record>>;

    /// Returns the summary of the record under this key, which a hit needs, or `None` under the same conditions as
    /// [`get`](Self::get). The default gets the whole record. Stores that hold bytes avoid most of the decoding with
    /// [`Record::summary_from_bytes`].
    fn summary(&self, key: &CallKey) -> Result<Option<RecordSummary>> {
        Ok(self.get(key)?.as_ref().map(RecordSummary::from))
    }

    /// Stores the record, atomically replacing an earlier one: the last writer wins.
    fn put(&self, key: &CallKey, record: &Record) -> Result<()>;

    /// Returns whether there is an entry, without reading it.
    fn contains(&self, key: &CallKey) -> Result<bool>;

    /// Returns the keys with this prefix, each once, in any order.
    fn keys(&self, prefix: &DigestPrefix) -> Result<Entries<'_, CallKey>>;

    /// Removes the record; if `only` is given, only if the record equals it, atomically. Returns whether a record was
    /// removed.
    fn remove(&self, key: &CallKey, only: Option<&Record>) -> Result<bool>;

    /// Returns the records that match the query, in any order. The default reads every record; damaged records are
    /// errors among the items.
    fn find<'a>(&'a self, query: &'a Query) -> Result<Entries<'a, (CallKey, Record)>> {
        Ok(matching_records(self, self.keys(&DigestPrefix::all())?, query))
    }

    /// Requests the claim of the call, among all processes that share the store. Returns at once. The default leaves
    /// claims to the process, which costs no work if a single process uses the store.
    fn claim(&self, key: &CallKey) -> Result<Claim> {
        let _ = key;
        Ok(Claim::WithinProcess)
    }

    /// Returns whether no other process can write records to this store while it is open. If so, a leader that has found
    /// no record writes its own without looking again. The default returns `false`, which is always right.
    fn is_exclusive(&self) -> bool {
        false
    }

    /// Returns the holder of the call's claim, if it is known. The default returns `None`.
    fn claim_holder(&self, key: &CallKey) -> Result<Option<ClaimHolder>> {
        let _ = key;
        Ok(None)
    }

    /// Returns a number that all handles of one store in this process share, and no other store has. The default is the
    /// address of this handle; a store that is a handle to shared state returns the address of that state.
    fn identity(&self) -> usize {
        std::ptr::from_ref(self).cast::<()>().addr()
    }

    /// Blocks until the record would survive a power failure, as [`ValueStore::sync`] does for values.
    fn sync(&self, key: &CallKey) -> Result<()> {
        let _ = key;
        Ok(())
    }

    /// Like [`ValueStore::may_block`].
    fn may_block(&self) -> bool {
        true
    }

    /// Like [`ValueStore::keeps_nothing`].
    fn keeps_nothing(&self) -> bool {
        false
    }

    /// Returns the description from which another process can open this store.
    fn config(&self) -> Box<dyn CallStoreConfig>;
}
