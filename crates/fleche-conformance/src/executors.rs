//! The list of cases for executors, from which [`executor_cases`] and [`executor_suite!`](crate::executor_suite) are generated.

mod bodies;
mod calls;
mod faults;
mod loads;
mod workplace;

pub(crate) use workplace::ExecutorFixture;

use crate::case::ExecutorCase;

/// Returns all cases for executors.
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
    shared: calls::shared;
    /// A bound call runs once, with the cache that it is bound to.
    bound: calls::bound;
    /// Calls inside a plain function are recorded in the submitter's cache, with its tags, by the process that ran them.
    nested: calls::nested;
    /// An error that a function returns is returned to the submitter and not recorded.
    error: faults::error;
    /// A panic is returned with its message, is not recorded, and leaves the executor working.
    panic: faults::panic;
    /// A call that is cancelled before it starts does not run.
    cancel: faults::cancel;
    /// A task with an unknown option is refused with an error that names the option, and does not run.
    unknown_option: faults::unknown_option;
    /// Arguments and results of 8 MB are transferred and recorded.
    large: loads::large;
    /// Ten thousand calls return their own results, in order.
    many: loads::many;
    /// As many calls run at the same time as the executor declares.
    at_once: loads::at_once;
    /// The configuration names the executor, and is the same after a round trip through text.
    config: loads::config;
}
