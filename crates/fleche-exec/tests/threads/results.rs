//! Tests of the results that a pool returns and records.

use std::error::Error;

use fleche_core::{ExecutorExt, JobError, fleche, wrap_executor};
use serde::{Serialize, de::DeserializeOwned};

use super::common::{Counting, memory, pool};

#[fleche]
fn nothing(_x: i64) -> Option<i64> {
    None
}

#[fleche]
fn unit(_x: i64) {}

#[fleche]
fn odd(x: i64) -> Result<i64, String> {
    if x % 2 == 1 { Ok(x) } else { Err(format!("{x} is even")) }
}

#[fleche]
fn panics(x: i64) -> i64 {
    panic!("no {x} today")
}

#[fleche]
fn same<T>(x: T) -> T
where
    T: Serialize + DeserializeOwned + Clone + Send + Sync + 'static,
{
    x
}

#[fleche]
fn total(numbers: &[i64], label: &str, offset: &i64) -> String {
    format!("{label}: {}", numbers.iter().sum::<i64>() + offset)
}

#[fleche]
fn parsed(text: &str) -> Result<i64, Box<dyn Error>> {
    Ok(text.parse()?)
}

#[test]
fn none_is_recorded() {
    let _active = memory().enter();
    let pool = wrap_executor(Counting::new());
    assert_eq!(pool.submit(nothing, (1,)).result(), Ok(None));
    assert_eq!(pool.submit(nothing, (1,)).result(), Ok(None));
    assert_eq!(pool.inner().submitted(), 1);
}

#[test]
fn unit_is_recorded() {
    let _active = memory().enter();
    let pool = wrap_executor(Counting::new());
    assert_eq!(pool.submit(unit, (1,)).result(), Ok(()));
    assert_eq!(pool.submit(unit, (1,)).result(), Ok(()));
    assert_eq!(pool.inner().submitted(), 1);
}

#[test]
fn ok_is_recorded() {
    let _active = memory().enter();
    let pool = wrap_executor(Counting::new());
    assert_eq!(pool.submit(odd, (1,)).result(), Ok(Ok(1)));
    assert_eq!(pool.submit(odd, (1,)).result(), Ok(Ok(1)));
    assert_eq!(pool.inner().submitted(), 1);
}

#[test]
fn error_is_returned_and_not_recorded() {
    let cache = memory();
    let _active = cache.enter();
    let job = wrap_executor(pool(1)).submit(odd, (2,));
    assert_eq!(job.result(), Ok(Err("2 is even".to_owned())));
    assert!(!odd::contains(2).unwrap());
}

#[test]
fn panic_is_returned_with_message_and_location() {
    let _active = memory().enter();
    let error = wrap_executor(pool(1)).submit(panics, (7,)).result().unwrap_err();
    let JobError::Panicked { message, location } = error else { panic!("{error}") };
    assert_eq!(message, "no 7 today");
    assert!(location.unwrap().contains("results.rs:"));
}

#[test]
fn panic_records_nothing() {
    let _active = memory().enter();
    wrap_executor(pool(1)).submit(panics, (8,)).result().unwrap_err();
    assert!(!panics::contains(8).unwrap());
}

#[test]
fn generic_functions_are_distinguished_by_their_types() {
    let cache = memory();
    let _active = cache.enter();
    let pool = wrap_executor(Counting::new());
    assert_eq!(pool.submit(same::<u8>, (5,)).result(), Ok(5));
    assert_eq!(pool.submit(same::<u64>, (5,)).result(), Ok(5));
    assert_eq!(pool.submit(same::<u8>, (5,)).result(), Ok(5));
    assert_eq!(pool.inner().submitted(), 2);
    assert_eq!(cache.stats().computed, 2);
}

#[test]
fn bound_call_may_borrow_its_parameters() {
    let _active = memory().enter();
    let pool = wrap_executor(Counting::new());
    let numbers = vec![1, 2, 3];
    assert_eq!(pool.run(total::bind(&numbers, "sum", &10)).result().unwrap(), "sum: 16");
    assert_eq!(pool.run(total::bind(&numbers, "sum", &10)).result().unwrap(), "sum: 16");
    assert_eq!(pool.inner().submitted(), 1);
}

#[test]
fn bound_call_may_return_an_error_that_is_not_send() {
    let _active = memory().enter();
    let pool = wrap_executor(pool(1));
    assert_eq!(pool.run(parsed::bind("12")).result().unwrap().unwrap(), 12);
    let error = pool.run(parsed::bind("twelve")).result().unwrap().unwrap_err();
    assert_eq!(error.to_string(), "invalid digit found in string");
}

#[test]
fn ok_is_recorded_if_the_error_type_is_not_send() {
    let _active = memory().enter();
    wrap_executor(pool(1)).run(parsed::bind("13")).result().unwrap().unwrap();
    assert_eq!(parsed::load("13").unwrap().unwrap().unwrap(), 13);
}
