//! Functions whose results go to the value store.

/// Defines a memoized function of this name that returns a string of the given length, and the counter of its bodies.
/// Results of more than 64 encoded bytes go to the value store.
macro_rules! long_result {
    ($name:ident) => {
        static RUNS: crate::support::Runs = crate::support::Runs::new();
        #[fleche_core::fleche]
        fn $name(length: usize) -> String {
            RUNS.count();
            "y".repeat(length)
        }
    };
}
pub(crate) use long_result;
