//! Tasks beside one whose store operation never returns.

use std::{sync::Arc, thread};

use fleche_conformance::faults::{Fault, FaultyCalls, FaultyValues, Plan};
use fleche_core::{Cache, ExecutorExt, cache::HotTier, fleche};
use fleche_store_memory::{MemoryCalls, MemoryValues};

use super::common::pool;

#[fleche]
fn listed(x: u64) -> Vec<u64> {
    vec![x; 100]
}

/// Operations of a call that misses: it is looked for, claimed, computed and stored. Each of them hangs in turn.
#[test]
fn tasks_go_on_while_a_store_operation_of_another_task_hangs() {
    for nth in 1.. {
        let plan = Arc::new(Plan::new(Fault::Hang, nth));
        let values = FaultyValues::new(Arc::new(MemoryValues::new()), plan.clone());
        let calls = FaultyCalls::new(Arc::new(MemoryCalls::new()), plan.clone());
        let _active = Cache::new(values, calls).hot_tier(HotTier::OFF).enter();
        let pool = pool(2);
        let hangs = pool.submit(listed, (0,));
        while !plan.has_struck() && !hangs.is_done() {
            thread::yield_now();
        }
        let struck = plan.has_struck();
        if !struck {
            plan.end();
        }
        let others: Vec<_> = (1..20).map(|x| pool.submit(listed, (x,))).collect();
        for (x, job) in (1..20).zip(others) {
            assert_eq!(job.result(), Ok(vec![x; 100]));
        }
        assert_eq!(hangs.is_done(), !struck, "operation {nth}");
        plan.end();
        assert_eq!(hangs.result(), Ok(vec![0; 100]));
        if !struck {
            assert!(nth > 3, "a miss takes several operations");
            return;
        }
    }
}
