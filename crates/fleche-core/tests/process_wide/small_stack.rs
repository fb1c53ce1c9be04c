//! Tests the first miss of a process on a small stack, also in debug builds.

use std::thread;

use fleche_core::{Cache, fleche};
use fleche_store_memory::{MemoryCalls, MemoryValues};

use crate::own_process::run_alone;

#[fleche]
fn square(x: u64) -> u64 {
    x * x
}

#[test]
fn first_miss_fits_on_a_stack_of_128_kib() {
    run_alone("small_stack::first_miss_fits_on_a_stack_of_128_kib", || {
        let cache = Cache::new(MemoryValues::new(), MemoryCalls::new());
        let misses = {
            let cache = cache.clone();
            move || cache.scope(|| square(7))
        };
        let thread = thread::Builder::new().stack_size(128 << 10).spawn(misses).unwrap();
        assert_eq!(thread.join().unwrap(), 49);
        assert_eq!(cache.stats().computed, 1);
    });
}
