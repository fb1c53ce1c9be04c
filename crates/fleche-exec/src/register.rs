//! Registers the executors of this crate, for programs that list executors.

use std::sync::Arc;

#[cfg(feature = "rayon")]
use fleche_core::executor::ExecutorConfig;
use fleche_core::{register_executor, store::Reach};

use crate::{SerialExecutor, ThreadPool};

register_executor! {
    name: "threads",
    summary: "threads of this process",
    reach: Reach::Process,
    at_once: 2,
    scratch: || Ok(Arc::new(ThreadPool::new(2)?)),
}

register_executor! {
    name: "serial",
    summary: "the submitting thread",
    reach: Reach::Process,
    at_once: 0,
    scratch: || Ok(Arc::new(SerialExecutor)),
}

#[cfg(target_os = "linux")]
register_executor! {
    name: "processes",
    summary: "worker processes of this program",
    reach: Reach::Shared,
    at_once: 2,
    scratch: || Ok(Arc::new(crate::ProcessPool::new(2)?)),
}

#[cfg(feature = "rayon")]
register_executor! {
    name: "rayon",
    summary: "a rayon pool",
    reach: Reach::Process,
    at_once: 2,
    scratch: || crate::RayonConfig::with_threads(2).open(),
}

#[cfg(feature = "tokio")]
register_executor! {
    name: "tokio",
    summary: "the blocking threads of a tokio runtime",
    reach: Reach::Process,
    at_once: 2,
    scratch: || match &*RUNTIME {
        Ok(runtime) => Ok(Arc::new(crate::TokioExecutor::new(runtime.handle().clone()))),
        Err(error) => Err(fleche_core::Error::backend("a tokio runtime")(error.to_string())),
    },
}

/// The runtime of the executors that `scratch` creates: an executor does not keep its runtime alive.
#[cfg(feature = "tokio")]
static RUNTIME: std::sync::LazyLock<std::io::Result<::tokio::runtime::Runtime>> =
    std::sync::LazyLock::new(|| ::tokio::runtime::Builder::new_current_thread().max_blocking_threads(2).build());
