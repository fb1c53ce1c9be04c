//! Random operations on a value store, and the map that predicts their results.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use fleche_core::{
    Digest, DigestPrefix, Error, Result as StoreResult, ValueStore,
    store::{ValueStoreConfig, whole},
};
use proptest::prelude::{BoxedStrategy, Just, Strategy as _, any, prop_oneof};

use super::{
    entries::{Age, VALUES, from_other_form, in_other_form, prefix, value},
    machine::{self, agree, ok, opened},
};
use crate::fixture::Fixture;

#[derive(Clone, Debug)]
pub(super) enum Operation {
    Put(u8),
    /// Puts bytes that do not have this digest, as layers do.
    PutOtherForm(u8),
    Get(u8),
    /// Reads with a check that accepts the other form.
    ReadOtherForm(u8),
    /// Reads with a check that refuses everything.
    ReadRefusing(u8),
    Contains(u8),
    Age(u8),
    Remove(u8, Age),
    RemoveAll(BTreeSet<u8>, Age),
    Ids {
        like: u8,
        digits: u8,
    },
    Sync(u8),
    /// Closes the store and opens it again.
    Reopen,
}

pub(super) struct Machine {
    config: Box<dyn ValueStoreConfig>,
    durable: bool,
    store: Option<Arc<dyn ValueStore>>,
    /// The bytes stored under each digest, whether they have this digest or not.
    model: BTreeMap<Digest, Vec<u8>>,
}

impl machine::Machine for Machine {
    type Operation = Operation;

    fn operations() -> BoxedStrategy<Operation> {
        let nth = || 0..VALUES;
        let age = || prop_oneof![Just(Age::Any), Just(Age::Zero), Just(Age::Hour)];
        let digits = prop_oneof![Just(0), Just(1), Just(2), Just(3), Just(64)];
        prop_oneof![
            6 => nth().prop_map(Operation::Put),
            1 => nth().prop_map(Operation::PutOtherForm),
            4 => nth().prop_map(Operation::Get),
            2 => nth().prop_map(Operation::ReadOtherForm),
            1 => nth().prop_map(Operation::ReadRefusing),
            2 => nth().prop_map(Operation::Contains),
            1 => nth().prop_map(Operation::Age),
            3 => (nth(), age()).prop_map(|(nth, age)| Operation::Remove(nth, age)),
            1 => (any::<u16>(), age()).prop_map(|(set, age)| {
                Operation::RemoveAll((0..VALUES).filter(|nth| set >> nth & 1 == 1).collect(), age)
            }),
            2 => (nth(), digits).prop_map(|(like, digits)| Operation::Ids { like, digits }),
            1 => nth().prop_map(Operation::Sync),
            1 => Just(Operation::Reopen),
        ]
        .boxed()
    }

    fn new(fixture: &Fixture) -> Result<Self, String> {
        let config = fixture.values.clone();
        let store = config.open().map_err(|error| format!("the store does not open: {error:?}"))?;
        Ok(Self { config, durable: fixture.backend.durable, store: Some(store), model: BTreeMap::new() })
    }

    fn apply(&mut self, operation: &Operation) -> Result<(), String> {
        match operation {
            Operation::Put(nth) => self.put(*nth, value(*nth)),
            Operation::PutOtherForm(nth) => self.put(*nth, in_other_form(&value(*nth))),
            Operation::Get(nth) => self.read(*nth, |id, store| store.get(id), |id, bytes| whole(id, bytes.into()).ok()),
            Operation::ReadOtherForm(nth) => {
                let check = |bytes: &[u8]| from_other_form(bytes).map(<[u8]>::to_vec);
                let read = |id: &Digest, store: &dyn ValueStore| {
                    store.read(id, &|bytes| check(&bytes).map(Into::into).ok_or_else(|| "not the other form".into()))
                };
                self.read(*nth, read, |_, bytes| check(&bytes).map(Into::into))
            }
            Operation::ReadRefusing(nth) => {
                self.read(*nth, |id, store| store.read(id, &|_| Err("it is refused".into())), |_, _| None)
            }
            Operation::Contains(nth) => {
                let id = id(*nth);
                agree("the result of `contains`", ok(self.store()?.contains(&id))?, self.model.contains_key(&id))
            }
            Operation::Age(nth) => {
                let (id, hour) = (id(*nth), Age::Hour.limit());
                let age = ok(self.store()?.age(&id))?;
                agree("whether the entry has an age", age.is_some(), self.model.contains_key(&id))?;
                agree("whether the entry is older than the sequence", age > hour, false)
            }
            Operation::Remove(nth, age) => {
                let id = id(*nth);
                let removed = ok(self.store()?.remove(&id, age.limit()))?;
                self.removed(&[id], *age, u64::from(removed))
            }
            Operation::RemoveAll(set, age) => {
                let ids: Vec<_> = set.iter().map(|nth| id(*nth)).collect();
                let removed = ok(self.store()?.remove_all(&ids, age.limit()))?;
                self.removed(&ids, *age, removed)
            }
            Operation::Ids { like, digits } => self.list(&prefix(&id(*like), *digits)?),
            Operation::Sync(nth) => {
                let id = id(*nth);
                if self.model.contains_key(&id) { ok(self.store()?.sync(&id)) } else { Ok(()) }
            }
            Operation::Reopen => {
                self.store = None;
                self.store = Some(ok(self.config.open())?);
                if !self.durable {
                    self.model.clear();
                }
                Ok(())
            }
        }
    }

    fn compare(&self) -> Result<(), String> {
        self.list(&DigestPrefix::all())?;
        for nth in 0..VALUES {
            let (id, store) = (id(nth), self.store()?);
            // This check accepts any bytes, since the sequence may have left the other form.
            let bytes = ok(store.read(&id, &Ok))?.map(|bytes| bytes.to_vec());
            if bytes.as_ref() != self.model.get(&id) {
                return Err(format!("value {nth} is {}", if bytes.is_some() { "wrong" } else { "missing" }));
            }
        }
        Ok(())
    }
}

impl Machine {
    fn store(&self) -> Result<&dyn ValueStore, String> {
        opened(self.store.as_deref())
    }

    fn put(&mut self, nth: u8, bytes: Vec<u8>) -> Result<(), String> {
        let id = id(nth);
        ok(self.store()?.put(&id, &bytes))?;
        self.model.insert(id, bytes);
        Ok(())
    }

    /// Reads a value and compares it with the result of the check on the model's bytes. A value that the check refuses
    /// must be reported as damaged and be absent afterwards.
    fn read(
        &mut self,
        nth: u8,
        read: impl Fn(&Digest, &dyn ValueStore) -> StoreResult<Option<bytes::Bytes>>,
        check: impl Fn(&Digest, Vec<u8>) -> Option<bytes::Bytes>,
    ) -> Result<(), String> {
        let id = id(nth);
        let found = read(&id, self.store()?);
        let Some(bytes) = self.model.get(&id) else {
            return agree("whether the value is present", ok(found)?.is_some(), false);
        };
        match (check(&id, bytes.clone()), found) {
            (Some(expected), Ok(Some(found))) if expected == found => Ok(()),
            (Some(_), Ok(Some(_))) => Err("the bytes are wrong".to_owned()),
            (Some(_), Ok(None)) => Err("the value was put, but is missing".to_owned()),
            (Some(_), Err(error)) => Err(error.report().to_string()),
            (None, Err(Error::Damaged { .. })) => {
                self.model.remove(&id);
                Ok(())
            }
            (None, Err(error)) => Err(format!("a refused value must cause `Error::Damaged`, not: {error:?}")),
            (None, Ok(_)) => Err("a value that the check refuses is served, or is absent without an error".to_owned()),
        }
    }

    /// Checks a removal of these values, and repeats it in the model. `removed` is the number that the store reported.
    ///
    /// With [`Age::Zero`], the store's clock determines which values are removed, so the store is asked for them.
    fn removed(&mut self, ids: &[Digest], age: Age, removed: u64) -> Result<(), String> {
        let there: Vec<_> = ids.iter().filter(|id| self.model.contains_key(*id)).copied().collect();
        let there_count = u64::try_from(there.len()).unwrap_or(u64::MAX);
        match age {
            Age::Hour => agree("the number of removed values", removed, 0)?,
            Age::Any => agree("the number of removed values", removed, there_count)?,
            Age::Zero if removed > there_count => return agree("the number of removed values", removed, there_count),
            Age::Zero => {}
        }
        let mut gone = 0;
        for id in there {
            if !ok(self.store()?.contains(&id))? {
                self.model.remove(&id);
                gone += 1;
            }
        }
        agree("the number of values that are absent after a removal", gone, removed)
    }

    fn list(&self, prefix: &DigestPrefix) -> Result<(), String> {
        let mut found = ok(ok(self.store()?.ids(prefix))?.collect::<StoreResult<Vec<_>>>())?;
        found.sort();
        let expected: Vec<_> = self.model.keys().filter(|id| prefix.matches(id)).copied().collect();
        agree("the ids", found, expected)
    }
}

fn id(nth: u8) -> Digest {
    Digest::hash(&value(nth))
}
