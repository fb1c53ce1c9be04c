//! Arguments that lose something on their way to a worker are noticed where they still have it.

use fleche_core::{ExecutorExt, SkipReason, fleche, wrap_executor};
use serde::{Deserialize, Serialize, de::DeserializeOwned};

use super::common::{memory, pool, result};

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Lossy {
    kept: u64,
    #[serde(skip)]
    lost: u64,
}

fn lossy(lost: u64) -> Lossy {
    Lossy { kept: 1, lost }
}

#[fleche]
fn hit_sum(lossy: Lossy) -> u64 {
    lossy.kept + lossy.lost
}

#[fleche]
fn missed_sum(lossy: Lossy) -> u64 {
    lossy.kept + lossy.lost
}

#[fleche]
fn unbound_sum(lossy: Lossy) -> u64 {
    lossy.kept + lossy.lost
}

#[fleche]
fn generic_sum<T: Clone + Serialize + DeserializeOwned + Send + Sync + 'static>(lossy: Lossy, _other: T) -> u64 {
    lossy.kept + lossy.lost
}

#[test]
fn hit_for_an_argument_that_its_encoding_loses_is_not_served() {
    let (pool, cache) = (wrap_executor(pool(1)), memory());
    let _active = cache.enter();
    assert_eq!(result(pool.submit(hit_sum, (lossy(0),))), Ok(1));
    assert!(cache.stats().skipped.is_empty());
    drop(result(pool.submit(hit_sum, (lossy(2),))));
    assert_eq!(cache.stats().skipped[&SkipReason::ArgumentNotStable], 1);
    assert_eq!(hit_sum(lossy(2)), 3, "calls run without the cache from then on");
}

#[test]
fn argument_that_its_encoding_loses_is_noticed_before_it_is_sent() {
    let (pool, cache) = (pool(1), memory());
    let _active = cache.enter();
    drop(result(pool.submit(unbound_sum, (lossy(2),))));
    drop(result(pool.submit(generic_sum::<u8>, (lossy(2), 1))));
    let wrapped = wrap_executor(pool);
    drop(result(wrapped.submit(missed_sum, (lossy(2),))));
    // The instance of the generic function was not called in this process, so it is not known here.
    assert_eq!(cache.stats().skipped[&SkipReason::ArgumentNotStable], 2);
    assert_eq!(generic_sum(lossy(0), 1_u8), 1);
    drop(result(wrapped.submit(generic_sum::<u8>, (lossy(2), 1))));
    assert_eq!(cache.stats().skipped[&SkipReason::ArgumentNotStable], 3);
}
