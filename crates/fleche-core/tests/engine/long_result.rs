//! Functions whose results go to the value store.

/// A memoized function of this name with a result of the given length, which goes to the value store where that is more
/// than 64 bytes, and the counter of its bodies.
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
