//! Tests the default cache of threads that have entered none.

use std::{env, fs, thread};

use fleche_core::{Cache, active_cache, fleche, set_default_cache};
use fleche_store_memory::{MemoryCalls, MemoryValues};

use crate::{own_process::run_alone, support};

#[fleche]
fn somewhere(x: i64) -> i64 {
    RUNS.count();
    x
}

static RUNS: support::Runs = support::Runs::new();

#[test]
fn explicit_default_overrides_configuration_files() {
    run_alone("default_cache::explicit_default_overrides_configuration_files", || {
        let directory = tempfile::tempdir().unwrap();
        let text = "root = true\n[cache.mine]\nvalues = { type = \"memory\", id = \"v\" }\ncalls = { type = \"memory\", id = \"c\" }\n";
        fs::write(directory.path().join("fleche.toml"), text).unwrap();
        fs::create_dir(directory.path().join("below")).unwrap();
        env::set_current_dir(directory.path().join("below")).unwrap();

        // Falling back while another thread has a cache entered causes a warning.
        let entered = support::memory();
        let guard = entered.enter();
        let ((), log) =
            thread::spawn(|| support::logged(|| assert_eq!((somewhere(1), somewhere(1)), (1, 1)))).join().unwrap();
        assert_eq!(log.lines().count(), 1, "{log}");
        assert!(log.contains("threads do not inherit"), "{log}");
        drop(guard);
        assert_eq!(RUNS.take(), 1);

        // All threads share the cache that the file names.
        somewhere(1);
        assert_eq!(RUNS.take(), 0);
        let named = Cache::named("mine").unwrap();
        assert_eq!(named.config(), active_cache().config());
        assert!(named.contains(&somewhere::key(1)).unwrap());
        let error = Cache::named("unknown").unwrap_err().to_string();
        assert!(error.contains("`unknown`") && error.contains("mine"), "{error}");

        let default = Cache::new(MemoryValues::new(), MemoryCalls::new());
        set_default_cache(default.clone());
        somewhere(1);
        thread::spawn(|| somewhere(1)).join().unwrap();
        assert_eq!(RUNS.take(), 1);
        assert_eq!(default.stats().hits, 1);
        set_default_cache(Cache::void());
        somewhere(1);
        assert_eq!(RUNS.take(), 1);
        assert_eq!(Cache::named("memory").unwrap().config(), Cache::named("memory").unwrap().config());
    });
}
