//! `map` over a pool: ordered, lazy, and cancelled when dropped.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering::SeqCst},
};

use fleche_core::{ExecutorExt, Resources, fleche, wrap_executor};

use super::common::{Counting, Gate, LOOK_AHEAD, memory, pool};

#[fleche]
fn negated(x: i64) -> i64 {
    -x
}

#[test]
fn results_are_in_the_order_of_the_inputs() {
    // The first call ends only after the second one.
    let gate = Arc::new(Gate::new());
    let function = move |x: i64| {
        match x {
            0 => gate.wait(),
            1 => gate.open(),
            _ => {}
        }
        10 * x
    };
    let pool = pool(2);
    let results: Vec<_> = pool.map(function, (0..4).map(|x| (x,))).collect::<Result<_, _>>().unwrap();
    assert_eq!(results, [0, 10, 20, 30]);
}

#[test]
fn map_accepts_an_infinite_iterator() {
    let _active = memory().enter();
    let pool = wrap_executor(pool(2));
    let results: Vec<_> = pool.map(negated, (0..).map(|x| (x,))).take(10).map(Result::unwrap).collect();
    assert_eq!(results, [0, -1, -2, -3, -4, -5, -6, -7, -8, -9]);
}

#[test]
fn executor_states_how_far_inputs_are_taken_ahead() {
    let counting = Counting::new();
    let wrapped = wrap_executor(&counting);
    let with_nothing = wrapped.with(Resources::new());
    let mut map = with_nothing.map(|x: i64| x, (0..).map(|x| (x,)));
    assert_eq!(map.next(), Some(Ok(0)));
    assert_eq!(counting.submitted(), LOOK_AHEAD);
}

#[test]
fn inputs_are_taken_a_bounded_number_ahead() {
    let mut taken = 0;
    let inputs = (0..).map(|x: i64| {
        taken += 1;
        (x,)
    });
    let pool = pool(2);
    assert_eq!(pool.map(|x: i64| x, inputs).ahead(4).take(10).flatten().count(), 10);
    assert_eq!(taken, 13); // Three are ahead when the tenth is taken.
}

#[test]
fn nothing_is_submitted_before_a_result_is_requested() {
    let pool = Counting::new();
    drop(pool.map(|x: i64| x, [(1,), (2,)]));
    assert_eq!(pool.submitted(), 0);
}

#[test]
fn unstarted_calls_never_run_after_the_map_is_dropped() {
    let (second_started, gate) = (Arc::new(Gate::new()), Arc::new(Gate::new()));
    let ran = Arc::new(AtomicUsize::new(0));
    let within = (second_started.clone(), gate.clone(), ran.clone());
    let function = move |x: i64| {
        within.2.fetch_add(1, SeqCst);
        if x == 1 {
            within.0.open();
            within.1.wait();
        }
    };
    let pool = pool(1);
    let mut map = pool.map(function, (0..).map(|x| (x,))).ahead(5);
    assert_eq!(map.next(), Some(Ok(())));
    second_started.wait();
    drop(map);
    gate.open();
    pool.shutdown();
    assert_eq!(ran.load(SeqCst), 2);
}

#[test]
fn error_takes_the_position_of_its_input() {
    let pool = pool(2);
    let results: Vec<_> = pool.map(|x: i64| assert_ne!(x, 1, "not one"), (0..3).map(|x| (x,))).collect();
    assert_eq!(results.iter().map(Result::is_ok).collect::<Vec<_>>(), [true, false, true]);
}

#[test]
fn hits_of_a_map_never_reach_the_pool() {
    let _active = memory().enter();
    let pool = wrap_executor(Counting::new());
    negated(1);
    negated(3);
    let results: Vec<_> = pool.map(negated, (0..5).map(|x| (x,))).collect::<Result<_, _>>().unwrap();
    assert_eq!(results, [0, -1, -2, -3, -4]);
    assert_eq!(pool.inner().submitted(), 3);
}
