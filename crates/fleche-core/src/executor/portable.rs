//! A task taken apart: what another process needs, and the right to complete the job.

use std::{fmt, sync::Arc};

use bytes::Bytes;

use crate::{
    bound::FunctionRef,
    context::Binding,
    job::{JobError, Promise},
    memo::Arguments,
};

/// A call as another process of this binary can run it: [`FunctionRef::call`] with the encoded arguments, under the
/// binding.
#[derive(Debug)]
pub struct PortableCall {
    /// The function.
    pub function: FunctionRef,
    pub(super) arguments: Arc<Arguments>,
    /// What to make active around the call; `None` for whatever is active there.
    pub binding: Option<Binding>,
}

impl PortableCall {
    /// The encoded arguments, in order.
    pub fn into_arguments(self) -> Vec<Bytes> {
        Arguments::into_parts(self.arguments)
    }
}

/// The right to complete a job with what came back from another process. Dropped without use, it fails the job.
#[must_use = "dropping it fails the job"]
pub struct Reply(Promise);

impl Reply {
    pub(super) fn new(promise: Promise) -> Self {
        Self(promise)
    }

    /// Completes the job: with the encoded result that [`FunctionRef::call`] gave there, or without one.
    pub fn keep(self, outcome: Result<Bytes, JobError>) {
        self.0.keep_encoded(outcome);
    }

    /// Marks the call as started, from where on it cannot be cancelled. False if it was cancelled: then its body must
    /// not run.
    pub fn start(&self) -> bool {
        self.0.start()
    }

    /// Whether the job is done already, that is, cancelled.
    pub fn is_cancelled(&self) -> bool {
        self.0.is_done()
    }
}

impl fmt::Debug for Reply {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Reply").field("cancelled", &self.is_cancelled()).finish_non_exhaustive()
    }
}
