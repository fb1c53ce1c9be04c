//! Cases of unusual environments: odd names of directories, a limit for the size of files, missing write permission, and
//! forked children.

use fleche_core::{
    Cache, CallStore, Digest, Error, ValueStore,
    cache::HotTier,
    encoding,
    store::{CallStoreConfig, ValueStoreConfig},
};

use crate::{
    fixture::Fixture,
    peer_process::{Pair, Task},
    store_kind::{Calls, StoreKind, Values},
    test_calls::{Call, Scene, text},
    test_data::Item,
};

/// Returns the entries that are put and synced before the permissions or limits change.
fn synced_items() -> Vec<Item> {
    (0..10).map(Item::small).chain((10..13).map(Item::large)).collect()
}

fn put_and_sync(values: &dyn ValueStore, calls: &dyn CallStore) {
    for item in synced_items() {
        values.put(&item.id(), &item.value()).unwrap();
        calls.put(&item.key(), &item.record()).unwrap();
        values.sync(&item.id()).unwrap();
        calls.sync(&item.key()).unwrap();
    }
}

#[cfg(not(target_os = "linux"))]
pub(crate) fn unusual_directory_names(_: &Fixture) {}

/// Runs on Linux only, since other systems refuse file names that are not valid text.
#[cfg(target_os = "linux")]
pub(crate) fn unusual_directory_names(fixture: &Fixture) {
    use std::{ffi::OsStr, fs, os::unix::ffi::OsStrExt as _};

    for name in [&b"caf\xe9"[..], b"a b\n\"c\"", b"d?e#f%20"] {
        let directory = fixture.directory().join(OsStr::from_bytes(name));
        fs::create_dir(&directory).unwrap();
        let (values, calls) = (fixture.backend.scratch)(&directory);
        let opened = (values.open(), calls.open());
        let (values, calls) = match opened {
            (Ok(values), Ok(calls)) => (values, calls),
            (Err(error), _) | (_, Err(error)) => {
                let shown = directory.display().to_string();
                assert!(error.to_string().contains(&shown), "the error does not name the path `{shown}`: {error:?}");
                assert!(
                    fs::read_dir(&directory).unwrap().next().is_none(),
                    "the store wrote to a directory that it refuses"
                );
                continue;
            }
        };
        put_and_sync(&*values, &*calls);
        let configs = (values.config(), calls.config());
        drop((values, calls));
        if !fixture.backend.durable {
            continue;
        }
        // The configurations are read from text, as in another process.
        let text = (serde_json::to_string(&configs.0).unwrap(), serde_json::to_string(&configs.1).unwrap());
        let values: Box<dyn ValueStoreConfig> = serde_json::from_str(&text.0).unwrap();
        let calls: Box<dyn CallStoreConfig> = serde_json::from_str(&text.1).unwrap();
        Values(values.open().unwrap()).assert_holds(&synced_items());
        Calls(calls.open().unwrap()).assert_holds(&synced_items());
    }
}

/// The limit in bytes, which is larger than a store with the first entries.
const LIMIT: usize = 4_000_000;

/// Runs the case with results of several lengths, because a store may reach the limit with any of its files, in the call or on a thread
/// of its own.
pub(crate) fn file_size_limit(fixture: &Fixture) {
    for length in [LIMIT / 64, LIMIT / 8, LIMIT / 4, LIMIT / 2, LIMIT, 2 * LIMIT] {
        let directory = fixture.directory().join(length.to_string());
        std::fs::create_dir(&directory).unwrap();
        let (values, calls) = (fixture.backend.scratch)(&directory);
        put_and_sync(&*values.open().unwrap(), &*calls.open().unwrap());
        // Backends that store the entries elsewhere are not limited.
        if std::fs::read_dir(&directory).unwrap().next().is_none() {
            return;
        }
        let pair = Pair { values: values.clone(), calls: calls.clone(), durable: fixture.backend.durable };
        fixture.program.perform(Task::LimitFiles { length }, pair);
        let (values, calls) = (Values(values.open().unwrap()), Calls(calls.open().unwrap()));
        for item in synced_items() {
            values.assert_has(item);
            calls.assert_has(item);
        }
    }
}

pub(crate) fn read_only_user(fixture: &Fixture) {
    if stores_elsewhere(fixture) {
        return;
    }
    let scene = record_damaged_call(fixture).id();
    fixture.with_modes(0o555, 0o444, || fixture.program.perform(Task::ReadOnly { scene }, fixture.pair()));
    // Other users may create files in the directory, but may not change the existing ones.
    fixture.with_modes(0o777, 0o444, || fixture.program.perform(Task::ReadOnly { scene }, fixture.pair()));
}

/// The call whose result is damaged.
const DAMAGED: (u64, usize) = (7, 1000);

/// Returns the id of the damaged result.
fn damaged_id() -> Digest {
    Digest::hash(&encoding::to_vec(&text(DAMAGED.0, DAMAGED.1)).unwrap())
}

/// Records the call [`DAMAGED`], and damages its result.
fn record_damaged_call(fixture: &Fixture) -> Scene {
    let (scene, values) = (Scene::new(), fixture.open_values());
    let cache = Cache::builder().values(values.clone()).calls(fixture.open_calls()).hot_tier(HotTier::OFF).build();
    cache.scope(|| scene.call(Call::Long(DAMAGED.0, DAMAGED.1))).unwrap();
    assert!(values.remove(&damaged_id(), None).unwrap(), "the result of a call is not in the value store");
    values.put(&damaged_id(), b"other bytes").unwrap();
    values.sync(&damaged_id()).unwrap();
    scene
}

/// Puts the entries, and returns whether the backend stores them outside of the scratch directory.
fn stores_elsewhere(fixture: &Fixture) -> bool {
    put_and_sync(&*fixture.open_values(), &*fixture.open_calls());
    fixture.disk().is_empty()
}

#[cfg(unix)]
pub(crate) use self::in_peer::{limited_in_peer, read_only_in_peer};

#[cfg(not(unix))]
pub(crate) fn limited_in_peer(_: &Pair, _length: usize) {}

#[cfg(not(unix))]
pub(crate) fn read_only_in_peer(_: &Pair, _scene: u64) {}

#[cfg(unix)]
mod in_peer {
    use std::{sync::mpsc, thread, time::Duration};

    use nix::sys::resource::{Resource, getrlimit, setrlimit};

    use super::{
        Cache, Call, Calls, DAMAGED, Error, HotTier, LIMIT, Pair, Scene, StoreKind as _, Values, damaged_id,
        synced_items,
    };
    use crate::forked::give_up_root;

    /// The time limit for closing the stores.
    const TIMEOUT: Duration = Duration::from_mins(3);

    pub(crate) fn limited_in_peer(pair: &Pair, length: usize) {
        let (values, calls) = (pair.values.open().unwrap(), pair.calls.open().unwrap());
        let (_, most) = getrlimit(Resource::RLIMIT_FSIZE).unwrap();
        setrlimit(Resource::RLIMIT_FSIZE, LIMIT as u64, most).unwrap();
        let scene = Scene::new();
        let cache = Cache::builder().values(values.clone()).calls(calls.clone()).hot_tier(HotTier::OFF).build();
        for turn in 0..2 {
            // Together, the results exceed the limit.
            for x in 0..(2 * LIMIT / length).max(4) as u64 {
                cache.scope(|| scene.call(Call::Long(x, length))).unwrap();
                cache.scope(|| scene.call(Call::Short(1000 * turn + x))).unwrap();
            }
            // This result alone exceeds the limit.
            cache.scope(|| scene.call(Call::Long(1, 2 * LIMIT))).unwrap();
        }
        assert!(cache.stats().faults > 0, "no operation reached the limit: {:?}", cache.stats());
        for item in synced_items() {
            // A store that has just failed may report once that it was reopened.
            let _ = (values.contains(&item.id()), calls.contains(&item.key()));
        }
        let (closed, is_closed) = mpsc::channel();
        thread::spawn(move || {
            drop((cache, values, calls));
            closed.send(())
        });
        is_closed.recv_timeout(TIMEOUT).expect("stores that reached the limit are closed");
    }

    pub(crate) fn read_only_in_peer(pair: &Pair, scene: u64) {
        give_up_root();
        let (values, calls) = match (pair.values.open(), pair.calls.open()) {
            (Ok(values), Ok(calls)) => (values, calls),
            (Err(error), _) | (_, Err(error)) => {
                assert!(matches!(error, Error::Io { .. } | Error::Config { .. }), "{error:?}");
                let text = error.report().to_string();
                assert!(
                    text.contains("write") || text.contains("writing"),
                    "the error does not name the missing permission: {text}"
                );
                return;
            }
        };
        for item in synced_items() {
            Values(values.clone()).assert_has(item);
            Calls(calls.clone()).assert_has(item);
        }
        let damaged = values.get(&damaged_id());
        assert!(matches!(damaged, Err(Error::Damaged { .. }) | Ok(None)), "a damaged value is read as {damaged:?}");
        let cache = Cache::builder().values(values).calls(calls).hot_tier(HotTier::OFF).build();
        for x in 0..3 {
            cache.scope(|| Scene::new().call(Call::Long(x, 1000))).unwrap();
        }
        let scene = Scene::from_id(scene);
        let before = scene.runs();
        for _ in 0..2 {
            cache.scope(|| scene.call(Call::Long(DAMAGED.0, DAMAGED.1))).unwrap();
        }
        assert!(scene.runs() > before, "a call with a damaged result is not computed");
    }
}

/// Runs the case in a process of its own, so that no child inherits files that other cases have open.
pub(crate) fn forked_child(fixture: &Fixture) {
    fixture.program.perform(Task::Fork, fixture.pair());
}

/// Opens the stores and forks several children, which must compute without them. The parent's results must be recorded.
#[cfg(unix)]
pub(crate) fn fork_in_peer(pair: &Pair) {
    use fleche_core::DigestPrefix;

    use crate::forked::in_forked_child;

    const RESULTS: u64 = 100;
    const TURNS: u64 = 4;
    let open = || {
        let (values, calls) = (pair.values.open().unwrap(), pair.calls.open().unwrap());
        Cache::builder().values(values).calls(calls).hot_tier(HotTier::OFF).build()
    };
    let scene = Scene::new();
    let compute = |turn: u64| (0..RESULTS).all(|x| scene.call(Call::Long(turn * RESULTS + x, 100)).is_ok());
    let mut cache = open();
    assert!(cache.scope(|| compute(0)));
    let known = cache.calls().keys(&DigestPrefix::all()).unwrap().next().unwrap().unwrap();
    for turn in 1..=TURNS {
        assert!(in_forked_child(|| {
            let computed = cache.scope(|| compute(0) && compute(TURNS + 1));
            // A store may refuse the child, but only with the error that says why.
            let answers = [
                pair.values.open().err(),
                pair.calls.open().err(),
                cache.calls().get(&known).err(),
                cache.calls().sync(&known).err(),
            ];
            let refused = answers.iter().flatten().all(|error| matches!(error, Error::Forked { .. }));
            // Closing the cache here must not write entries that the parent has yet to write.
            drop(std::mem::replace(&mut cache, Cache::void()));
            computed && refused
        }));
        assert!(cache.scope(|| compute(turn)));
    }
    if pair.durable {
        drop(cache);
        cache = open();
    }
    let before = scene.runs();
    assert!(cache.scope(|| (0..=TURNS).all(compute)));
    assert_eq!(scene.runs() - before, 0, "the parent's recorded results are lost");
    assert!(cache.scope(|| compute(TURNS + 1)));
    assert_eq!(scene.runs() - before, RESULTS, "a child's results were recorded");
}

#[cfg(not(unix))]
pub(crate) fn fork_in_peer(_: &Pair) {}
