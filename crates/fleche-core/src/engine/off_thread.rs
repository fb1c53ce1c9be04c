//! Store operations of calls of an `async fn`, which run on the blocking pool.

use super::{
    events::Missing,
    hit::{Fetched, LookupResult, ServedHit, fetch, judge},
    result_kind::ResultCodec,
    stale_record,
};
use crate::{
    cache::{Cache, Operation, Unanswered},
    call::CallKey,
    error::{Error, Result},
    function::Function,
    job,
    runtime::blocking_pool,
};

/// Like [`hit`](super::hit::hit), without blocking the polling thread.
pub(super) async fn hit_off_thread<T: Send>(
    function: &'static Function,
    codec: ResultCodec<T>,
    cache: &Cache,
    key: CallKey,
) -> LookupResult<T> {
    let fetched = fetch_off_thread(function, cache, key).await;
    match judge(function, codec, cache, &key, fetched.as_ref().map(Option::as_ref)) {
        unfit @ LookupResult::Miss(Missing::Unfit(_)) => {
            hit_of_replaced_off_thread(function, codec, cache, key).await.map_or(unfit, LookupResult::Hit)
        }
        looked => looked,
    }
}

/// Like [`hit_of_replaced`](super::hit::hit_of_replaced), without blocking the polling thread.
pub(super) async fn hit_of_replaced_off_thread<T: Send>(
    function: &'static Function,
    codec: ResultCodec<T>,
    cache: &Cache,
    key: CallKey,
) -> Option<ServedHit<T>> {
    for place in stale_record::places(function, &key) {
        let fetched = fetch_off_thread(function, cache, place).await;
        if let LookupResult::Hit(served) = judge(function, codec, cache, &place, fetched.as_ref().map(Option::as_ref)) {
            return Some(served);
        }
    }
    None
}

/// Like [`fetch`], without blocking the polling thread.
pub(super) async fn fetch_off_thread(
    function: &'static Function,
    cache: &Cache,
    key: CallKey,
) -> Result<Option<Fetched>, Unanswered> {
    ask_off_thread(cache, Operation::ReadRecord, move |cache| fetch(function, cache, &key)).await
}

/// Asks a store without blocking the polling thread. If the store is left alone, returns at once, without another thread.
pub(super) async fn ask_off_thread<R: Send + 'static>(
    cache: &Cache,
    operation: Operation,
    ask: impl FnOnce(&Cache) -> Result<R, Unanswered> + Send + 'static,
) -> Result<R, Unanswered> {
    if cache.leaves_alone(operation) {
        return Err(Unanswered::LeftAlone);
    }
    off_thread(cache, move |cache| Ok(ask(cache))).await.unwrap_or_else(|error| Err(error.into()))
}

/// Runs a store operation that may block, without blocking the polling thread.
pub(super) async fn off_thread<R: Send + 'static>(
    cache: &Cache,
    run: impl FnOnce(&Cache) -> Result<R> + Send + 'static,
) -> Result<R> {
    if !cache.may_block() {
        return job::catch_store_panic(|| run(cache));
    }
    let cache = cache.clone();
    on_blocking_pool(cache.calls().identity(), move || run(&cache)).await
}

/// Runs the closure, which uses this store, on a thread that may block. It runs even if the future is dropped.
///
/// # Errors
/// Fails with the error of the closure, and with [`Error::Backend`] if it panics.
async fn on_blocking_pool<R: Send + 'static>(
    store: usize,
    run: impl FnOnce() -> Result<R> + Send + 'static,
) -> Result<R> {
    let (completer, job) = job::channel();
    blocking_pool::push(store, Box::new(move || completer.complete(job::catch_panic(run))));
    let failed = Error::backend("a store");
    match job.await {
        Ok(Ok(result)) => result,
        Ok(Err(error)) | Err(error) => Err(failed(error)),
    }
}
