//! Cases of forked children of a process that has stores open.

use crate::{
    fixture::Fixture,
    peer::{Pair, Task},
};

/// Runs the case in a process of its own, so that no child inherits files that other cases have open.
pub(crate) fn forked_child(fixture: &Fixture) {
    fixture.program.perform(Task::Fork, fixture.pair());
}

/// Opens the stores and forks several children, which must compute without them. The parent's results must be recorded.
#[cfg(unix)]
pub(crate) fn in_peer(pair: &Pair) {
    use fleche_core::{Cache, DigestPrefix, Error, cache::HotTier};

    use crate::{
        forked::in_forked_child,
        subject::{Call, Scene},
    };

    const RESULTS: u64 = 100;
    const TURNS: u64 = 4;
    let open = || {
        let (values, calls) = (pair.values.open().unwrap(), pair.calls.open().unwrap());
        Cache::of(values, calls, true).hot_tier(HotTier::OFF)
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
pub(crate) fn in_peer(_: &Pair) {}
