//! Cases of layers around the backend's stores.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering::SeqCst},
};

use fleche_core::{
    Cache, CallStore, Digest, DigestPrefix, Error, Query, Result, SkipReason, ValueStore,
    claim::Claim,
    fleche,
    layer::{ReadOnly, ReadOnlyConfig, Stack, StackConfig, Union, UnionConfig},
    store::{CallStoreConfig, ValueStoreConfig, kit},
};

use crate::{
    capture::run_together,
    fixture::Fixture,
    store_kind::{Calls, StoreKind, Values},
    test_data::{Item, record},
};

type AnyValues = Arc<dyn ValueStore>;
type AnyCalls = Arc<dyn CallStore>;

/// Opens two pairs of stores of the backend, each in a directory of its own.
fn two_stores(fixture: &Fixture) -> [(AnyValues, AnyCalls); 2] {
    ["one", "other"].map(|name| {
        let directory = fixture.directory().join(name);
        if fixture.backend.durable {
            std::fs::create_dir(&directory).unwrap();
        }
        let (values, calls) = (fixture.backend.scratch)(&directory);
        (values.open().unwrap(), calls.open().unwrap())
    })
}

fn assert_refused<T: std::fmt::Debug>(result: &Result<T>) {
    assert!(matches!(result, Err(Error::Refused { .. })), "must be refused, but returned {result:?}");
}

/// Puts items into the stores, and asserts that the layer serves exactly these and refuses changes.
fn only_reads(fill: [(&AnyValues, &AnyCalls, &[Item]); 2], values: &AnyValues, calls: &AnyCalls) {
    for (values, calls, items) in &fill {
        Values(AnyValues::clone(values)).put_all(items);
        Calls(AnyCalls::clone(calls)).put_all(items);
    }
    let mut all: Vec<_> = fill.iter().flat_map(|(.., items)| items.iter().copied()).collect();
    all.sort_by_key(|item| item.nth);
    all.dedup();
    let (item, new) = (all[0], Item::small(99));
    for _ in 0..2 {
        Values(values.clone()).assert_holds(&all);
        Calls(calls.clone()).assert_holds(&all);
        assert_eq!(calls.find(&Query::new()).unwrap().map(Result::unwrap).count(), all.len());
        assert_refused(&values.put(&new.id(), &new.value()));
        assert_refused(&values.remove(&item.id(), None));
        assert_refused(&values.remove_all(std::slice::from_ref(&item.id()), None));
        assert_refused(&calls.put(&new.key(), &new.record()));
        assert_refused(&calls.remove(&item.key(), None));
        assert_refused(&calls.remove(&item.key(), Some(&item.record())));
        assert!(!values.remove(&new.id(), None).unwrap() && !calls.remove(&new.key(), None).unwrap());
        assert!(matches!(calls.claim(&new.key()).unwrap(), Claim::WithinProcess));
    }
}

pub(crate) fn read_only(fixture: &Fixture) {
    let (values, calls) = (fixture.open_values(), fixture.open_calls());
    let layers: (AnyValues, AnyCalls) = (Arc::new(ReadOnly(values.clone())), Arc::new(ReadOnly(calls.clone())));
    let items: Vec<_> = (0..3).map(Item::small).collect();
    only_reads([(&values, &calls, &items), (&values, &calls, &items)], &layers.0, &layers.1);
    Values(values).assert_holds(&items);
    Calls(calls).assert_holds(&items);
}

pub(crate) fn union(fixture: &Fixture) {
    let [one, other] = two_stores(fixture);
    let values: AnyValues = Arc::new(Union::new([one.0.clone(), other.0.clone()]).unwrap());
    let calls: AnyCalls = Arc::new(Union::new([one.1.clone(), other.1.clone()]).unwrap());
    let items: Vec<_> = (0..6).map(Item::small).collect();
    only_reads([(&one.0, &one.1, &items[..4]), (&other.0, &other.1, &items[2..])], &values, &calls);
    Values(one.0).assert_holds(&items[..4]);
    Calls(other.1).assert_holds(&items[2..]);
    assert!(Union::<AnyValues>::new([]).is_err());
}

/// Opens two pairs of stores, or returns `None` if they are stacks, after it has asserted that stacks cannot be stacked.
fn two_stackable_stores(fixture: &Fixture) -> Option<[(AnyValues, AnyCalls); 2]> {
    let stores = two_stores(fixture);
    let config: Box<dyn ValueStoreConfig> = Box::new(StackConfig { stores: vec![fixture.values.clone()] });
    let is_stack = serde_json::to_value(&fixture.values).unwrap()["type"] == "stack";
    assert_eq!(config.open().is_err(), is_stack, "a stack of {:?}", fixture.values);
    assert_eq!(Stack::values([stores[0].0.clone()]).is_err(), is_stack);
    assert_eq!(Stack::calls([stores[0].1.clone()]).is_err(), is_stack);
    (!is_stack).then_some(stores)
}

pub(crate) fn stack(fixture: &Fixture) {
    let Some([first, second]) = two_stackable_stores(fixture) else { return };
    let values = Values(Arc::new(Stack::values([first.0.clone(), second.0.clone()]).unwrap()));
    let calls = Calls(Arc::new(Stack::calls([first.1.clone(), second.1.clone()]).unwrap()));
    reads_through(&values, &Values(first.0), &Values(second.0));
    reads_through(&calls, &Calls(first.1), &Calls(second.1));
    let stacked = Stack::values([values.0]);
    assert!(matches!(&stacked, Err(Error::Config { .. })), "a stack directly in a stack must be refused: {stacked:?}");
    let stacked = Stack::calls([calls.0]);
    assert!(matches!(&stacked, Err(Error::Config { .. })), "a stack directly in a stack must be refused: {stacked:?}");
}

fn reads_through<S: StoreKind>(stack: &S, first: &S, second: &S) {
    let items: Vec<_> = (0..6).map(Item::small).collect();
    second.put_all(&items[..4]);
    // Entries are put into the first store.
    stack.put_all(&items[3..]);
    first.assert_holds(&items[3..]);
    second.assert_holds(&items[..4]);
    assert_eq!(stack.ids("").len(), 6, "each entry must be listed once");
    for item in &items {
        assert!(stack.contains(*item), "{} {}", S::ENTRY, item.nth);
    }
    first.assert_holds(&items[3..]);
    // Entries that are read are copied to the first store.
    stack.assert_holds(&items);
    first.assert_holds(&items);
    second.assert_holds(&items[..4]);
    // Entries are removed from all stores.
    assert!(stack.remove(items[0]) && stack.remove(items[5]) && !stack.remove(items[5]));
    stack.assert_holds(&items[1..5]);
    second.assert_holds(&items[1..4]);
}

pub(crate) fn first_store_takes_precedence(fixture: &Fixture) {
    let Some([first, second]) = two_stackable_stores(fixture) else { return };
    let key = Item::small(1).key();
    let (newer, older) = (record("newer", 1, b"new"), record("older", 1, b"old"));
    first.1.put(&key, &newer).unwrap();
    second.1.put(&key, &older).unwrap();
    second.1.put(&Item::small(2).key(), &Item::small(2).record()).unwrap();
    let stack: AnyCalls = Arc::new(Stack::calls([first.1.clone(), second.1.clone()]).unwrap());
    let union: AnyCalls = Arc::new(Union::new([first.1.clone(), second.1]).unwrap());
    for layer in [stack.clone(), union] {
        let found = |query: &Query| layer.find(query).unwrap().map(|found| found.unwrap().1).collect::<Vec<_>>();
        assert_eq!(layer.get(&key).unwrap().as_ref(), Some(&newer));
        assert_eq!(found(&Query::new().function("newer")), std::slice::from_ref(&newer));
        assert_eq!(found(&Query::new().function("older")), []);
        assert_eq!(found(&Query::new()).len(), 2);
        assert_eq!(layer.keys(&DigestPrefix::all()).unwrap().count(), 2);
    }
    assert!(!stack.remove(&key, Some(&older)).unwrap(), "`remove` compares with the record of the second store");
    assert!(stack.remove(&key, Some(&newer)).unwrap());
    assert_eq!(stack.get(&key).unwrap(), None, "the record of the second store appears after the removal");
}

pub(crate) fn copied_once(fixture: &Fixture) {
    let Some([first, second]) = two_stackable_stores(fixture) else { return };
    let (item, others) = (Item::large(1), Item::large(2));
    second.0.put(&item.id(), &item.value()).unwrap();
    second.0.put(&others.id(), &others.value()).unwrap();
    let first = Arc::new(Counting::of(first.0));
    let front: AnyValues = first.clone();
    let stack = Stack::values([front, second.0]).unwrap();
    let got = run_together(8, |_| stack.get(&item.id()).unwrap().as_deref() == Some(&*item.value()));
    assert_eq!(got, [true; 8]);
    assert_eq!(first.puts(), 1);
    assert_eq!(stack.get(&Digest::hash(b"never stored")).unwrap(), None);
    assert_eq!(stack.get(&others.id()).unwrap().as_deref(), Some(&*others.value()));
    assert_eq!(first.puts(), 2);
}

#[fleche]
fn doubled(x: u64) -> u64 {
    2 * x
}

pub(crate) fn calls_succeed_if_writes_are_refused(fixture: &Fixture) {
    let (values, calls) = (fixture.open_values(), fixture.open_calls());
    let open = Cache::new(values.clone(), calls.clone());
    assert_eq!(open.scope(|| doubled(1)), 2);
    let closed = [
        Cache::new(ReadOnly(values.clone()), ReadOnly(calls.clone())),
        Cache::new(Union::new([values]).unwrap(), Union::new([calls]).unwrap()),
    ];
    for cache in closed {
        assert_eq!(cache.scope(|| [doubled(1), doubled(2), doubled(2)]), [2, 4, 4]);
        let stats = cache.stats();
        assert_eq!((stats.hits, stats.computed, stats.faults), (1, 2, 0));
        assert_eq!(stats.skipped.get(&SkipReason::StoreRefused), Some(&2), "{stats:?}");
    }
    assert_eq!(open.query(&Query::new()).unwrap().count(), 1, "the refused results must not be written");
}

pub(crate) fn nested(fixture: &Fixture) {
    let (values, calls) = (fixture.open_values(), fixture.open_calls());
    let item = Item::small(1);
    Values(values.clone()).put(item);
    Calls(calls.clone()).put(item);

    let values: Box<dyn ValueStoreConfig> = Box::new(ReadOnlyConfig { store: fixture.values.clone() });
    let values: Box<dyn ValueStoreConfig> = Box::new(StackConfig { stores: vec![values] });
    let values: Box<dyn ValueStoreConfig> = Box::new(UnionConfig { stores: vec![fixture.values.clone(), values] });
    let calls: Box<dyn CallStoreConfig> = Box::new(ReadOnlyConfig { store: fixture.calls.clone() });
    let calls: Box<dyn CallStoreConfig> = Box::new(StackConfig { stores: vec![calls] });
    let calls: Box<dyn CallStoreConfig> = Box::new(UnionConfig { stores: vec![fixture.calls.clone(), calls] });

    let text = serde_json::to_string(&(&values, &calls)).unwrap();
    let (read_values, read_calls): (Box<dyn ValueStoreConfig>, Box<dyn CallStoreConfig>) =
        serde_json::from_str(&text).unwrap();
    assert!(*values == *read_values && *calls == *read_calls, "{text}");
    assert_eq!((read_values.reach(), read_calls.reach()), (fixture.backend.reach, fixture.backend.reach));
    let (opened_values, opened_calls) = (read_values.open().unwrap(), read_calls.open().unwrap());
    assert!(*opened_values.config() == *values && *opened_calls.config() == *calls, "{text}");
    Values(opened_values).assert_holds(&[item]);
    Calls(opened_calls).assert_holds(&[item]);
}

/// A value store that counts its calls of `put`.
#[derive(Debug)]
struct Counting {
    store: Arc<dyn ValueStore>,
    puts: AtomicUsize,
}

impl Counting {
    fn of(store: Arc<dyn ValueStore>) -> Self {
        Self { store, puts: AtomicUsize::default() }
    }

    fn puts(&self) -> usize {
        self.puts.load(SeqCst)
    }
}

impl kit::ValueStoreWrapper for Counting {
    type Inner = dyn ValueStore;

    fn inner(&self) -> &Self::Inner {
        &*self.store
    }
    fn put(&self, id: &Digest, encoded: &[u8]) -> Result<()> {
        self.puts.fetch_add(1, SeqCst);
        self.store.put(id, encoded)
    }
}
