//! The example of an executor around a third-party pool.

#[path = "../../examples/third_party_pool.rs"]
#[allow(dead_code)]
mod example;

use fleche_core::executor::ExecutorConfig;

use super::shared::{answers_hits_and_records_misses, opens_from_its_configuration, outlives_a_panic};

#[test]
fn example_runs() {
    example::main().unwrap();
}

#[test]
fn executor_of_the_example_behaves_as_an_executor() {
    let config: Box<dyn ExecutorConfig> = serde_json::from_str(r#"{"type":"threadpool","threads":2}"#).unwrap();
    let executor = config.open().unwrap();
    answers_hits_and_records_misses(&executor);
    outlives_a_panic(&executor);
    opens_from_its_configuration(&executor, r#"{"type":"threadpool","threads":2}"#);
}

#[test]
fn executor_of_the_example_takes_twenty_lines() {
    let text = include_str!("../../examples/third_party_pool.rs");
    let (_, executor) = text.split_once("#[derive(Clone").unwrap();
    let (executor, _) = executor.split_once("#[fleche]").unwrap();
    assert!(executor.lines().filter(|line| !line.is_empty()).count() <= 20);
}
