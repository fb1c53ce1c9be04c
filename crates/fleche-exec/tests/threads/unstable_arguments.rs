//! Arguments of calls that are answered before they reach the pool are checked as those of other calls are.

use std::sync::atomic::{AtomicU64, Ordering::SeqCst};

use fleche_core::{Cache, ExecutorExt, SkipReason, fleche, wrap_executor};
use serde::{Deserialize, Deserializer, Serialize, de::DeserializeOwned};

use super::common::{memory, pool};

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Lossy {
    kept: u64,
    #[serde(skip)]
    lost: u64,
}

impl Lossy {
    fn new(lost: u64) -> Self {
        Self { kept: 1, lost }
    }

    fn sum(&self) -> u64 {
        self.kept + self.lost
    }
}

/// Asserts that no hit is served for an argument that differs in a skipped field.
fn assert_checked(submit: impl Fn(&Cache, u64) -> u64) {
    let cache = memory();
    let _active = cache.enter();
    assert_eq!((submit(&cache, 0), submit(&cache, 2)), (1, 3));
    assert_eq!(cache.stats().hits, 0);
    assert!(cache.stats().skipped[&SkipReason::ArgumentNotStable] >= 1);
}

#[test]
fn hit_for_an_argument_that_its_encoding_loses_is_not_served() {
    #[fleche]
    fn sum(lossy: Lossy) -> u64 {
        lossy.sum()
    }
    let pool = wrap_executor(pool(2));
    assert_checked(|_, lost| pool.submit(sum, (Lossy::new(lost),)).result().unwrap());
}

#[test]
fn hit_of_a_generic_function_for_an_argument_that_its_encoding_loses_is_not_served() {
    trait Number: Serialize + DeserializeOwned + Send + Sync + 'static {}
    impl Number for u8 {}
    #[fleche]
    fn beside<T: Number>(lossy: Lossy, _other: T) -> u64 {
        lossy.sum()
    }
    let pool = wrap_executor(pool(2));
    assert_checked(|_, lost| pool.submit(beside::<u8>, (Lossy::new(lost), 1)).result().unwrap());
}

#[test]
fn hit_is_not_served_if_the_encoding_loses_part_of_a_generic_argument() {
    trait Sum: PartialEq + Serialize + DeserializeOwned + Send + Sync + 'static {
        fn sum(&self) -> u64;
    }
    impl Sum for Lossy {
        fn sum(&self) -> u64 {
            Self::sum(self)
        }
    }
    #[fleche]
    fn generic<T: Sum>(value: T) -> u64 {
        value.sum()
    }
    let pool = wrap_executor(pool(2));
    assert_checked(|_, lost| pool.submit(generic::<Lossy>, (Lossy::new(lost),)).result().unwrap());
}

#[test]
fn bound_call_with_an_argument_that_is_lent_is_checked() {
    #[fleche]
    fn lent(lossy: &Lossy) -> u64 {
        lossy.sum()
    }
    let pool = wrap_executor(pool(2));
    let cache = memory();
    let _active = cache.enter();
    assert_eq!(pool.run(lent::bind(&Lossy::new(0))).result(), Ok(1));
    drop(lent::bind(&Lossy::new(2)));
    assert_eq!(cache.stats().skipped[&SkipReason::ArgumentNotStable], 1);
}

/// Counts how often it is decoded.
#[derive(Clone, Debug, PartialEq, Serialize)]
struct Counted(u64);

static DECODED: AtomicU64 = AtomicU64::new(0);

impl<'de> Deserialize<'de> for Counted {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        DECODED.fetch_add(1, SeqCst);
        u64::deserialize(deserializer).map(Self)
    }
}

#[test]
fn of_hits_that_do_not_reach_the_pool_the_first_and_every_power_of_two_are_checked() {
    #[fleche]
    fn of_counted(counted: Counted) -> u64 {
        counted.0
    }
    let (pool, cache) = (wrap_executor(pool(2)), memory());
    let _active = cache.enter();
    let submit = || pool.submit(of_counted, (Counted(1),)).result().unwrap();
    submit();
    let checked = (1..=20).filter(|_| {
        let before = DECODED.load(SeqCst);
        assert_eq!(submit(), 1);
        DECODED.load(SeqCst) > before
    });
    assert_eq!(checked.collect::<Vec<_>>(), [1, 2, 4, 8, 16]);
    assert_eq!(cache.stats().hits, 20);
}
