//! Tests of callables that can run in a worker, and of the errors that refuse others.

use std::process;

use fleche_core::{ExecutorExt, Hashed, JobError, fleche, wrap_executor};

use super::common::{memory, pool, result, whoami};

#[fleche]
fn square(x: i64) -> i64 {
    x * x
}

#[fleche]
fn process_of(_x: i64) -> u32 {
    process::id()
}

#[fleche]
fn sum_of(array: Hashed<Vec<f64>>) -> f64 {
    array.iter().sum()
}

#[fleche]
fn largest<T: Ord + Clone + Default + serde::Serialize + serde::de::DeserializeOwned + Send + Sync + 'static>(
    values: &[T],
) -> T {
    values.iter().max().cloned().unwrap_or_default()
}

#[fleche]
fn owned<T: Clone + serde::Serialize + serde::de::DeserializeOwned + Send + Sync + 'static>(value: T) -> (T, u32) {
    (value, process::id())
}

fn add(x: i64, y: i64) -> i64 {
    x + y
}

fn generic<T: Into<i64>>(x: T) -> i64 {
    x.into() + 1
}

#[test]
fn memoized_function_runs_in_a_worker() {
    let pool = pool(1);
    assert_eq!(result(pool.submit(square, (7,))), Ok(49));
    assert_ne!(result(pool.submit(process_of, (1,))).unwrap(), process::id());
}

#[test]
fn hashed_argument_reaches_a_worker() {
    let cache = memory();
    let _active = cache.enter();
    let pool = wrap_executor(pool(1));
    let array = Hashed::new((0..1000).map(f64::from).collect::<Vec<_>>());
    for _ in 0..2 {
        assert_eq!(result(pool.submit(sum_of, (array.clone(),))), Ok(499_500.0));
    }
    assert_eq!(result(pool.run(sum_of::bind(array.clone()))), Ok(499_500.0));
    assert!(sum_of::contains(array).unwrap());
    assert_eq!(pool.inner().stats().received, 1);
}

#[test]
fn plain_function_runs_in_a_worker() {
    let pool = pool(1);
    assert_eq!(result(pool.submit(add, (3, 4))), Ok(7));
    assert_ne!(result(pool.submit(whoami, ())).unwrap(), process::id());
}

#[test]
fn closure_that_captures_nothing_runs_in_a_worker() {
    let pool = pool(1);
    let (x, worker) = result(pool.submit(|x: i64| (x + 1, process::id()), (1,))).unwrap();
    assert_eq!(x, 2);
    assert_ne!(worker, process::id());
}

#[test]
fn closures_with_the_same_code_are_distinguished() {
    let pool = pool(1);
    let first = pool.submit(|x: i64| format!("{x}"), (1,));
    let second = pool.submit(|x: u64| format!("{x}"), (2,));
    assert_eq!((result(first).unwrap(), result(second).unwrap()), ("1".to_owned(), "2".to_owned()));
}

#[test]
fn generic_instances_run_in_a_worker_that_has_never_called_them() {
    let pool = pool(1);
    assert_eq!(result(pool.submit(generic::<i32>, (1,))), Ok(2));
    assert_eq!(result(pool.submit(owned::<u8>, (5,))).unwrap().0, 5);
    assert_eq!(result(pool.submit(owned::<String>, ("a".to_owned(),))).unwrap().0, "a");
}

#[test]
fn bound_call_with_borrowed_parameters_runs_in_a_worker() {
    let _active = memory().enter();
    let pool = pool(1);
    assert_eq!(result(pool.run(square::bind(3))), Ok(9));
    assert_eq!(result(pool.run(largest::bind(&[1_u8, 9, 3]))), Ok(9));
    assert_eq!(result(pool.run(largest::bind(&["a".to_owned(), "c".to_owned()]))), Ok("c".to_owned()));
}

#[test]
fn one_worker_is_kept_for_all_tasks() {
    let pool = pool(1);
    let workers: Vec<u32> = (0..5).map(|_| result(pool.submit(whoami, ())).unwrap()).collect();
    assert!(workers.iter().all(|worker| *worker == workers[0]), "{workers:?}");
    assert_eq!(pool.stats().workers, 1);
}

fn refusal(refused: Result<i64, JobError>) -> String {
    match refused {
        Err(JobError::Rejected { why }) => why,
        other => panic!("{other:?}"),
    }
}

#[test]
fn capturing_closure_is_refused_with_advice_to_pass_arguments() {
    let offset = 5_i64;
    let why = refusal(result(pool(1).submit(move |x: i64| x + offset, (1,))));
    assert!(why.contains("closure") && why.contains("as arguments"), "{why}");
}

#[test]
fn function_pointer_is_refused_with_advice_to_pass_the_function() {
    let pointer: fn(i64, i64) -> i64 = add;
    let why = refusal(result(pool(1).submit(pointer, (1, 2))));
    assert!(why.contains("function pointer") && why.contains("the function itself"), "{why}");
}

#[test]
fn reference_to_a_function_is_refused_with_advice_to_pass_the_function() {
    let why = refusal(result(pool(1).submit(&add, (1, 2))));
    assert!(why.contains("reference") && why.contains("the function itself"), "{why}");
}

#[test]
fn refused_call_starts_no_worker() {
    let (pool, offset) = (pool(1), 5_i64);
    refusal(result(pool.submit(move |x: i64| x + offset, (1,))));
    assert_eq!((pool.stats().received, pool.stats().workers), (0, 0));
}
