//! `FutureExt`: futures that carry their cache, on every thread that polls them.

use std::{
    fmt,
    future::Future,
    pin::Pin,
    task::{Context, Poll},
};

use super::Binding;
use crate::cache::Cache;

/// Runs futures under a cache, as [`Cache::scope`] runs closures. Implemented for every future.
pub trait FutureExt: Future + Sized {
    /// Returns this future with the given cache active whenever it is polled, on any thread and runtime. The tags and
    /// kinds of metadata that are active where this is called apply too. The result is `Send` if the future is.
    ///
    /// Calls of memoized `async fn`s that the future already holds, as in `answer("why?").in_cache(cache)` or
    /// `join(answer("a"), answer("b")).in_cache(cache)`, are also looked up in this cache, instead of the one that was
    /// active where they were made. They keep their tags and kinds of metadata. If several caches apply to a call, the
    /// innermost counts. A call that was polled before keeps its cache.
    ///
    /// ```
    /// use fleche_core::{Cache, FutureExt, fleche};
    /// # use fleche_store_memory::{MemoryCalls, MemoryValues};
    ///
    /// #[fleche]
    /// async fn answer(question: &str) -> usize { question.len() } // Would await the network.
    ///
    /// async fn both() -> usize { answer("why?").await + answer("why?").await }
    ///
    /// let cache = Cache::new(MemoryValues::new(), MemoryCalls::new());
    /// let runtime = tokio::runtime::Builder::new_multi_thread().build()?;
    /// assert_eq!(runtime.block_on(both().in_cache(cache.clone())), 8);
    /// assert_eq!((cache.stats().hits, cache.stats().computed), (1, 1));
    /// runtime.block_on(answer("how?").in_cache(cache.clone()));
    /// assert_eq!(cache.stats().computed, 2);
    /// # Ok::<(), std::io::Error>(())
    /// ```
    fn in_cache(self, cache: Cache) -> InCache<Self> {
        InCache(ContextFuture::new(Binding::carrying(cache), self))
    }
}

impl<F: Future> FutureExt for F {}

/// A future with its own cache; see [`FutureExt::in_cache`].
#[must_use = "futures do nothing unless they are awaited"]
pub struct InCache<F>(ContextFuture<F>);

impl<F: Future> Future for InCache<F> {
    type Output = F::Output;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<F::Output> {
        Pin::new(&mut self.0).poll(context)
    }
}

impl<F> fmt::Debug for InCache<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("InCache").field("binding", &self.0.binding).finish_non_exhaustive()
    }
}

/// A future that is polled with a binding active. The binding is left at the end of each poll, so other futures on the
/// thread never see it.
pub(crate) struct ContextFuture<F> {
    binding: Binding,
    future: Pin<Box<F>>,
}

impl<F> ContextFuture<F> {
    pub(crate) fn new(binding: Binding, future: F) -> Self {
        Self { binding, future: Box::pin(future) }
    }
}

impl<F: Future> Future for ContextFuture<F> {
    type Output = F::Output;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<F::Output> {
        let Self { binding, future } = &mut *self;
        let _bound = binding.enter();
        future.as_mut().poll(context)
    }
}
