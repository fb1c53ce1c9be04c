//! The list of cases for executors, from which [`executor_cases`] and [`executor_suite!`](crate::executor_suite) are generated.

mod calls;
mod fixture;

use fleche_core::executor::ExecutorInfo;

use crate::{
    case::{Listed, Selection, executor},
    runner::{Report, panic_if_failed, run_case},
};
use fixture::ExecutorFixture;

/// One promise that an executor must keep. Each case runs with an executor of its own.
#[derive(Debug)]
pub struct ExecutorCase {
    /// The permanent name, such as `executors::hit`.
    pub name: &'static str,
    /// The promise, in a sentence.
    pub description: &'static str,
    pub(crate) test: fn(&ExecutorFixture),
}

/// Returns all cases for executors.
pub fn executor_cases() -> &'static [ExecutorCase] {
    CASES
}

impl Listed for ExecutorCase {
    fn list() -> &'static [Self] {
        CASES
    }

    fn name(&self) -> &'static str {
        self.name
    }
}

/// Runs the selected cases for an executor, like [`run`](crate::run).
pub fn run_executor(executor: &'static ExecutorInfo, selection: &Selection<ExecutorCase>) -> Report {
    let outcomes = selection
        .cases()
        .iter()
        .copied()
        .map(|case| run_case(case.name, move || (case.test)(&ExecutorFixture::new(executor))));
    Report { name: executor.name, outcomes: outcomes.collect() }
}

/// Runs one case for the executor with this name, as each `#[test]` of [`executor_suite!`](crate::executor_suite) does.
///
/// # Panics
/// Panics if the executor fails the case, or if either name is unknown.
pub fn check_executor(executor_name: &str, case: &str) {
    let executor = executor(executor_name).unwrap_or_else(|error| panic!("{error}"));
    let selection = Selection::named([case]).unwrap_or_else(|error| panic!("{error}"));
    panic_if_failed("executor", &run_executor(executor, &selection));
}

macro_rules! list {
    // `$d` is a dollar sign, for the macro that this one defines.
    ($d:tt $($(#[doc = $description:literal])+ $name:ident: $test:expr;)+) => {
        static CASES: &[ExecutorCase] = &[$(ExecutorCase {
            name: concat!("executors::", stringify!($name)),
            description: concat!($($description),+).trim_ascii(),
            test: $test,
        }),+];

        /// Generates one `#[test]` for each case of executors: `executor_suite!(crate_of_the_executor, "its name");`.
        ///
        /// It also links the crate. At least one backend must be linked as well, to store records.
        #[macro_export]
        macro_rules! executor_suite {
            ($d executor_crate:ident, $d executor:literal) => {
                use $d executor_crate as _;
                $(#[test]
                fn $name() {
                    $crate::check_executor($d executor, concat!("executors::", stringify!($name)));
                })+
            };
        }
    };
}

list! { $
    /// A call that is not recorded runs once, and is recorded before its result is available.
    miss: calls::miss;
    /// A recorded call never reaches the executor, and is answered even while all workers are busy.
    hit: calls::hit;
    /// Several submissions of the same missing call through a wrapped executor run it once.
    coalesced: calls::coalesced;
    /// A bound call runs once, with the cache that it is bound to.
    bound: calls::bound;
    /// Calls inside a plain function are recorded in the submitter's cache, with its tags, by the process that ran them.
    nested: calls::nested;
    /// An error that a function returns is returned to the submitter and not recorded.
    error: calls::error;
    /// A panic is returned with its message, is not recorded, and leaves the executor working.
    panic: calls::panic;
    /// A call that is cancelled before it starts does not run.
    cancel: calls::cancel;
    /// A task with an unknown option is refused with an error that names the option, and does not run.
    unknown_option: calls::unknown_option;
    /// Arguments and results of 8 MB are transferred and recorded.
    large_values: calls::large_values;
    /// Ten thousand calls return their own results, in order.
    many_calls: calls::many_calls;
    /// As many calls run at the same time as the executor declares.
    in_parallel: calls::in_parallel;
    /// The configuration names the executor, and is the same after a round trip through text.
    config: calls::config;
}
