//! The two store traits, their configurations, and how backends make themselves known.

mod backend;
mod config;
mod forward;
mod open;
pub mod portable_path;
mod replaced;

pub use backend::{BackendInfo, StorePair, backends, registered_twice};
pub use config::{CallStoreConfig, Reach, ValueStoreConfig};
#[doc(hidden)]
pub use config::{CallStoreConfigObject, ValueStoreConfigObject};
pub use open::{OpenStores, Place};
pub use replaced::{BackingFile, FileBacked};

use std::{
    fmt::Debug,
    time::{Duration, SystemTime},
};

use bytes::Bytes;

use crate::{
    call::{Brief, CallKey, Record},
    claim::{Claim, Owner},
    digest::{Digest, DigestPrefix},
    error::Result,
    query::Query,
};

/// An iterator over what a store holds. What is put or removed while it runs may or may not be seen.
pub type Entries<'a, T> = Box<dyn Iterator<Item = Result<T>> + Send + 'a>;

/// What a reader makes of the bytes that a store has: what it wanted, or why they are damaged. A store may ask twice, where
/// somebody may have replaced an entry meanwhile.
pub type Check<'a> = &'a dyn Fn(Bytes) -> Result<Bytes, String>;

/// Returns the age of what was put at this time, by this system's clock.
///
/// A time in the future is taken for one as far in the past. Where the clocks of hosts agree within the grace period of a
/// collection, what another host has just put is as young as it should be; and what was put while a clock was far ahead
/// does not stay for ever.
pub fn age_since(put: SystemTime) -> Duration {
    let now = SystemTime::now();
    now.duration_since(put).unwrap_or_else(|ahead| ahead.duration())
}

/// The check of those who want the bytes themselves: they have this digest.
///
/// # Errors
/// Which digest they have instead.
pub fn whole(id: &Digest, bytes: Bytes) -> Result<Bytes, String> {
    let found = Digest::of(&bytes);
    if found == *id { Ok(bytes) } else { Err(format!("its {} bytes have the digest {found}", bytes.len())) }
}

/// A store of encoded values, each under the digest of its bytes.
///
/// All methods may be called from any number of threads at once. Ids, and likewise keys, are iterated without locking
/// the store and without holding all of them in memory.
///
/// **Every read is verified**: what `get` returns has the digest asked for. An entry that a read's check refuses is set
/// aside and reported once as [`Error::Damaged`](crate::Error::Damaged); afterwards it is absent.
pub trait ValueStore: Debug + Send + Sync {
    /// What the check makes of the bytes under this id; `None` if there are none.
    fn read(&self, id: &Digest, check: Check<'_>) -> Result<Option<Bytes>>;

    /// The bytes under this id, which have this digest; `None` if there are none.
    fn get(&self, id: &Digest) -> Result<Option<Bytes>> {
        self.read(id, &|bytes| whole(id, bytes))
    }

    /// Keeps the bytes, whose digest is `id`. A repetition changes nothing but the age, which starts anew, and mends an
    /// entry of the wrong size.
    ///
    /// Layers that keep values in another form, compressed say, put that form under the digest of the value, and bring the
    /// check that knows it when they [`read`](Self::read).
    fn put(&self, id: &Digest, encoded: &[u8]) -> Result<()>;

    /// Whether there is an entry; it is not read.
    fn contains(&self, id: &Digest) -> Result<bool>;

    /// The time since the last `put` of this id; `None` if there is no entry. A `put` in the future counts as one as far in
    /// the past, as [`age_since`] has it.
    fn age(&self, id: &Digest) -> Result<Option<Duration>>;

    /// Removes the entry, if it is there and `older_than` is not given or exceeded by its age; atomic with the refresh
    /// that a concurrent `put` does. Whether anything was removed.
    fn remove(&self, id: &Digest, older_than: Option<Duration>) -> Result<bool>;

    /// Removes those of these entries that are there and whose age exceeds `older_than`, if that is given. How many were
    /// removed. The default removes one after the other; a store that does it faster together overrides it.
    fn remove_all(&self, ids: &[Digest], older_than: Option<Duration>) -> Result<u64> {
        let mut removed = 0;
        for id in ids {
            removed += u64::from(self.remove(id, older_than)?);
        }
        Ok(removed)
    }

    /// The ids that begin so, each once, in any order.
    fn ids(&self, prefix: &DigestPrefix) -> Result<Entries<'_, Digest>>;

    /// Returns when the entry, which was put before, would survive a power failure, if the store can promise that.
    /// Called for results that took long. The default does nothing.
    fn sync(&self, id: &Digest) -> Result<()> {
        let _ = id;
        Ok(())
    }

    /// Whether an operation may wait, for a disk or a network, say. Where it may, calls of an `async fn` leave it to
    /// threads of fleche's own, a few per process. The default says yes.
    fn may_block(&self) -> bool {
        true
    }

    /// Returns whether the store discards all that is put. Then results are not kept in the hot tier either, so that every call
    /// runs. The default is `false`.
    fn keeps_nothing(&self) -> bool {
        false
    }

    /// How to open this store elsewhere.
    fn config(&self) -> Box<dyn ValueStoreConfig>;
}

/// A store of records, each under its call's key. What [`ValueStore`] says of threads, iteration and verification holds
/// here too; a record's checksum covers its key.
pub trait CallStore: Debug + Send + Sync {
    /// The record under this key; `None` if there is none, or only one of a later format.
    fn get(&self, key: &CallKey) -> Result<Option<Record>>;

    /// What a hit takes of the record under this key; `None` as for [`get`](Self::get). The default gets the record. Stores
    /// that keep bytes save most of the decoding with [`Record::brief_from_bytes`].
    fn brief(&self, key: &CallKey) -> Result<Option<Brief>> {
        Ok(self.get(key)?.as_ref().map(Brief::from))
    }

    /// Keeps the record in place of an earlier one, atomically: the last writer wins.
    fn put(&self, key: &CallKey, record: &Record) -> Result<()>;

    /// Whether there is an entry; it is not read.
    fn contains(&self, key: &CallKey) -> Result<bool>;

    /// The keys that begin so, each once, in any order.
    fn keys(&self, prefix: &DigestPrefix) -> Result<Entries<'_, CallKey>>;

    /// Removes the record; with `only` given, only if it equals that, atomically. Whether anything was removed.
    fn remove(&self, key: &CallKey, only: Option<&Record>) -> Result<bool>;

    /// The records that fulfil the query, in any order. The default reads every record; damaged ones are errors among
    /// the items.
    fn find<'a>(&'a self, query: &'a Query) -> Result<Entries<'a, (CallKey, Record)>> {
        let records = self.keys(&DigestPrefix::all())?.filter_map(move |key| {
            let found = key.and_then(|key| Ok(self.get(&key)?.map(|record| (key, record))));
            found.transpose().filter(|found| found.as_ref().map_or(true, |(_, record)| query.matches(record)))
        });
        Ok(Box::new(records))
    }

    /// Asks for the right to compute the call, among all who share the store. Returns at once. The default leaves it to the
    /// process, which is right for stores that one process uses.
    fn claim(&self, key: &CallKey) -> Result<Claim> {
        let _ = key;
        Ok(Claim::WithinProcess)
    }

    /// Who has the claim of the call, as far as can be known. The default knows nobody.
    fn owner(&self, key: &CallKey) -> Result<Option<Owner>> {
        let _ = key;
        Ok(None)
    }

    /// The same number for all handles of one store in this process, and for no other store. The default is the address
    /// of this handle: stores that are handles to something shared give the address of that.
    fn identity(&self) -> usize {
        std::ptr::from_ref(self).cast::<()>().addr()
    }

    /// As [`ValueStore::sync`], for a record.
    fn sync(&self, key: &CallKey) -> Result<()> {
        let _ = key;
        Ok(())
    }

    /// As [`ValueStore::may_block`].
    fn may_block(&self) -> bool {
        true
    }

    /// As [`ValueStore::keeps_nothing`].
    fn keeps_nothing(&self) -> bool {
        false
    }

    /// How to open this store elsewhere.
    fn config(&self) -> Box<dyn CallStoreConfig>;
}
