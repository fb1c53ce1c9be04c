//! `Job`: the result of a submitted call, to come.

mod error;
mod many;
mod panic;
mod shared;

pub use error::{JobError, RemoteError};
pub use many::{AsCompleted, as_completed, join_all, join_all_results};
pub use panic::catch;

use std::{
    any::Any,
    fmt,
    future::Future,
    marker::PhantomData,
    pin::Pin,
    sync::{Arc, Weak},
    task::{Context, Poll},
    time::Duration,
};

use bytes::Bytes;

use crate::waiting::{JobId, Mark, Spot};
use shared::Shared;

/// A result on its way between threads.
pub type Payload = Box<dyn Any + Send>;

/// Turns what arrived into the type that was asked for.
pub type Unpack<T> = fn(Payload) -> Result<T, JobError>;

/// Turns what arrived as bytes into the type that was asked for.
pub type Decode<T> = fn(&[u8]) -> Result<T, JobError>;

/// What holds calls that have not started: an executor, which hears of it when their jobs are cancelled.
pub trait Recall: Send + Sync {
    /// Keeps the call of this job from starting, which is on its way to where it would. Whether it will not start: then it
    /// is held until [`cancelled`](Self::cancelled) is called. May block for a while, and must not for long.
    fn recall(&self, job: JobId) -> bool;

    /// The job was cancelled: where others wait for the call, it goes on for them, and else does not start. What waits
    /// behind it may. Not called for jobs whose calls have started.
    fn cancelled(self: Arc<Self>, job: JobId);
}

/// A payload that came from another process: the encoded result.
struct FromElsewhere(Bytes);

/// The result of a submitted call, to come. Also a `Future` of it, for any runtime.
///
/// Dropping a job lets its call run on by itself. `Send` and `Sync` for every `T`.
#[must_use = "dropping a job lets its call run on, unobserved"]
pub struct Job<T> {
    shared: Arc<Shared>,
    unpack: Unpack<T>,
    /// For calls that may run in another process.
    decode: Option<Decode<T>>,
    result: PhantomData<fn() -> T>,
}

/// A job and the right to complete it.
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

/// A job whose result arrives as a payload, or as bytes.
pub(crate) fn promise<T>(unpack: Unpack<T>, decode: Option<Decode<T>>) -> (Promise, Job<T>) {
    let shared = Arc::new(Shared::default());
    (Promise(shared.clone()), Job { shared, unpack, decode, result: PhantomData })
}

/// The result in a payload, which is encoded where it came from another process.
fn read<T>(payload: Payload, unpack: Unpack<T>, decode: Option<Decode<T>>) -> Result<T, JobError> {
    match (payload.downcast::<FromElsewhere>(), decode) {
        (Ok(encoded), Some(decode)) => decode(&encoded.0),
        (Ok(_), None) => Err(JobError::rejected("a result came from another process that nobody can read")),
        (Err(payload), _) => unpack(payload),
    }
}

/// For payloads that hold the result itself.
pub(crate) fn unpack_same<T: 'static>(payload: Payload) -> Result<T, JobError> {
    let result = payload.downcast().map_err(|_| JobError::rejected("the result is not of the type asked for"))?;
    Ok(*result)
}

impl<T> Job<T> {
    /// A job that is done.
    pub fn ready(result: T) -> Self
    where
        T: Send + 'static,
    {
        let (completer, job) = channel();
        completer.complete(result);
        job
    }

    /// Whether the result, or an error, is there.
    pub fn is_done(&self) -> bool {
        self.shared.is_done()
    }

    /// Blocks until the result, or an error, is there. On a thread of the very pool that the call waits in, the call may
    /// run here; see the pool's documentation.
    pub fn wait(&self) {
        self.shared.wait();
    }

    /// Blocks until the result is there, or this long. Whether it is there.
    pub fn wait_timeout(&self, timeout: Duration) -> bool {
        self.shared.wait_timeout(timeout)
    }

    /// Blocks until the result is there, and gives it.
    ///
    /// # Errors
    /// [`JobError`] says how the call came to no result.
    pub fn result(self) -> Result<T, JobError> {
        self.shared.wait();
        self.take()
    }

    /// As [`result`](Self::result), where this thread does nothing but stand for what computes it.
    pub(crate) fn result_of_work(self) -> Result<T, JobError> {
        self.shared.wait_at_work();
        self.take()
    }

    fn take(&self) -> Result<T, JobError> {
        read(self.shared.take()?, self.unpack, self.decode)
    }

    /// The same job, whose result `observe` sees before anybody else does: before waiters wake and before
    /// [`is_done`](Self::is_done) says so. It runs on the thread that completes the job, or at once where that is done
    /// already; not at all where the job comes to no result. A panic in it becomes the job's error.
    pub(crate) fn observed(self, observe: impl FnOnce(&T) + Send + 'static) -> Self
    where
        T: Send + 'static,
    {
        let Self { shared, unpack, decode, .. } = self;
        shared.witness(Box::new(move |outcome| {
            let result = catch(|| {
                let result = read(outcome?, unpack, decode)?;
                observe(&result);
                Ok(result)
            });
            result.flatten().map(|result| Box::new(result) as Payload)
        }));
        Self { shared, unpack: unpack_same, decode: None, result: PhantomData }
    }

    /// Runs the closure when the job ends, before anybody can see how. Otherwise as [`on_done`](Self::on_done); a panic in
    /// it becomes the job's error.
    pub(crate) fn before_done(&self, run: impl FnOnce() + Send + 'static) {
        self.shared.witness(Box::new(move |outcome| catch(run).and(outcome)));
    }

    /// Runs the closure when the job is done: on the thread that completes it, or at once where it is done already. It may
    /// wait for other jobs.
    pub fn on_done(&self, run: impl FnOnce() + Send + 'static) {
        self.shared.on_done(Box::new(run));
    }

    /// Has the call started, where it waits in this thread's own pool: here, if need be.
    pub(crate) fn hasten(&self) {
        self.shared.hasten();
    }

    /// Has the call started before others, where it waits in this thread's own pool.
    pub(crate) fn prefer(&self) {
        self.shared.prefer();
    }

    /// The pool that keeps its task.
    pub(crate) fn pool(&self) -> Option<usize> {
        self.shared.marked.mark().pool()
    }

    /// Ends the job as [`JobError::Cancelled`] if its body has not started; then it will not. Whether that was so. What is
    /// on its way to another process is asked back, which takes a moment.
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

/// The right to complete a [`Job`], once. Dropped without use, it completes the job as [`JobError::Rejected`].
#[must_use = "dropping it fails the job"]
pub struct Completer<T> {
    promise: Promise,
    result: PhantomData<fn(T)>,
}

impl<T: Send + 'static> Completer<T> {
    /// Gives the job its result.
    pub fn complete(self, result: T) {
        self.promise.keep(Ok(Box::new(result)));
    }

    /// Ends the job without a result.
    pub fn fail(self, error: JobError) {
        self.promise.keep(Err(error));
    }

    /// Marks the call as started, from where on it cannot be cancelled. False if it was cancelled: then its body must
    /// not run.
    pub fn start(&self) -> bool {
        self.promise.start()
    }
}

impl<T> fmt::Debug for Completer<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Completer").finish_non_exhaustive()
    }
}

/// The untyped right to complete a job.
pub(crate) struct Promise(Arc<Shared>);

impl Promise {
    pub(crate) fn keep(self, outcome: Result<Payload, JobError>) {
        self.0.finish(outcome);
    }

    /// The result as it came from another process.
    pub(crate) fn keep_encoded(self, outcome: Result<Bytes, JobError>) {
        self.keep(outcome.map(|encoded| Box::new(FromElsewhere(encoded)) as _));
    }

    /// As [`keep_encoded`](Self::keep_encoded), where that runs nothing but wakers. Whether it was done.
    pub(crate) fn keep_unheard(&self, outcome: Result<Bytes, JobError>) -> bool {
        self.0.finish_unheard(outcome.map(|encoded| Box::new(FromElsewhere(encoded)) as _)).is_ok()
    }

    pub(crate) fn start(&self) -> bool {
        self.0.start()
    }

    /// As [`start`](Self::start), for a body that starts elsewhere, and may be recalled until it has.
    pub(crate) fn give(&self) -> bool {
        self.0.give()
    }

    /// Who hears of it when the job is cancelled.
    pub(crate) fn held_by(&self, by: Weak<dyn Recall>) {
        self.0.held_by(by);
    }

    pub(crate) fn is_done(&self) -> bool {
        self.0.is_done()
    }

    /// Whether it is this job's.
    pub(crate) fn is_of(&self, job: JobId) -> bool {
        self.0.id() == job
    }

    /// Notes where a pool keeps the task.
    pub(crate) fn put(&self, spot: Spot) {
        self.0.marked.mark().set(spot);
    }

    /// The task ends with another one, which is there.
    pub(crate) fn follow(&self, leader: Arc<Mark>) {
        self.0.marked.follow(leader);
    }

    /// Runs the closure when the job is done; not at all where it is done already.
    pub(crate) fn on_done(&self, run: impl FnOnce() + Send + 'static) {
        // What is given back has nobody to run it.
        let _ = self.0.on_done_to_come(Box::new(run));
    }
}

impl Drop for Promise {
    fn drop(&mut self) {
        // Has no effect on a job that is done.
        self.0.finish(Err(JobError::rejected("the call was dropped before it ran")));
    }
}
