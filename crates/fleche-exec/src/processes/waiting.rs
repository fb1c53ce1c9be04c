//! Tasks that a pool has accepted, and what they ask of it.

use std::{collections::BTreeMap, os::unix::ffi::OsStringExt, path::Path, sync::Arc, time::Duration};

use bytes::Bytes;
use fleche_core::{
    JobError,
    context::Binding,
    encoding,
    executor::{Reply, Resources},
};
use serde::{Deserialize, Serialize};

use super::rights::TaskRight;
use crate::budget::{Budget, Demand, Grant};

/// An accepted task that no worker has started.
pub(super) struct Waiting {
    pub(super) reply: Reply,
    /// The parts of its frame.
    pub(super) parts: Vec<Bytes>,
    pub(super) wants: Wants,
    /// Keeps the stores that it needs open until it is done.
    pub(super) binding: Option<Binding>,
    /// From when it is sent.
    pub(super) right: TaskRight,
}

impl Waiting {
    /// It has ended. Who sees that finds nobody computing it.
    pub(super) fn end(self, outcome: Result<Bytes, JobError>) {
        self.right.end();
        self.reply.keep(outcome);
    }

    /// As [`end`](Self::end), where that takes no time. Else gives both back.
    #[allow(clippy::result_large_err)] // The task itself, which would be moved anyway.
    pub(super) fn end_unheard(self, outcome: Result<Bytes, JobError>) -> Result<(), (Self, Result<Bytes, JobError>)> {
        self.right.end();
        let Self { reply, parts, wants, binding, right } = self;
        reply.keep_unheard(outcome).map_err(|(reply, outcome)| (Self { reply, parts, wants, binding, right }, outcome))
    }

    /// It has not started after all, or starts anew.
    pub(super) fn anew(self) -> Self {
        self.right.end();
        Self { right: TaskRight::default(), ..self }
    }

    /// How many bytes its parts have.
    pub(super) fn size(&self) -> usize {
        self.parts.iter().map(Bytes::len).sum()
    }
}

/// Environment variables that a worker is started with, beside those of the pool's process; `None` for no others.
pub(super) type Env = Option<Arc<BTreeMap<String, String>>>;

/// What a task asks for.
#[derive(Clone, Debug, Default)]
pub(super) struct Wants {
    pub(super) demand: Demand,
    pub(super) env: Env,
    pub(super) timeout: Option<Duration>,
    /// How often it may start anew.
    pub(super) retries: u32,
    working_dir: Option<Vec<u8>>,
    memory_mb: Option<u64>,
    /// GPUs that are the task's already.
    gpus: Arc<[u32]>,
}

/// What a worker sets up around one body.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(super) struct Setting {
    /// A path, which need not be text.
    pub(super) working_dir: Option<Vec<u8>>,
    /// How much more memory the process may take than it has.
    pub(super) memory_mb: Option<u64>,
    pub(super) gpus: Vec<u32>,
}

impl Wants {
    /// What these resources ask of a pool with this budget.
    ///
    /// # Errors
    /// What cannot be had, and what to do.
    pub(super) fn of(resources: &Resources, budget: &Budget) -> Result<Self, String> {
        let demand = budget.demand(resources)?;
        let env = resources.wanted_env();
        if let Some(name) = env.iter().find(|(name, value)| !is_variable(name, value)).map(|(name, _)| name) {
            return Err(format!(
                "`{name:?}` in `env` is no variable: a name is not empty and has neither `=` nor NUL, and a \
                                value has no NUL"
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

    /// The same, for a task that has these GPUs from elsewhere.
    pub(super) fn told_gpus(self, gpus: Arc<[u32]>) -> Self {
        Self { gpus, ..self }
    }

    /// What the worker sets up, as it travels; empty for nothing.
    pub(super) fn setting(&self, grant: &Grant) -> Bytes {
        let gpus = if grant.gpus.is_empty() { &self.gpus } else { &grant.gpus };
        if self.working_dir.is_none() && self.memory_mb.is_none() && gpus.is_empty() {
            return Bytes::new();
        }
        let (working_dir, memory_mb) = (self.working_dir.clone(), self.memory_mb);
        let setting = Setting { working_dir, memory_mb, gpus: gpus.to_vec() };
        // Text and numbers have an encoding.
        encoding::to_vec(&setting).unwrap_or_default().into()
    }
}

/// Where the submitter means it to be, which need not be where the worker is.
fn from_the_root(path: &Path) -> Result<Vec<u8>, String> {
    let absolute = std::path::absolute(path);
    let absolute = absolute.map_err(|error| format!("the `working_dir` {}: {error}", path.display()))?;
    Ok(absolute.into_os_string().into_vec())
}

fn is_variable(name: &str, value: &str) -> bool {
    !name.is_empty() && !name.contains(['=', '\0']) && !value.contains('\0')
}
