//! Random operations on a call store, and the map that predicts their results.

use std::{collections::BTreeMap, sync::Arc};

use fleche_core::{
    CallKey, CallStore, DigestPrefix, Record, Result as StoreResult,
    claim::{Claim, ClaimGuard},
    store::CallStoreConfig,
};
use proptest::{
    option,
    prelude::{BoxedStrategy, Just, Strategy as _, any, prop_oneof},
};

use super::{
    entries::{KEYS, Question, VERSIONS, call, call_record, prefix},
    machine::{self, agree, ok, opened},
};
use crate::fixture::Fixture;

#[derive(Clone, Debug)]
pub(super) enum Operation {
    Put {
        call: u8,
        writing: u8,
    },
    Get(u8),
    Contains(u8),
    Remove(u8),
    /// Removes the record if it is equal to this one.
    RemoveOnly {
        call: u8,
        writing: u8,
    },
    Keys {
        like: u8,
        digits: u8,
    },
    Find(Question),
    /// Releases the claim that is held, if any, and claims this call.
    Claim(u8),
    Sync(u8),
    /// Closes the store and opens it again.
    Reopen,
}

pub(super) struct Machine {
    config: Box<dyn CallStoreConfig>,
    durable: bool,
    held: Option<Arc<dyn ClaimGuard>>,
    store: Option<Arc<dyn CallStore>>,
    model: BTreeMap<CallKey, Record>,
}

impl machine::Machine for Machine {
    type Operation = Operation;

    fn operations() -> BoxedStrategy<Operation> {
        let call = || 0..KEYS;
        let writing = || 0..VERSIONS;
        let digits = prop_oneof![Just(0), Just(1), Just(2), Just(3), Just(64)];
        let question = (
            option::of(any::<bool>()),
            option::of(1_u8..=2),
            option::of(0_u8..=2),
            option::of(writing()),
            option::of(0..=VERSIONS),
        );
        let question = question.prop_map(|(function, version, argument, tag, since)| {
            Operation::Find(Question { function, version, argument, tag, since })
        });
        prop_oneof![
            6 => (call(), writing()).prop_map(|(call, writing)| Operation::Put { call, writing }),
            4 => call().prop_map(Operation::Get),
            2 => call().prop_map(Operation::Contains),
            2 => call().prop_map(Operation::Remove),
            3 => (call(), writing()).prop_map(|(call, writing)| Operation::RemoveOnly { call, writing }),
            2 => (call(), digits).prop_map(|(like, digits)| Operation::Keys { like, digits }),
            5 => question,
            2 => call().prop_map(Operation::Claim),
            1 => call().prop_map(Operation::Sync),
            1 => Just(Operation::Reopen),
        ]
        .boxed()
    }

    fn new(fixture: &Fixture) -> Result<Self, String> {
        let config = fixture.calls.clone();
        let store = config.open().map_err(|error| format!("the store does not open: {error:?}"))?;
        Ok(Self { config, durable: fixture.backend.durable, held: None, store: Some(store), model: BTreeMap::new() })
    }

    fn apply(&mut self, operation: &Operation) -> Result<(), String> {
        match operation {
            Operation::Put { call: nth, writing } => {
                let (key, record) = (call(*nth), call_record(*nth, *writing));
                ok(self.store()?.put(&key, &record))?;
                self.model.insert(key, record);
                Ok(())
            }
            Operation::Get(nth) => self.get(&call(*nth)),
            Operation::Contains(nth) => {
                let key = call(*nth);
                agree("the result of `contains`", ok(self.store()?.contains(&key))?, self.model.contains_key(&key))
            }
            Operation::Remove(nth) => {
                let key = call(*nth);
                let removed = ok(self.store()?.remove(&key, None))?;
                agree("the result of `remove`", removed, self.model.remove(&key).is_some())
            }
            Operation::RemoveOnly { call: nth, writing } => {
                let (key, only) = (call(*nth), call_record(*nth, *writing));
                let removed = ok(self.store()?.remove(&key, Some(&only)))?;
                agree("the result of `remove`", removed, self.model.get(&key) == Some(&only))?;
                if removed {
                    self.model.remove(&key);
                }
                Ok(())
            }
            Operation::Keys { like, digits } => self.list(&prefix(call(*like).digest(), *digits)?),
            Operation::Find(question) => self.find(question),
            Operation::Claim(nth) => self.claim(&call(*nth)),
            Operation::Sync(nth) => {
                let key = call(*nth);
                if self.model.contains_key(&key) { ok(self.store()?.sync(&key)) } else { Ok(()) }
            }
            Operation::Reopen => {
                self.held = None;
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
        (0..KEYS).try_for_each(|nth| self.get(&call(nth)))
    }
}

impl Machine {
    fn store(&self) -> Result<&dyn CallStore, String> {
        opened(self.store.as_deref())
    }

    fn get(&self, key: &CallKey) -> Result<(), String> {
        let (found, expected) = (ok(self.store()?.get(key))?, self.model.get(key));
        match (&found, expected) {
            (Some(found), Some(expected)) if found != expected => {
                Err(format!("the record is not the one put last, but one written at {:?}", found.written))
            }
            _ => agree("whether the record is present", found.is_some(), expected.is_some()),
        }
    }

    fn list(&self, prefix: &DigestPrefix) -> Result<(), String> {
        let mut found = ok(ok(self.store()?.keys(prefix))?.collect::<StoreResult<Vec<_>>>())?;
        found.sort();
        let expected: Vec<_> = self.model.keys().filter(|key| prefix.matches(key.digest())).copied().collect();
        agree("the keys", found, expected)
    }

    fn find(&self, question: &Question) -> Result<(), String> {
        let query = question.query()?;
        let mut found = ok(ok(self.store()?.find(&query))?.collect::<StoreResult<Vec<_>>>())?;
        found.sort_by_key(|(key, _)| *key);
        let expected: Vec<_> = self.model.iter().filter(|(_, record)| query.matches(record)).collect();
        let keys = |found: &[(CallKey, Record)]| found.iter().map(|(key, _)| *key).collect::<Vec<_>>();
        agree("the keys found", keys(&found), expected.iter().map(|(key, _)| **key).collect())?;
        match found.iter().zip(expected).find(|((_, found), (_, expected))| found != *expected) {
            None => Ok(()),
            Some(((key, _), _)) => Err(format!("the record found for {key} is not the one that was put")),
        }
    }

    /// Claims the call, which must succeed since no other claims exist, and checks that it cannot be claimed twice.
    fn claim(&mut self, key: &CallKey) -> Result<(), String> {
        self.held = None;
        match ok(self.store()?.claim(key))? {
            Claim::WithinProcess => Ok(()),
            Claim::Taken(_) => Err("the claim is taken, although nothing holds it".to_owned()),
            Claim::Held(held) => {
                self.held = Some(held);
                match ok(self.store()?.claim(key))? {
                    Claim::Held(_) => Err("the claim was granted twice".to_owned()),
                    Claim::Taken(_) | Claim::WithinProcess => Ok(()),
                }
            }
        }
    }
}
