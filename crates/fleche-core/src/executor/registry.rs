//! The registry of executors: each linked crate registers its executors here.

use std::sync::Arc;

use super::Executor;
use crate::{error::Result, store::Reach};

/// The registration of an executor.
#[derive(Debug)]
pub struct ExecutorInfo {
    /// The permanent name: the `type` in its configurations.
    pub name: &'static str,
    /// What the executor is for, in one line.
    pub summary: &'static str,
    /// Where its workers are.
    pub reach: Reach,
    /// The number of calls that an executor from `scratch` runs concurrently; 0 if a call runs before its submission
    /// returns.
    pub at_once: usize,
    /// Creates an executor for tests.
    pub scratch: fn() -> Result<Arc<dyn Executor>>,
}

inventory::collect!(ExecutorInfo);

/// Returns the executors that are linked into this program, sorted by name. A crate that is only listed in `SharedResult.toml`
/// is not linked; see [`backends`](crate::store::backends).
pub fn executors() -> Vec<&'static ExecutorInfo> {
    let mut executors: Vec<_> = inventory::iter::<ExecutorInfo>().collect();
    executors.sort_by_key(|executor| executor.name);
    executors
}

/// Registers an executor with the fields of an [`ExecutorInfo`](crate::executor::ExecutorInfo), as
/// [`register_backend!`](crate::register_backend) does for stores.
#[macro_export]
macro_rules! register_executor {
    ($($field:ident : $value:expr),* $(,)?) => {
        $crate::__private::inventory::submit! {
            $crate::executor::ExecutorInfo { $($field: $value),* }
        }
    };
}
