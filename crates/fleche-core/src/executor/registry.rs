//! The registry of executors: each crate of executors submits one entry for each, wherever it is linked.

use std::sync::Arc;

use super::Executor;
use crate::{error::Result, store::Reach};

/// An executor, as its crate registers it.
#[derive(Debug)]
pub struct ExecutorInfo {
    /// The permanent name: the `type` of its configurations.
    pub name: &'static str,
    /// What it is for, in one line.
    pub summary: &'static str,
    /// How far its workers are.
    pub reach: Reach,
    /// How many calls one that `scratch` makes runs at once; 0 where a call runs before its submission returns.
    pub at_once: usize,
    /// Makes one, for tests.
    pub scratch: fn() -> Result<Arc<dyn Executor>>,
}

inventory::collect!(ExecutorInfo);

/// The executors that are linked into this program, by name. What [`backends`](crate::store::backends) says of crates that
/// stand only in `Cargo.toml` holds here too.
pub fn executors() -> Vec<&'static ExecutorInfo> {
    let mut executors: Vec<_> = inventory::iter::<ExecutorInfo>().collect();
    executors.sort_by_key(|executor| executor.name);
    executors
}

/// Registers an executor: the fields of an [`ExecutorInfo`](crate::executor::ExecutorInfo). As
/// [`register_backend!`](crate::register_backend) does for stores.
#[macro_export]
macro_rules! register_executor {
    ($($field:ident : $value:expr),* $(,)?) => {
        $crate::__private::inventory::submit! {
            $crate::executor::ExecutorInfo { $($field: $value),* }
        }
    };
}
