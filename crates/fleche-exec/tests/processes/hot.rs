//! The hot tiers of the pool's process and its workers, when the other side evicts or replaces records.

use std::path::PathBuf;

use fleche_core::{ExecutorExt, fleche, wrap_executor};

use super::common::{memory, pool, result};

#[fleche]
fn current(#[by_name] directory: PathBuf) -> String {
    std::fs::read_to_string(directory.join("current")).unwrap()
}

fn again(directory: PathBuf) -> String {
    current::rerun(directory)
}

fn forget(directory: PathBuf) -> bool {
    current::evict(directory).unwrap()
}

#[test]
fn results_that_a_worker_replaces_or_evicts_are_not_served_hot() {
    let directory = tempfile::tempdir().unwrap();
    let here = || directory.path().to_owned();
    let say = |text: &str| std::fs::write(directory.path().join("current"), text).unwrap();
    let cache = memory();
    let _active = cache.enter();
    let pool = wrap_executor(pool(1));
    say("one");
    assert_eq!([current(here()), current(here())], ["one", "one"]);
    say("two");
    assert_eq!(current(here()), "one");
    assert_eq!(result(pool.submit(again, (here(),))).as_deref(), Ok("two"));
    assert_eq!(current(here()), "two");
    say("three");
    assert_eq!(result(pool.submit(forget, (here(),))), Ok(true));
    assert_eq!(current(here()), "three");
    // In the other direction, a worker that has kept a result notices what was evicted since then.
    say("four");
    assert!(current::evict(here()).unwrap());
    assert_eq!(result(pool.submit(|directory: PathBuf| current(directory), (here(),))).as_deref(), Ok("four"));
    say("five");
    assert!(current::evict(here()).unwrap());
    assert_eq!(result(pool.submit(|directory: PathBuf| current(directory), (here(),))).as_deref(), Ok("five"));
}
