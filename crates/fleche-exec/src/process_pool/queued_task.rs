//! The queued tasks of a process pool, and their requirements.

use std::{collections::BTreeMap, os::unix::ffi::OsStringExt, path::Path, sync::Arc, time::Duration};

use bytes::Bytes;
use fleche_core::{JobError, context::Binding, encoding, executor::Resources, spi::Reply};
use fleche_remote::spi::TaskPermit;
use serde::{Deserialize, Serialize};

use crate::budget::{Budget, Demand, Grant};

/// An accepted task that no worker has started.
pub(super) struct QueuedTask {
    pub(super) reply: Reply,
    /// The parts of the task's frame.
    pub(super) parts: Vec<Bytes>,
    pub(super) requirements: Requirements,
    /// The binding of the call. It keeps the stores that the task needs open until the task is done.
    pub(super) binding: Option<Binding>,
    /// The permit to compute the call, set when the task is sent.
    pub(super) permit: TaskPermit,
}

impl QueuedTask {
    /// Ends the task's job. The permit is released first: when the job has ended, the call is no longer in flight.
    pub(super) fn end(self, outcome: Result<Bytes, JobError>) {
        self.permit.end();
        self.reply.complete(outcome);
    }

    /// Like [`end`](Self::end), if that takes no time. Otherwise, returns the task and the outcome.
    #[allow(clippy::result_large_err)] // The error holds the task, which is moved in any case.
    pub(super) fn try_end_inline(
        self,
        outcome: Result<Bytes, JobError>,
    ) -> Result<(), (Self, Result<Bytes, JobError>)> {
        self.permit.end();
        let Self { reply, parts, requirements, binding, permit } = self;
        reply
            .try_complete_inline(outcome)
            .map_err(|(reply, outcome)| (Self { reply, parts, requirements, binding, permit }, outcome))
    }

    /// Prepares the task to be dispatched again: it has not started, or is retried.
    pub(super) fn reset(self) -> Self {
        self.permit.end();
        Self { permit: TaskPermit::default(), ..self }
    }

    /// Returns the total size of the task's parts, in bytes.
    pub(super) fn size(&self) -> usize {
        self.parts.iter().map(Bytes::len).sum()
    }
}

/// Environment variables of a worker in addition to those of the pool's process; `None` for none.
pub(super) type Env = Option<Arc<BTreeMap<String, String>>>;

/// The requirements of a task.
#[derive(Clone, Debug, Default)]
pub(super) struct Requirements {
    pub(super) demand: Demand,
    pub(super) env: Env,
    pub(super) timeout: Option<Duration>,
    /// The number of times that the task may be retried.
    pub(super) retries: u32,
    working_dir: Option<Vec<u8>>,
    memory_mb: Option<u64>,
    /// The GPUs that the task already has.
    gpus: Arc<[u32]>,
}

/// The settings that a worker applies for one body.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(super) struct TaskEnv {
    /// A path, which need not be UTF-8.
    pub(super) working_dir: Option<Vec<u8>>,
    /// The memory in MiB that the process may use in addition to what it has.
    pub(super) memory_mb: Option<u64>,
    pub(super) gpus: Vec<u32>,
}

impl Requirements {
    /// Creates the requirements of a task with these resources in a pool with this budget.
    ///
    /// # Errors
    /// Fails with a message that says which option cannot be satisfied, and what to do.
    pub(super) fn from_resources(resources: &Resources, budget: &Budget) -> Result<Self, String> {
        let demand = budget.demand(resources)?;
        let env = resources.wanted_env();
        if let Some(name) = env.iter().find(|(name, value)| !is_variable(name, value)).map(|(name, _)| name) {
            return Err(format!(
                "`{name:?}` in `env` is not a valid variable: a name must not be empty or contain `=` or NUL, and a value \
                 must not contain NUL"
            ));
        }
        let working_dir = resources.wanted_working_dir().map(from_the_root).transpose()?;
        Ok(Self {
            demand,
            env: (!env.is_empty()).then(|| Arc::new(env.clone())),
            timeout: resources.wanted_timeout(),
            retries: resources.wanted_retries().unwrap_or(0),
            working_dir,
            memory_mb: resources.wanted_memory_mb(),
            gpus: Arc::default(),
        })
    }

    /// Returns the same requirements for a task that already has these GPUs.
    pub(super) fn visible_gpus(self, gpus: Arc<[u32]>) -> Self {
        Self { gpus, ..self }
    }

    /// Returns the encoded settings that the worker applies; empty for none.
    pub(super) fn task_env(&self, grant: &Grant) -> Bytes {
        let gpus = if grant.gpus.is_empty() { &self.gpus } else { &grant.gpus };
        if self.working_dir.is_none() && self.memory_mb.is_none() && gpus.is_empty() {
            return Bytes::new();
        }
        let (working_dir, memory_mb) = (self.working_dir.clone(), self.memory_mb);
        let task_env = TaskEnv { working_dir, memory_mb, gpus: gpus.to_vec() };
        // Encoding text and numbers does not fail.
        encoding::to_vec(&task_env).unwrap_or_default().into()
    }
}

/// Makes the path absolute in the submitter's working directory, which may differ from the worker's.
fn from_the_root(path: &Path) -> Result<Vec<u8>, String> {
    let absolute = std::path::absolute(path);
    let absolute = absolute.map_err(|error| format!("cannot resolve the `working_dir` {}: {error}", path.display()))?;
    Ok(absolute.into_os_string().into_vec())
}

fn is_variable(name: &str, value: &str) -> bool {
    !name.is_empty() && !name.contains(['=', '\0']) && !value.contains('\0')
}
