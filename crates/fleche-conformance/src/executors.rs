//! The cases of executors. [`executor_cases`] and [`executor_suite!`](crate::executor_suite) both come from one list.

mod bodies;
mod calls;
mod faults;
mod loads;
mod workplace;

pub(crate) use workplace::Workplace;

use crate::case::ExecutorCase;

/// Every case of executors.
pub fn executor_cases() -> &'static [ExecutorCase] {
    CASES
}

macro_rules! list {
    // `$d` is a dollar sign, for the macro that this one defines.
    ($d:tt $($(#[doc = $description:literal])+ $name:ident: $test:expr;)+) => {
        static CASES: &[ExecutorCase] = &[$(ExecutorCase {
            name: concat!("executors::", stringify!($name)),
            description: concat!($($description),+).trim_ascii(),
            test: $test,
        }),+];

        /// Runs every case for an executor, as one `#[test]` each: `executor_suite!(crate_of_the_executor, "its name");`.
        /// It links the crate. At least one backend must be linked as well, for the records.
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
    /// A call that is not recorded runs once, and is recorded by the time that its result is seen.
    miss: calls::miss;
    /// A recorded call never reaches the executor, and is answered while all that it has is busy.
    hit: calls::hit;
    /// Submissions of one missing call through a wrap run it once.
    shared: calls::shared;
    /// A bound call runs once, under the cache that it is bound to.
    bound: calls::bound;
    /// Calls inside a plain function are recorded in the submitter's cache, with its tags, by the process that ran them.
    nested: calls::nested;
    /// An error that a function returns comes back and is not recorded.
    error: faults::error;
    /// A panic comes back with its message, is not recorded, and costs the executor nothing.
    panic: faults::panic;
    /// A call that is cancelled before it starts does not run.
    cancel: faults::cancel;
    /// What the executor does not know is refused by name, and nothing runs.
    unknown_option: faults::unknown_option;
    /// Arguments and results of 8 MB come and go, and are recorded.
    large: loads::large;
    /// Ten thousand calls come back, each with its own result, in order.
    many: loads::many;
    /// As many calls run at once as the executor says.
    at_once: loads::at_once;
    /// The configuration names the executor, and is the same after a round trip through text.
    config: loads::config;
}
