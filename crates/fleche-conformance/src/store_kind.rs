//! `StoreKind`: the common interface of both kinds of store, so that a case is written once for values and records.

use std::{fmt::Debug, sync::Arc};

use fleche_core::{
    CallKey, CallStore, Digest, DigestPrefix, Error, Result, ValueStore,
    call::RecordSummary,
    store::{CallStoreConfig, Entries, Reach, ValueStoreConfig},
};
use serde::{Serialize, de::DeserializeOwned};

use crate::{fixture::Fixture, peer_process::PeerStore, test_data::Item};

/// A store of either kind, with [`Item`]s as entries.
pub(crate) trait StoreKind: Sized + Send + Sync {
    type Config: Serialize + DeserializeOwned + Clone + Debug;

    /// The word for an entry in messages.
    const ENTRY: &'static str;

    fn open(fixture: &Fixture) -> Self {
        Self::try_open(&Self::config_of(fixture)).unwrap_or_else(|error| panic!("the store does not open: {error:?}"))
    }
    fn try_open(config: &Self::Config) -> Result<Self>;
    fn config_of(fixture: &Fixture) -> Self::Config;
    fn config(&self) -> Self::Config;
    fn same(one: &Self::Config, other: &Self::Config) -> bool;
    fn reach(config: &Self::Config) -> Reach;
    fn for_peer(config: &Self::Config) -> PeerStore;

    /// Returns the item's id, or the digest of its key.
    fn id(item: Item) -> Digest;
    /// Returns the bytes of the item on disk.
    fn bytes(item: Item) -> Vec<u8>;

    fn try_put(&self, item: Item) -> Result<()>;
    /// Calls `get` and returns whether the item is present.
    ///
    /// # Panics
    /// Panics if the store returns another entry than the item.
    fn try_get(&self, item: Item) -> Result<bool>;
    fn contains(&self, item: Item) -> bool;
    fn remove(&self, item: Item) -> bool;
    fn list(&self, prefix: &DigestPrefix) -> Entries<'_, Digest>;

    fn put(&self, item: Item) {
        self.try_put(item).unwrap_or_else(|error| panic!("`put` of {} {} failed: {error:?}", Self::ENTRY, item.nth));
    }

    fn put_all(&self, items: &[Item]) {
        for &item in items {
            self.put(item);
        }
    }

    fn get(&self, item: Item) -> bool {
        self.try_get(item).unwrap_or_else(|error| panic!("`get` of {} {} failed: {error:?}", Self::ENTRY, item.nth))
    }

    /// Returns the listed ids with this prefix, sorted and with repetitions.
    fn ids(&self, prefix: &str) -> Vec<Digest> {
        let ids = self.list(&prefix.parse().unwrap()).collect::<Result<Vec<_>>>();
        let mut ids = ids.unwrap_or_else(|error| panic!("listing the prefix `{prefix}` failed: {error:?}"));
        ids.sort();
        ids
    }

    /// Asserts that the store contains exactly these items, intact and listed once each.
    fn assert_holds(&self, items: &[Item]) {
        for &item in items {
            self.assert_has(item);
        }
        let mut expected: Vec<_> = items.iter().map(|item| Self::id(*item)).collect();
        expected.sort();
        let listed = self.ids("");
        assert!(
            listed == expected,
            "the store must contain {} entries, but lists {}{}",
            expected.len(),
            listed.len(),
            if listed.windows(2).any(|pair| pair[0] == pair[1]) { ", some of them twice" } else { "" },
        );
    }

    fn assert_has(&self, item: Item) {
        assert!(self.contains(item), "{} {} was put, but `contains` returns false", Self::ENTRY, item.nth);
        assert!(self.get(item), "{} {} was put, but `get` returns nothing", Self::ENTRY, item.nth);
    }

    fn assert_lacks(&self, item: Item) {
        assert!(!self.contains(item), "{} {} is absent, but `contains` returns true", Self::ENTRY, item.nth);
        assert!(!self.get(item), "{} {} is absent, but `get` returns it", Self::ENTRY, item.nth);
        let id = Self::id(item);
        assert!(!self.ids(&id.to_string()[..2]).contains(&id), "{} {} is absent, but is listed", Self::ENTRY, item.nth);
    }
}

/// A value store.
pub(crate) struct Values(pub(crate) Arc<dyn ValueStore>);

impl StoreKind for Values {
    type Config = Box<dyn ValueStoreConfig>;
    const ENTRY: &'static str = "value";

    fn try_open(config: &Self::Config) -> Result<Self> {
        config.open().map(Self)
    }
    fn config_of(fixture: &Fixture) -> Self::Config {
        fixture.values.clone()
    }
    fn config(&self) -> Self::Config {
        self.0.config()
    }
    fn same(one: &Self::Config, other: &Self::Config) -> bool {
        **one == **other
    }
    fn reach(config: &Self::Config) -> Reach {
        config.reach()
    }
    fn id(item: Item) -> Digest {
        item.id()
    }
    fn bytes(item: Item) -> Vec<u8> {
        item.value()
    }
    fn for_peer(config: &Self::Config) -> PeerStore {
        PeerStore::Values(config.clone())
    }
    fn try_put(&self, item: Item) -> Result<()> {
        let value = item.value();
        self.0.put(&Digest::hash(&value), &value)
    }
    fn try_get(&self, item: Item) -> Result<bool> {
        let value = item.value();
        let Some(found) = self.0.get(&Digest::hash(&value))? else { return Ok(false) };
        assert!(
            *found == *value,
            "the bytes of value {} are wrong: {} bytes in place of {}",
            item.nth,
            found.len(),
            value.len()
        );
        Ok(true)
    }
    fn contains(&self, item: Item) -> bool {
        self.0.contains(&item.id()).unwrap()
    }
    fn remove(&self, item: Item) -> bool {
        self.0.remove(&item.id(), None).unwrap()
    }
    fn list(&self, prefix: &DigestPrefix) -> Entries<'_, Digest> {
        self.0.ids(prefix).unwrap()
    }
}

/// A call store.
pub(crate) struct Calls(pub(crate) Arc<dyn CallStore>);

impl StoreKind for Calls {
    type Config = Box<dyn CallStoreConfig>;
    const ENTRY: &'static str = "record";

    fn try_open(config: &Self::Config) -> Result<Self> {
        config.open().map(Self)
    }
    fn config_of(fixture: &Fixture) -> Self::Config {
        fixture.calls.clone()
    }
    fn config(&self) -> Self::Config {
        self.0.config()
    }
    fn same(one: &Self::Config, other: &Self::Config) -> bool {
        **one == **other
    }
    fn reach(config: &Self::Config) -> Reach {
        config.reach()
    }
    fn id(item: Item) -> Digest {
        *item.key().digest()
    }
    fn bytes(item: Item) -> Vec<u8> {
        item.record().to_bytes(&item.key()).unwrap()
    }
    fn for_peer(config: &Self::Config) -> PeerStore {
        PeerStore::Calls(config.clone())
    }
    fn try_put(&self, item: Item) -> Result<()> {
        self.0.put(&item.key(), &item.record())
    }
    fn try_get(&self, item: Item) -> Result<bool> {
        let Some(found) = self.0.get(&item.key())? else { return Ok(false) };
        assert!(found == item.record(), "record {} is wrong: {found:?}", item.nth);
        // Another thread may have removed the record since.
        if let Some(summary) = self.0.summary(&item.key())? {
            assert!(summary == RecordSummary::from(&found), "the summary of record {} is wrong: {summary:?}", item.nth);
        }
        Ok(true)
    }
    fn contains(&self, item: Item) -> bool {
        self.0.contains(&item.key()).unwrap()
    }
    fn remove(&self, item: Item) -> bool {
        self.0.remove(&item.key(), None).unwrap()
    }
    fn list(&self, prefix: &DigestPrefix) -> Entries<'_, Digest> {
        Box::new(self.0.keys(prefix).unwrap().map(|key| key.map(|key: CallKey| *key.digest())))
    }
}

/// Asserts that a damaged entry was reported with [`Error::Damaged`], or was absent.
pub(crate) fn assert_damaged_or_absent(found: &Result<bool>) {
    match found {
        Ok(false) | Err(Error::Damaged { .. }) => {}
        Ok(true) => panic!("a damaged entry reads as if it were intact"),
        Err(other) => panic!("a damaged entry must cause `Error::Damaged` or be absent, not: {other:?}"),
    }
}
