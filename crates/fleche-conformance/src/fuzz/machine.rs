//! Runs sequences of operations on a store and its model, and finds a short one after which they disagree.

use std::fmt::{Debug, Write as _};

use fleche_core::{Result as StoreResult, store::BackendInfo};
use proptest::{
    collection,
    strategy::BoxedStrategy,
    test_runner::{Config, RngAlgorithm, TestCaseError, TestError, TestRng, TestRunner},
};

use crate::{capture::capture, fixture::Fixture, peer_process::Program};

/// The largest number of operations in one sequence.
const MAX_OPERATIONS: usize = 60;
/// The largest number of shorter sequences that are tried after a failure.
const MAX_SHRINKS: u32 = 2_000;

/// A store and its model.
pub(super) trait Machine: Sized {
    type Operation: Clone + Debug + 'static;

    /// Returns the strategy that generates operations.
    fn operations() -> BoxedStrategy<Self::Operation>;

    /// Opens an empty store and creates an empty model.
    ///
    /// # Errors
    /// Fails if the store does not open.
    fn new(fixture: &Fixture) -> Result<Self, String>;

    /// Applies an operation to both.
    ///
    /// # Errors
    /// Fails if they disagree or the store fails.
    fn apply(&mut self, operation: &Self::Operation) -> Result<(), String>;

    /// Compares all entries of both.
    ///
    /// # Errors
    /// Fails if they disagree or the store fails.
    fn compare(&self) -> Result<(), String>;
}

/// Returns the result, or the failure of the store as text.
pub(super) fn ok<T>(result: StoreResult<T>) -> Result<T, String> {
    result.map_err(|error| format!("the store fails: {error:?}"))
}

/// Returns the open store.
///
/// # Errors
/// Fails if reopening it has failed.
pub(super) fn opened<S: ?Sized>(store: Option<&S>) -> Result<&S, String> {
    store.ok_or_else(|| "the store is closed, since reopening it failed".to_owned())
}

/// Runs `cases` sequences, each on a store of its own.
pub(super) fn run<M: Machine>(backend: &'static BackendInfo, cases: u32, seed: u64) -> Result<(), String> {
    let config = Config {
        cases,
        max_shrink_iters: MAX_SHRINKS,
        failure_persistence: None,
        result_cache: proptest::test_runner::noop_result_cache,
        ..Config::default()
    };
    let mut bytes = [0; 32];
    bytes[..8].copy_from_slice(&seed.to_le_bytes());
    let mut runner = TestRunner::new_with_rng(config, TestRng::from_seed(RngAlgorithm::ChaCha, &bytes));
    let sequences = collection::vec(M::operations(), 1..=MAX_OPERATIONS);
    let outcome = runner.run(&sequences, |operations| {
        let failure = capture(|| disagreement::<M>(backend, &operations));
        failure.and_then(|outcome| outcome).map_err(TestCaseError::fail)
    });
    outcome.map_err(|error| match error {
        TestError::Fail(why, operations) => failure_message(why.message(), &operations),
        TestError::Abort(why) => format!("cannot generate a sequence of operations: {why}"),
    })
}

fn disagreement<M: Machine>(backend: &'static BackendInfo, operations: &[M::Operation]) -> Result<(), String> {
    let fixture = Fixture::new(backend, Program::this());
    let mut machine = M::new(&fixture)?;
    for operation in operations {
        machine.apply(operation).map_err(|why| format!("{operation:?}: {why}"))?;
    }
    machine.compare().map_err(|why| format!("at the end: {why}"))
}

fn failure_message<O: Debug>(why: &str, operations: &[O]) -> String {
    let mut text = format!("{why}\nThe shortest sequence of operations found that shows it:");
    for operation in operations {
        let _ = write!(text, "\n  {operation:?}");
    }
    text
}

/// Returns an error if the result of the store differs from that of the model.
#[allow(clippy::needless_pass_by_value)] // The arguments are mostly temporary values.
pub(super) fn agree<T: PartialEq + Debug>(what: &str, store: T, model: T) -> Result<(), String> {
    if store == model { Ok(()) } else { Err(format!("{what}: the store has {store:?}, expected {model:?}")) }
}
