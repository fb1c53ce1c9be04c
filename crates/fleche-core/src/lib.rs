//! Persistent memoization that follows the work wherever it runs.

pub mod encoding;
