//! Tasks in other processes: `PortableCall` and `Reply`, the parts of such a task, and `Isolator`, through which isolated
//! calls run in their own processes, since core starts none.

use std::{
    fmt,
    path::Path,
    sync::{Arc, Weak},
};

use bytes::Bytes;

use super::{
    Task,
    task::{CoalescedTasks, SubmitError},
    work::{CacheCheck, RemoteParts},
};
use crate::{
    argument::KnownFile,
    bound::{BoundCall, FunctionRef},
    call::CallKey,
    context::{Binding, assigned_gpus},
    digest::Digest,
    engine::Arguments,
    isolate::{Isolation, PrivateDirectory, refuse},
    job::{CancelHook, JobError, Promise, blocking_hooks::JobId},
    runtime::panics::CaughtPanic,
};

/// A call that another process with this binary can run: it passes the encoded arguments to [`FunctionRef::call`] with
/// the binding active.
#[derive(Debug)]
pub struct PortableCall {
    /// The function.
    pub function: FunctionRef,
    pub(super) arguments: Arc<Arguments>,
    /// The files among the arguments, to be [registered](KnownFile::introduce) where the call runs.
    pub files: Vec<KnownFile>,
    /// The binding to activate for the call; `None` keeps the one that is active where the call runs.
    pub binding: Option<Binding>,
    /// The call's key, if the bound cache has just reported a miss for it.
    pub missed: Option<CallKey>,
    /// The call's key and the digest of its function's code, if the function is memoized, the key is known, and the binding
    /// does not ask for a rerun.
    pub identity: Option<(CallKey, Digest)>,
}

impl PortableCall {
    /// Returns the encoded arguments in order.
    pub fn into_arguments(self) -> Vec<Bytes> {
        Arguments::into_parts(self.arguments)
    }
}

impl Task {
    /// Splits the task into the call, for another process of this binary to run, and the reply, which completes the
    /// job.
    ///
    /// # Errors
    /// Fails with the task and the reason if the task's function or result cannot leave the process, or if its arguments cannot
    /// be encoded.
    #[allow(clippy::result_large_err)] // The task would be moved anyway.
    pub(crate) fn into_remote(self) -> Result<(PortableCall, Reply), SubmitError> {
        let Self { work, binding, cache_check, followers } = self;
        let missed = if cache_check == Some(CacheCheck::Missing) { work.key() } else { None };
        let is_rerun = binding.as_ref().is_none_or(Binding::is_rerun);
        let identity = work.key().zip(work.code()).filter(|_| !is_rerun);
        match work.into_inner().into_remote(binding.as_ref()) {
            Ok(RemoteParts { function, arguments, files, promise }) => Ok((
                PortableCall { function, arguments, files, binding, missed, identity },
                Reply::new(promise, followers),
            )),
            Err((work, why)) => Err(Self { cache_check, followers, ..Self::from_work(work, binding) }.refuse(why)),
        }
    }
}

/// Completes a job with the reply of another process. Dropping it unused fails the job.
#[must_use = "dropping it fails the job"]
pub struct Reply {
    promise: Promise,
    /// The tasks of the same call that are completed with this one.
    followers: Option<Arc<CoalescedTasks>>,
}

impl Reply {
    pub(super) fn new(promise: Promise, followers: Option<Arc<CoalescedTasks>>) -> Self {
        Self { promise, followers }
    }

    /// Completes the job with the encoded result that [`FunctionRef::call`] returned in the other process, or with an error.
    #[allow(clippy::needless_pass_by_value)] // The caller gives the result up.
    pub fn complete(self, outcome: Result<Bytes, JobError>) {
        let Self { promise, followers } = self;
        // Before the result is visible, because a later submission must not share this outcome.
        let followers = followers.map(|followers| followers.close()).unwrap_or_default();
        promise.complete_encoded(outcome.clone());
        for follower in followers {
            // Followers share the outcome even if nothing was recorded, provided that their job can decode it.
            follower.follow(&mut |follower| match follower.into_remote() {
                Ok((_, reply)) => reply.complete(outcome.clone()),
                Err(refused) => refused.task.fail(refused.why),
            });
        }
    }

    /// Completes the job like [`complete`](Self::complete), but only if completing it is quick and runs no user code other than wakers,
    /// because nothing but waiters observes the outcome.
    ///
    /// # Errors
    /// Fails with the reply and the outcome otherwise, to be completed with [`complete`](Self::complete) where that may take long.
    #[allow(clippy::result_large_err)] // The reply would be moved anyway.
    pub fn try_complete_inline(
        mut self,
        outcome: Result<Bytes, JobError>,
    ) -> Result<(), (Self, Result<Bytes, JobError>)> {
        if self.followers.as_ref().is_none_or(|followers| followers.close_if_empty()) {
            self.followers = None;
            if self.promise.try_complete_inline(outcome.clone()) {
                return Ok(());
            }
        }
        Err((self, outcome))
    }

    /// Registers `by`, which is notified if the job is cancelled before the call has started.
    pub fn on_cancel(&self, by: Weak<dyn CancelHook>) {
        self.promise.on_cancel(by);
    }

    /// Marks the call as dispatched: from now until it has [started](Self::start), cancelling its job asks the
    /// [holder](Self::on_cancel) to revoke it. Returns `false` if the job was cancelled; the body must not run then.
    pub fn mark_dispatched(&self) -> bool {
        // See the comment in `start`.
        self.promise.mark_dispatched() || !self.is_cancelled()
    }

    /// Returns whether this completes the given job.
    pub fn is_of(&self, job: JobId) -> bool {
        self.promise.is_of(job)
    }

    /// Marks the call as started; it cannot be cancelled from now on. Returns `false` if the job was cancelled; the
    /// body must not run then.
    pub fn start(&self) -> bool {
        // If only this job was cancelled, the call runs for its followers.
        self.promise.start() || !self.is_cancelled()
    }

    /// Returns whether the job was cancelled and no other job waits for the call.
    pub fn is_cancelled(&self) -> bool {
        self.promise.is_done() && self.followers.as_ref().is_none_or(|followers| followers.are_gone())
    }
}

impl fmt::Debug for Reply {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Reply").field("cancelled", &self.is_cancelled()).finish_non_exhaustive()
    }
}

/// Runs a task in this working directory and with these GPUs. Returns the task with the reason if that is not possible.
pub type RunIsolated = fn(Task, &Path, Arc<[u32]>) -> Result<(), SubmitError>;

/// Runs isolated calls in other processes. Registered by a crate with executors.
#[derive(Debug)]
pub struct Isolator {
    /// Runs the task at once in a process that runs nothing else at the time, in this working directory and with these
    /// GPUs [assigned](crate::context::assigned_gpus). Returns the task with the reason if that is not possible.
    pub run: RunIsolated,
}

inventory::collect!(Isolator);

/// Registers the functions that run isolated calls in other processes, with the fields of an [`Isolator`](crate::spi::Isolator).
#[doc(hidden)]
#[macro_export]
macro_rules! register_isolator {
    ($($field:ident : $value:expr),* $(,)?) => {
        $crate::__private::inventory::submit! {
            $crate::spi::Isolator { $($field: $value),* }
        }
    };
}

/// Runs a bound body in another process, with a new directory as its working directory. The directory is removed when
/// the body has ended. A panic of the body is resumed here with its message.
///
/// # Panics
/// Panics if the body does, if the process is lost, or if the call cannot run in another process; in the last case the
/// body has not run.
pub fn isolate_in_process<R: 'static>(isolation: Isolation, body: BoundCall<R>) -> R {
    let name = body.function.name();
    let Some(isolator) = inventory::iter::<Isolator>().next() else {
        refuse(format_args!(
            "`{name}` must run in its own process, and nothing in this program can start one: depend on `fleche-exec`, \
             name it (`use fleche_exec as _;`), and call `fleche_exec::init()` at the beginning of `main`"
        ))
    };
    let directory = PrivateDirectory::create().unwrap_or_else(|why| refuse(why));
    let (task, job) = Task::from_call(body);
    if let Err(refused) = (isolator.run)(task, directory.path(), assigned_gpus()) {
        refused.task.fail(refused.why);
    }
    let error = match job.result_of_work() {
        Ok(result) => return result,
        Err(error) => error,
    };
    if isolation.keep_on_panic && matches!(error, JobError::Panicked { .. } | JobError::WorkerLost(_)) {
        directory.keep();
    } else {
        drop(directory);
    }
    match error {
        // The panic hook of the other process has printed it.
        JobError::Panicked { message, location } => CaughtPanic::from_elsewhere(message, location).go_on(),
        JobError::Rejected { why } => refuse(why),
        lost => panic!("the isolated call of `{name}` failed: {lost}"),
    }
}
