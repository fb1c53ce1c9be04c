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
    calls: 10_000,
    scratch: || Ok(Arc::new(ThreadPool::new(2)?)),
}

register_executor! {
    name: "serial",
    summary: "the submitting thread",
    reach: Reach::Process,
    at_once: 0,
    calls: 10_000,
    scratch: || Ok(Arc::new(SerialExecutor)),
}

#[cfg(target_os = "linux")]
register_executor! {
    name: "processes",
    summary: "worker processes of this program",
    reach: Reach::Shared,
    at_once: 2,
    calls: 10_000,
    scratch: || Ok(Arc::new(crate::ProcessPool::new(2)?)),
}

#[cfg(feature = "rayon")]
register_executor! {
    name: "rayon",
    summary: "a rayon pool",
    reach: Reach::Process,
    at_once: 2,
    calls: 10_000,
    scratch: || crate::RayonConfig::with_threads(2).open(),
}

#[cfg(feature = "tokio")]
register_executor! {
    name: "tokio",
    summary: "the blocking threads of a tokio runtime",
    reach: Reach::Process,
    at_once: 2,
    calls: 10_000,
    scratch: || {
        let runtime = ::tokio::runtime::Builder::new_current_thread().max_blocking_threads(2).build();
        let runtime = runtime.map_err(|error| fleche_core::Error::backend("a tokio runtime")(error.to_string()))?;
        let executor = crate::TokioExecutor::new(runtime.handle().clone());
        // An executor does not keep its runtime alive. Executors must not share a runtime: two tests that each wait for
        // two of their tasks to start would wait for each other.
        std::mem::forget(runtime);
        Ok(Arc::new(executor))
    },
}
