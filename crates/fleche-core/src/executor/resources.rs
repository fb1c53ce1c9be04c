//! `Resources`: what a call asks of its executor.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    time::Duration,
};

use serde::{Deserialize, Serialize};

use super::{SubmitError, Task};

/// What calls ask of their executor, for [`with`](super::ExecutorExt::with). What is not said is left to the executor.
///
/// An executor honours what it knows and refuses the rest: the job is
/// [`Rejected`](crate::JobError::Rejected), and the error names what the executor does not know.
///
/// ```
/// use fleche_core::executor::Resources;
/// let heavy = Resources::new().cores(4).memory_mb(2048).option("partition", "short");
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Resources {
    cores: Option<usize>,
    memory_mb: Option<u64>,
    gpus: Option<usize>,
    timeout: Option<Duration>,
    retries: Option<u32>,
    working_dir: Option<PathBuf>,
    env: BTreeMap<String, String>,
    options: BTreeMap<String, String>,
}

macro_rules! wanted {
    ($($(#[$doc:meta])* $name:ident: $ty:ty, $get:ident;)*) => {$(
        $(#[$doc])*
        pub fn $name(mut self, $name: $ty) -> Self {
            self.$name = Some($name);
            self
        }

        #[doc = concat!("What [`", stringify!($name), "`](Self::", stringify!($name), ") says; `None` if nothing.")]
        pub fn $get(&self) -> Option<$ty> {
            self.$name
        }
    )*};
}

impl Resources {
    /// Asks for nothing yet.
    pub fn new() -> Self {
        Self::default()
    }

    wanted! {
        /// So many cores. 0 for calls that only wait.
        cores: usize, wanted_cores;
        /// So much memory, in units of 1024² bytes.
        memory_mb: u64, wanted_memory_mb;
        /// So many GPUs; which, [`assigned_gpus`](super::assigned_gpus) tells the body.
        gpus: usize, wanted_gpus;
        /// The job ends as [`TimedOut`](crate::JobError::TimedOut) when its body has run so long.
        timeout: Duration, wanted_timeout;
        /// How often the call starts anew when its worker is lost. Panics and errors are results: they are not tried
        /// again.
        retries: u32, wanted_retries;
    }

    /// The working directory of the body.
    pub fn working_dir(mut self, working_dir: impl Into<PathBuf>) -> Self {
        self.working_dir = Some(working_dir.into());
        self
    }

    /// What [`working_dir`](Self::working_dir) says; `None` if nothing.
    pub fn wanted_working_dir(&self) -> Option<&Path> {
        self.working_dir.as_deref()
    }

    /// An environment variable for the body.
    pub fn env(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.env.insert(name.into(), value.into());
        self
    }

    /// The environment variables for the body.
    pub fn wanted_env(&self) -> &BTreeMap<String, String> {
        &self.env
    }

    /// An option that only some executors know: a partition of a cluster, say.
    pub fn option(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.options.insert(name.into(), value.into());
        self
    }

    /// The options that only some executors know.
    pub fn wanted_options(&self) -> &BTreeMap<String, String> {
        &self.options
    }

    /// These, with what `more` says in place of what these say of the same.
    pub fn overridden_by(&self, more: &Self) -> Self {
        let (of, or) = (more.clone(), self.clone());
        Self {
            cores: of.cores.or(or.cores),
            memory_mb: of.memory_mb.or(or.memory_mb),
            gpus: of.gpus.or(or.gpus),
            timeout: of.timeout.or(or.timeout),
            retries: of.retries.or(or.retries),
            working_dir: of.working_dir.or(or.working_dir),
            env: or.env.into_iter().chain(of.env).collect(),
            options: or.options.into_iter().chain(of.options).collect(),
        }
    }

    /// The names of what these ask for: those of the methods here, and of [options](Self::option) their own.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        let fields = [
            ("cores", self.cores.is_some()),
            ("memory_mb", self.memory_mb.is_some()),
            ("gpus", self.gpus.is_some()),
            ("timeout", self.timeout.is_some()),
            ("retries", self.retries.is_some()),
            ("working_dir", self.working_dir.is_some()),
            ("env", !self.env.is_empty()),
        ];
        fields.into_iter().filter(|(_, set)| *set).map(|(name, _)| name).chain(self.options.keys().map(String::as_str))
    }

    /// For executors: the task again, if these ask for nothing but what is `known`.
    ///
    /// # Errors
    /// The task, refused with the names of what `executor` does not know.
    pub fn known_to(&self, task: Task, executor: &str, known: &[&str]) -> Result<Task, SubmitError> {
        let unknown: Vec<_> =
            self.names().filter(|name| !known.contains(name)).map(|name| format!("`{name}`")).collect();
        if unknown.is_empty() {
            return Ok(task);
        }
        let known = if known.is_empty() { "no options".to_owned() } else { known.join(", ") };
        Err(task.refuse(format!(
            "{executor} does not know {}; it knows {known}. Leave that out, or take an executor that knows it",
            unknown.join(", ")
        )))
    }
}
