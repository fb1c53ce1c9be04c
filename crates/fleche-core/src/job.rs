//! `Job`: the future result of a submitted call.

pub mod blocking_hooks;
mod combinators;
pub(crate) mod error;
pub(crate) mod state;
mod worker_loss;

pub use combinators::{AsCompleted, as_completed, join_all, join_all_results};
pub use error::{JobError, RemoteError};
pub(crate) use error::{catch_panic, catch_store_panic};
pub use worker_loss::{LossCause, WorkerLoss};

use std::{
    fmt,
    future::Future,
    marker::PhantomData,
    pin::Pin,
    sync::{Arc, Weak},
    task::{Context, Poll},
    time::Duration,
};

use bytes::Bytes;

use blocking_hooks::{JobId, QueueSlot, SlotCell};
use state::Shared;
pub(crate) use state::{CancelHook, Payload};

/// A function that converts a payload to the requested type.
pub(crate) type Unpack<T> = fn(Payload) -> Result<T, JobError>;

/// A function that decodes bytes to the requested type.
pub(crate) type Decode<T> = fn(&[u8]) -> Result<T, JobError>;

/// A payload from another process: the encoded result.
struct EncodedPayload(Bytes);

/// The future result of a submitted call. It is also a `Future`, for any runtime.
///
/// Dropping a job does not stop its call. A job is `Send` and `Sync` for every `T`.
#[must_use = "dropping a job does not stop its call"]
pub struct Job<T> {
    shared: Arc<Shared>,
    unpack: Unpack<T>,
    /// The decoder of the result, for calls that may run in another process.
    decode: Option<Decode<T>>,
    result: PhantomData<fn() -> T>,
}

/// Creates a job and its completer.
///
/// ```
/// let (completer, job) = fleche_core::job::channel();
/// std::thread::spawn(move || completer.complete(7));
/// assert_eq!(job.result()?, 7);
/// # Ok::<(), fleche_core::JobError>(())
/// ```
pub fn channel<T: Send + 'static>() -> (Completer<T>, Job<T>) {
    let (promise, job) = promise(unpack_same, None);
    (Completer { promise, result: PhantomData }, job)
}

/// Creates a job whose result arrives as a payload or as bytes.
pub(crate) fn promise<T>(unpack: Unpack<T>, decode: Option<Decode<T>>) -> (Promise, Job<T>) {
    let shared = Arc::new(Shared::default());
    (Promise(shared.clone()), Job { shared, unpack, decode, result: PhantomData })
}

/// Converts a payload to the result, and decodes it if it came from another process.
fn read<T>(payload: Payload, unpack: Unpack<T>, decode: Option<Decode<T>>) -> Result<T, JobError> {
    match (payload.downcast::<EncodedPayload>(), decode) {
        (Ok(encoded), Some(decode)) => decode(&encoded.0),
        (Ok(_), None) => Err(JobError::rejected("the result came from another process, and this job cannot decode it")),
        (Err(payload), _) => unpack(payload),
    }
}

/// Unpacks payloads that hold the result itself.
pub(crate) fn unpack_same<T: 'static>(payload: Payload) -> Result<T, JobError> {
    let result = payload.downcast().map_err(|_| JobError::rejected("the result is not of the requested type"))?;
    Ok(*result)
}

impl<T> Job<T> {
    /// Creates a job that is already done.
    pub fn ready(result: T) -> Self
    where
        T: Send + 'static,
    {
        let (completer, job) = channel();
        completer.complete(result);
        job
    }

    /// Returns whether the job has ended, with a result or an error.
    pub fn is_done(&self) -> bool {
        self.shared.is_done()
    }

    /// Blocks until the job has ended. If the call is queued in this thread's own pool, it may run on this thread; see
    /// the pool's documentation.
    pub fn wait(&self) {
        self.shared.wait();
    }

    /// Blocks until the job has ended or the timeout has passed. Returns whether the job has ended.
    pub fn wait_timeout(&self, timeout: Duration) -> bool {
        self.shared.wait_timeout(timeout)
    }

    /// Blocks until the job has ended, and returns its result.
    ///
    /// # Errors
    /// Fails with the [`JobError`] that ended the job.
    pub fn result(self) -> Result<T, JobError> {
        self.shared.wait();
        self.take()
    }

    /// Like [`result`](Self::result), for a thread that waits on behalf of the computation and does nothing else.
    pub(crate) fn result_of_work(self) -> Result<T, JobError> {
        self.shared.wait_at_work();
        self.take()
    }

    fn take(&self) -> Result<T, JobError> {
        read(self.shared.take()?, self.unpack, self.decode)
    }

    /// Returns the same job, whose result is first passed to `observe`: before waiters wake and before
    /// [`is_done`](Self::is_done) returns `true`. `observe` runs on the thread that completes the job, or at once if the
    /// job is already done; it does not run if the job ends with an error. A panic in it becomes the job's error.
    pub(crate) fn observed(self, observe: impl FnOnce(&T) + Send + 'static) -> Self
    where
        T: Send + 'static,
    {
        let Self { shared, unpack, decode, .. } = self;
        shared.observe(Box::new(move |outcome| {
            let result = catch_panic(|| {
                let result = read(outcome?, unpack, decode)?;
                observe(&result);
                Ok(result)
            });
            result.flatten().map(|result| Box::new(result) as Payload)
        }));
        Self { shared, unpack: unpack_same, decode: None, result: PhantomData }
    }

    /// Runs the closure when the job ends, before any waiter sees the outcome. Otherwise like [`on_done`](Self::on_done);
    /// a panic in the closure becomes the job's error.
    pub(crate) fn before_done(&self, run: impl FnOnce() + Send + 'static) {
        self.shared.observe(Box::new(move |outcome| catch_panic(run).and(outcome)));
    }

    /// Runs the closure when the job is done: on the thread that completes it, or at once if it is already done. The
    /// closure may wait for other jobs.
    pub fn on_done(&self, run: impl FnOnce() + Send + 'static) {
        self.shared.on_done(Box::new(run));
    }

    /// Starts the call if it is queued in this thread's own pool: on this thread if necessary.
    pub(crate) fn run_or_prioritize(&self) {
        self.shared.run_or_prioritize();
    }

    /// Makes this thread's own pool start the call before others, if it is queued there.
    pub(crate) fn prioritize(&self) {
        self.shared.prioritize();
    }

    /// Returns the pool that holds the job's task, or `None` if no pool holds it.
    pub(crate) fn pool(&self) -> Option<usize> {
        self.shared.marked.mark().pool()
    }

    /// Ends the job as [`JobError::Cancelled`] if its body has not started; then the body never runs. Returns whether the
    /// job was cancelled. A task that was dispatched to another process is revoked first, which takes a moment.
    pub fn cancel(&self) -> bool {
        self.shared.cancel()
    }
}

impl<T> Future for Job<T> {
    type Output = Result<T, JobError>;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        if self.shared.poll(context.waker()) { Poll::Ready(self.take()) } else { Poll::Pending }
    }
}

impl<T> fmt::Debug for Job<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Job").field("done", &self.is_done()).finish_non_exhaustive()
    }
}

/// Completes a [`Job`], once. Dropping it unused ends the job with [`JobError::Rejected`].
#[must_use = "dropping a completer fails its job"]
pub struct Completer<T> {
    promise: Promise,
    result: PhantomData<fn(T)>,
}

impl<T: Send + 'static> Completer<T> {
    /// Completes the job with this result.
    pub fn complete(self, result: T) {
        self.promise.complete(Ok(Box::new(result)));
    }

    /// Ends the job with this error.
    pub fn fail(self, error: JobError) {
        self.promise.complete(Err(error));
    }

    /// Marks the call as started; from then on it cannot be cancelled. Returns `false` if the job was cancelled: then the
    /// body must not run.
    pub fn start(&self) -> bool {
        self.promise.start()
    }
}

impl<T> fmt::Debug for Completer<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Completer").finish_non_exhaustive()
    }
}

/// An untyped completer.
pub(crate) struct Promise(Arc<Shared>);

impl Promise {
    pub(crate) fn complete(self, outcome: Result<Payload, JobError>) {
        self.0.finish(outcome);
    }

    /// Completes the job with an encoded result from another process.
    pub(crate) fn complete_encoded(self, outcome: Result<Bytes, JobError>) {
        self.complete(outcome.map(|encoded| Box::new(EncodedPayload(encoded)) as _));
    }

    /// Like [`complete_encoded`](Self::complete_encoded), but only if this runs nothing except wakers. Returns whether
    /// the job was completed.
    pub(crate) fn try_complete_inline(&self, outcome: Result<Bytes, JobError>) -> bool {
        self.0.try_finish_inline(outcome.map(|encoded| Box::new(EncodedPayload(encoded)) as _)).is_ok()
    }

    pub(crate) fn start(&self) -> bool {
        self.0.start()
    }

    /// Like [`start`](Self::start), for a body that is dispatched and may be revoked until it has started.
    pub(crate) fn mark_dispatched(&self) -> bool {
        self.0.mark_dispatched()
    }

    /// Sets the owner that is notified when the job is cancelled.
    pub(crate) fn on_cancel(&self, by: Weak<dyn CancelHook>) {
        self.0.on_cancel(by);
    }

    pub(crate) fn is_done(&self) -> bool {
        self.0.is_done()
    }

    /// Returns whether this promise belongs to the job.
    pub(crate) fn is_of(&self, job: JobId) -> bool {
        self.0.id() == job
    }

    /// Records where a pool holds the task.
    pub(crate) fn put(&self, slot: QueueSlot) {
        self.0.marked.mark().set(slot);
    }

    /// Records that the task ends together with the task of `leader`.
    pub(crate) fn follow(&self, leader: Arc<SlotCell>) {
        self.0.marked.follow(leader);
    }

    /// Runs the closure when the job ends; if the job has already ended, the closure does not run.
    pub(crate) fn on_done(&self, run: impl FnOnce() + Send + 'static) {
        // A returned closure is dropped: the job has already ended.
        let _ = self.0.on_done_to_come(Box::new(run));
    }
}

impl Drop for Promise {
    fn drop(&mut self) {
        // Has no effect on a job that is done.
        self.0.finish(Err(JobError::rejected("the call was dropped before it ran")));
    }
}
