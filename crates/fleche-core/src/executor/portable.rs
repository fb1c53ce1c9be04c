//! A task taken apart: what another process needs, and the right to complete the job.

use std::{
    fmt,
    sync::{Arc, Weak},
};

use bytes::Bytes;

use super::in_flight::Followers;
use crate::{
    bound::FunctionRef,
    call::CallKey,
    context::Binding,
    file_content::KnownFile,
    job::{JobError, Promise, Recall},
    memo::Arguments,
    waiting::JobId,
};

/// A call as another process of this binary can run it: [`FunctionRef::call`] with the encoded arguments, under the
/// binding.
#[derive(Debug)]
pub struct PortableCall {
    /// The function.
    pub function: FunctionRef,
    pub(super) arguments: Arc<Arguments>,
    /// The files among the arguments, to be [introduced](KnownFile::introduce) where it runs.
    pub files: Vec<KnownFile>,
    /// What to make active around the call; `None` for whatever is active there.
    pub binding: Option<Binding>,
    /// The call's key, where the bound cache was asked for it a moment ago and had no record.
    pub missed: Option<CallKey>,
}

impl PortableCall {
    /// The encoded arguments, in order.
    pub fn into_arguments(self) -> Vec<Bytes> {
        Arguments::into_parts(self.arguments)
    }
}

/// The right to complete a job with what came back from another process. Dropped without use, it fails the job.
#[must_use = "dropping it fails the job"]
pub struct Reply {
    promise: Promise,
    /// Tasks of the same call, which end with this one.
    followers: Option<Arc<Followers>>,
}

impl Reply {
    pub(super) fn new(promise: Promise, followers: Option<Arc<Followers>>) -> Self {
        Self { promise, followers }
    }

    /// Completes the job: with the encoded result that [`FunctionRef::call`] gave there, or without one.
    #[allow(clippy::needless_pass_by_value)] // The result is handed over, though it is shared bytes.
    pub fn keep(self, outcome: Result<Bytes, JobError>) {
        let Self { promise, followers } = self;
        // Before anybody sees the result: who submits the call after that is not to be told of this outcome.
        let followers = followers.map(|followers| followers.land()).unwrap_or_default();
        promise.keep_encoded(outcome.clone());
        for follower in followers {
            // What was not recorded is theirs all the same, where it can be read as theirs.
            follower.follow(&mut |follower| match follower.take_apart() {
                Ok((_, reply)) => reply.keep(outcome.clone()),
                Err(refused) => refused.task.fail(refused.why),
            });
        }
    }

    /// As [`keep`](Self::keep), where nobody hears of the outcome but those who wait for it: this takes no time, and runs
    /// nothing of others but wakers. Else gives both back.
    ///
    /// # Errors
    /// This, and the outcome, to be kept where that may take long.
    #[allow(clippy::result_large_err)] // Itself, which would be moved anyway.
    pub fn keep_unheard(mut self, outcome: Result<Bytes, JobError>) -> Result<(), (Self, Result<Bytes, JobError>)> {
        if self.followers.as_ref().is_none_or(|followers| followers.land_if_none()) {
            self.followers = None;
            if self.promise.keep_unheard(outcome.clone()) {
                return Ok(());
            }
        }
        Err((self, outcome))
    }

    /// Has this hear of it when the job is cancelled before the call has started.
    pub fn held_by(&self, by: Weak<dyn Recall>) {
        self.promise.held_by(by);
    }

    /// Marks the call as on its way to where it will start: cancelling its job asks who it is [held by](Self::held_by) to
    /// recall it, until it has [started](Self::start). False if it was cancelled: then its body must not run.
    pub fn give(&self) -> bool {
        // As in `start`.
        self.promise.give() || !self.is_cancelled()
    }

    /// Whether it completes this job.
    pub fn is_of(&self, job: JobId) -> bool {
        self.promise.is_of(job)
    }

    /// Marks the call as started, from where on it cannot be cancelled. False if it was cancelled: then its body must
    /// not run.
    pub fn start(&self) -> bool {
        // Where only this one was cancelled, the call goes on for those that follow.
        self.promise.start() || !self.is_cancelled()
    }

    /// Whether the job is done already, that is, cancelled, and nobody else waits for the call.
    pub fn is_cancelled(&self) -> bool {
        self.promise.is_done() && self.followers.as_ref().is_none_or(|followers| followers.are_gone())
    }
}

impl fmt::Debug for Reply {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Reply").field("cancelled", &self.is_cancelled()).finish_non_exhaustive()
    }
}
