//! A store operation of one task never returns, and the other tasks proceed.

use std::{sync::Arc, thread};

use fleche_conformance::faults::{Fault, FaultyCalls, FaultyValues, Plan};
use fleche_core::{Cache, cache::HotTier, fleche};
use fleche_store_memory::{MemoryCalls, MemoryValues};

use super::common::pool;

#[fleche]
fn listed(x: u64) -> Vec<u64> {
    vec![x; 100]
}

/// Each operation of a missing call hangs in turn: the lookup, the claim, and storing the value and the record.
#[test]
fn tasks_go_on_while_a_store_operation_of_another_task_hangs() {
    for nth in 1.. {
        let plan = Arc::new(Plan::new(Fault::Hang, nth));
        let values = FaultyValues::new(Arc::new(MemoryValues::new()), plan.clone());
        let calls = FaultyCalls::new(Arc::new(MemoryCalls::new()), plan.clone());
        let cache = Cache::new(values, calls).hot_tier(HotTier::OFF);
        let pool = pool(2);
        let submit = |x| {
            let cache = cache.clone();
            pool.spawn(move || cache.scope(|| listed(x)))
        };
        let hangs = submit(0);
        while !plan.has_triggered() && !hangs.is_done() {
            thread::yield_now();
        }
        let struck = plan.has_triggered();
        if !struck {
            plan.end();
        }
        let others: Vec<_> = (1..20).map(submit).collect();
        for (x, job) in (1..20).zip(others) {
            assert_eq!(job.result(), Ok(vec![x; 100]));
        }
        assert_eq!(hangs.is_done(), !struck, "operation {nth}");
        plan.end();
        assert_eq!(hangs.result(), Ok(vec![0; 100]));
        if !struck {
            assert!(nth > 3, "a miss takes several operations, not {}: {plan:?}", nth - 1);
            return;
        }
    }
}
