//! Tests of memoized functions must not depend on what earlier runs recorded: `testing::ignore_configuration`.

use std::{env, fs, thread};

use fleche_core::{Cache, active_cache, fleche, testing};
use fleche_store_file as _;

use crate::{own_process::run_alone, support};

static RUNS: support::Runs = support::Runs::new();

#[fleche]
fn energy(x: f64) -> f64 {
    RUNS.count();
    0.5 * x * x
}

#[test]
fn configuration_is_ignored_on_every_thread_while_the_guard_lives() {
    run_alone("ignored_configuration::configuration_is_ignored_on_every_thread_while_the_guard_lives", || {
        let directory = tempfile::tempdir().unwrap();
        let text = "root = true\n[cache.mine]\nvalues = { type = \"file\", root = \"values\" }\ncalls = { type = \"file\", root = \"calls\" }\n";
        fs::write(directory.path().join("fleche.toml"), text).unwrap();
        env::set_current_dir(directory.path()).unwrap();

        let outer = testing::ignore_configuration();
        {
            let _inner = testing::ignore_configuration();
            assert_eq!((energy(2.0), energy(2.0)), (2.0, 2.0));
        }
        thread::spawn(|| energy(2.0)).join().unwrap();
        assert_eq!(RUNS.take(), 3);
        let void = Cache::void().config();
        assert_eq!((active_cache().config(), Cache::from_environment().unwrap().config()), (void.clone(), void));
        assert!(Cache::named("mine").unwrap_err().to_string().contains("there is no cache `mine`"));
        assert!(!directory.path().join("calls").exists());

        // Each scratch cache is used, and is new.
        for _ in 0..2 {
            let cache = testing::scratch();
            let _active = cache.enter();
            assert_eq!((energy(2.0), energy(2.0)), (2.0, 2.0));
            assert_eq!((RUNS.take(), cache.stats().hits), (1, 1));
        }

        drop(outer);
        assert_eq!((energy(2.0), energy(2.0)), (2.0, 2.0));
        assert_eq!(RUNS.take(), 1);
        assert!(energy::contains(2.0).unwrap() && directory.path().join("calls").exists());
        assert_eq!(Cache::named("mine").unwrap().config(), active_cache().config());
    });
}
