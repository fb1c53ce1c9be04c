//! Tests the warning about `let _ = cache.enter();`, which drops the guard at once: it appears once per process, and
//! only for mistakes.

use std::{
    env,
    process::{Command, Stdio},
};

use fleche_core::{Cache, active_cache, fleche, set_default_cache};
use fleche_store_memory::{MemoryCalls, MemoryValues};

#[fleche]
fn square(x: u64) -> u64 {
    x * x
}

#[fleche(hot = false)]
fn cube(x: u64) -> u64 {
    x * x * x
}

fn memory() -> Cache {
    Cache::new(MemoryValues::new(), MemoryCalls::new())
}

/// The name of each role, its work in a process of its own, and the number of warnings that it prints.
const ROLES: [(&str, fn(), usize); 6] = [
    ("a guard that is not bound", || drop_at_once(|| square(2)), 1),
    (
        "a guard that is not bound, twice, before a call that is not hot",
        || {
            drop_at_once(|| cube(2));
            drop_at_once(|| cube(3));
        },
        1,
    ),
    (
        "a guard that is bound",
        || {
            let _active = memory().enter();
            square(2);
            cube(2);
        },
        0,
    ),
    (
        "a guard that was used, and an inner one that was not",
        || {
            let (outer, inner) = (memory(), memory());
            let active = outer.enter();
            square(2);
            drop(inner.enter());
            square(2);
            drop(active);
            square(2);
        },
        0,
    ),
    (
        "a closure that calls nothing",
        || {
            memory().scope(|| ());
            square(2);
        },
        0,
    ),
    (
        "a guard that is not bound, where a default is set",
        || {
            set_default_cache(memory());
            drop_at_once(|| active_cache().stats());
            square(2);
        },
        0,
    ),
];

fn drop_at_once<R>(then: impl FnOnce() -> R) {
    let _ = memory().enter();
    then();
}

#[test]
fn unused_guard_causes_one_warning() {
    if let Ok(role) = env::var("UNBOUND_GUARD_ROLE") {
        let (_, run, _) = ROLES.iter().find(|(name, ..)| *name == role).unwrap();
        run();
        return;
    }
    let directory = tempfile::tempdir().unwrap();
    for (role, _, warnings) in ROLES {
        let output = Command::new(env::current_exe().unwrap())
            .args(["--exact", "unbound_guard::unused_guard_causes_one_warning", "--nocapture"])
            .env("UNBOUND_GUARD_ROLE", role)
            .env_remove("FLECHE_LOG")
            .current_dir(directory.path())
            .stdin(Stdio::null())
            .output()
            .unwrap();
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{role}: {stderr}");
        assert_eq!(stderr.matches("bind the guard").count(), warnings, "{role}: {stderr}");
        assert_eq!(stderr.matches("unbound_guard.rs:").count(), warnings, "{role}: {stderr}");
    }
}
