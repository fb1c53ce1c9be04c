//! `Resources`: the resources that a call requests from its executor.

use std::{
    collections::BTreeMap,
    fmt,
    path::{Path, PathBuf},
    time::Duration,
};

use serde::{Deserialize, Serialize};

use crate::runtime::counted::counted;

/// The resources that calls request from their executor, for [`with`](super::ExecutorExt::with). What is not set is
/// left to the executor.
///
/// An executor provides the resources that it supports. If others are requested, the job is
/// [`Rejected`](crate::JobError::Rejected) with an error that names them.
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
    nodes: Option<usize>,
    tasks: Option<usize>,
    working_dir: Option<PathBuf>,
    env: BTreeMap<String, String>,
    options: BTreeMap<String, String>,
}

/// Writes what is requested: `4 cores, 2048 MiB, option partition=short`. Of environment variables it writes the names, because
/// their values may be secret.
impl fmt::Display for Resources {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let parts = [
            self.cores.map(|count| counted(count, "core", "cores").to_string()),
            self.memory_mb.map(|size| format!("{size} MiB")),
            self.gpus.map(|count| counted(count, "GPU", "GPUs").to_string()),
            self.timeout.map(|limit| format!("at most {}", humantime::format_duration(limit))),
            self.retries.map(|count| counted(count, "retry", "retries").to_string()),
            self.nodes.map(|count| counted(count, "node", "nodes").to_string()),
            self.tasks.map(|count| counted(count, "task", "tasks").to_string()),
            self.working_dir.as_ref().map(|path| format!("in {}", path.display())),
        ];
        let env = self.env.keys().map(|name| format!("variable {name}"));
        let options = self.options.iter().map(|(name, value)| format!("option {name}={value}"));
        let parts: Vec<_> = parts.into_iter().flatten().chain(env).chain(options).collect();
        f.write_str(if parts.is_empty() { "no resources" } else { "" })?;
        f.write_str(&parts.join(", "))
    }
}

macro_rules! wanted {
    ($($(#[$doc:meta])* $name:ident: $ty:ty, $get:ident;)*) => {$(
        $(#[$doc])*
        pub fn $name(mut self, $name: $ty) -> Self {
            self.$name = Some($name);
            self
        }

        #[doc = concat!(
            "Returns the value of [`", stringify!($name), "`](Self::", stringify!($name), "), or `None` if it is not set."
        )]
        pub fn $get(&self) -> Option<$ty> {
            self.$name
        }
    )*};
}

impl Resources {
    /// Creates an empty request.
    pub fn new() -> Self {
        Self::default()
    }

    wanted! {
        /// Requests this number of cores. Use 0 for calls that only wait.
        cores: usize, wanted_cores;
        /// Requests this amount of memory in MiB (1024² bytes).
        memory_mb: u64, wanted_memory_mb;
        /// Requests this number of GPUs. The body gets their ids from [`assigned_gpus`](super::assigned_gpus).
        gpus: usize, wanted_gpus;
        /// Sets a time limit for the body. When it is exceeded, the job ends as
        /// [`TimedOut`](crate::JobError::TimedOut).
        timeout: Duration, wanted_timeout;
        /// Sets the maximum number of restarts of the call after its worker is lost. Panics and errors are results and are
        /// not retried.
        retries: u32, wanted_retries;
        /// Requests this number of nodes of a cluster.
        nodes: usize, wanted_nodes;
        /// Requests that the body run in this number of processes that form one MPI communicator.
        tasks: usize, wanted_tasks;
    }

    /// Sets the working directory of the body.
    pub fn working_dir(mut self, working_dir: impl Into<PathBuf>) -> Self {
        self.working_dir = Some(working_dir.into());
        self
    }

    /// Returns the value of [`working_dir`](Self::working_dir), or `None` if it is not set.
    pub fn wanted_working_dir(&self) -> Option<&Path> {
        self.working_dir.as_deref()
    }

    /// Sets an environment variable for the body.
    pub fn env(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.env.insert(name.into(), value.into());
        self
    }

    /// Returns the environment variables for the body.
    pub fn wanted_env(&self) -> &BTreeMap<String, String> {
        &self.env
    }

    /// Sets an option that only some executors support, such as the partition of a cluster.
    pub fn option(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.options.insert(name.into(), value.into());
        self
    }

    /// Returns the options that only some executors support.
    pub fn wanted_options(&self) -> &BTreeMap<String, String> {
        &self.options
    }

    /// Returns these resources, overridden by those that are set in `more`.
    pub fn overridden_by(&self, more: &Self) -> Self {
        let (of, or) = (more.clone(), self.clone());
        Self {
            cores: of.cores.or(or.cores),
            memory_mb: of.memory_mb.or(or.memory_mb),
            gpus: of.gpus.or(or.gpus),
            timeout: of.timeout.or(or.timeout),
            retries: of.retries.or(or.retries),
            nodes: of.nodes.or(or.nodes),
            tasks: of.tasks.or(or.tasks),
            working_dir: of.working_dir.or(or.working_dir),
            env: or.env.into_iter().chain(of.env).collect(),
            options: or.options.into_iter().chain(of.options).collect(),
        }
    }

    /// Returns the names of the resources that are set: those of the methods here, and the names of
    /// [options](Self::option).
    pub fn names(&self) -> impl Iterator<Item = &str> {
        let fields = [
            ("cores", self.cores.is_some()),
            ("memory_mb", self.memory_mb.is_some()),
            ("gpus", self.gpus.is_some()),
            ("timeout", self.timeout.is_some()),
            ("retries", self.retries.is_some()),
            ("nodes", self.nodes.is_some()),
            ("tasks", self.tasks.is_some()),
            ("working_dir", self.working_dir.is_some()),
            ("env", !self.env.is_empty()),
        ];
        fields.into_iter().filter(|(_, set)| *set).map(|(name, _)| name).chain(self.options.keys().map(String::as_str))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn display_writes_what_is_requested_without_values_of_the_environment() {
        assert_eq!(Resources::new().to_string(), "no resources");
        let all = Resources::new().cores(1).memory_mb(2048).gpus(2).timeout(Duration::from_secs(90)).retries(1);
        let all = all.nodes(2).tasks(1).working_dir("/data").env("TOKEN", "secret").option("partition", "short");
        assert_eq!(
            all.to_string(),
            "1 core, 2048 MiB, 2 GPUs, at most 1m 30s, 1 retry, 2 nodes, 1 task, in /data, variable TOKEN, option partition=short"
        );
    }
}
