//! `SlurmConfig`: the settings of the executor.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    time::Duration,
};

use fleche_core::{Error, Result, store::portable_path};
use serde::{Deserialize, Serialize};

/// The configuration of a [`Slurm`](crate::Slurm) executor, as a program or `fleche.toml` gives it. Each `open` creates a separate executor; those
/// with the same directory share their jobs.
///
/// ```toml
/// [executor.cluster]
/// type = "slurm"
/// mode = "jobs"
/// directory = "~/fleche"
/// prologue = ["module load gcc/13"]
/// options = { partition = "short", account = "chem" }
/// max_queued = 1000
/// poll = "30s"
/// give_up_after = "10m"
/// keep = "7d"
/// ```
///
/// Only `type`, `mode` and `directory` are required.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SlurmConfig {
    mode: Mode,
    #[serde(with = "portable_path")]
    directory: PathBuf,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    prologue: Vec<String>,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    options: BTreeMap<String, String>,
    #[serde(default = "defaults::max_queued", skip_serializing_if = "defaults::is_max_queued")]
    max_queued: usize,
    #[serde(default = "defaults::poll", skip_serializing_if = "defaults::is_poll", with = "duration_text")]
    poll: Duration,
    #[serde(
        default = "defaults::give_up_after",
        skip_serializing_if = "defaults::is_give_up_after",
        with = "duration_text"
    )]
    give_up_after: Duration,
    #[serde(default = "defaults::keep", skip_serializing_if = "defaults::is_keep", with = "duration_text")]
    keep: Duration,
}

/// How calls become jobs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "&'static str")]
enum Mode {
    /// One job, or one element of an array, for each call.
    Jobs,
}

impl TryFrom<String> for Mode {
    type Error = String;

    fn try_from(text: String) -> std::result::Result<Self, String> {
        match &*text {
            "jobs" => Ok(Self::Jobs),
            "workers" => Err("the mode `workers` does not exist yet; write `mode = \"jobs\"`".to_owned()),
            _ => Err(format!("there is no mode `{text}`; write `mode = \"jobs\"`")),
        }
    }
}

impl From<Mode> for &'static str {
    fn from(mode: Mode) -> Self {
        match mode {
            Mode::Jobs => "jobs",
        }
    }
}

impl SlurmConfig {
    /// Creates the configuration of an executor that runs each call as a job. The directory must be on a file system that all nodes
    /// see; it is created if it is missing.
    pub fn jobs(directory: impl Into<PathBuf>) -> Self {
        Self {
            mode: Mode::Jobs,
            directory: directory.into(),
            prologue: Vec::new(),
            options: BTreeMap::new(),
            max_queued: defaults::max_queued(),
            poll: defaults::poll(),
            give_up_after: defaults::give_up_after(),
            keep: defaults::keep(),
        }
    }

    /// Adds a line of shell that every job runs first, such as `module load gcc/13`.
    #[must_use]
    pub fn prologue(mut self, line: impl Into<String>) -> Self {
        self.prologue.push(line.into());
        self
    }

    /// Sets an option of `sbatch` for every job, such as `partition`. Options of [`Resources`](fleche_core::executor::Resources) override it.
    #[must_use]
    pub fn option(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.options.insert(name.into(), value.into());
        self
    }

    /// Sets the maximum number of unfinished jobs of this executor in the queue; at least 1. Further calls wait in this process.
    /// Default: 1000.
    #[must_use]
    pub fn max_queued(self, jobs: usize) -> Self {
        Self { max_queued: jobs, ..self }
    }

    /// Sets the longest interval between questions to the scheduler. Default: 30 s. A job that leaves the queue without an outcome
    /// is judged after two intervals, and at most a minute.
    #[must_use]
    pub fn poll(self, interval: Duration) -> Self {
        Self { poll: interval, ..self }
    }

    /// Sets the time after which calls fail if the scheduler does not answer and their jobs show no sign of life. Default: 10
    /// minutes.
    #[must_use]
    pub fn give_up_after(self, time: Duration) -> Self {
        Self { give_up_after: time, ..self }
    }

    /// Sets the time for which files of failed and abandoned jobs are kept. Default: 7 days.
    #[must_use]
    pub fn keep(self, time: Duration) -> Self {
        Self { keep: time, ..self }
    }

    pub(crate) fn directory(&self) -> &Path {
        &self.directory
    }

    /// Makes a relative directory absolute.
    pub(crate) fn resolve_directory(&mut self, base: &Path) {
        self.directory = base.join(&self.directory);
    }

    pub(crate) fn settings(&self) -> Settings<'_> {
        let Self { mode: Mode::Jobs, directory: _, prologue, options, max_queued, poll, give_up_after, keep } = self;
        Settings { prologue, options, max_queued: *max_queued, poll: *poll, give_up_after: *give_up_after, keep: *keep }
    }

    /// Fails with [`Error::Config`] for a setting that cannot be used.
    pub(crate) fn check(&self) -> Result<()> {
        let refused = |why: &str| Err(error(why));
        if self.directory.as_os_str().is_empty() {
            return refused("`directory` is empty; name a directory on a file system that all nodes see");
        }
        if self.max_queued == 0 {
            return refused("with `max_queued = 0` no call can run; set it to at least 1");
        }
        if self.poll < Duration::from_millis(100) {
            return refused("`poll` is shorter than 100 ms, which the scheduler would suffer from; use at least 1 s");
        }
        crate::options::arguments(&fleche_core::executor::Resources::new(), &self.options).map_err(error)?;
        Ok(())
    }
}

/// The settings other than the directory.
pub(crate) struct Settings<'a> {
    pub(crate) prologue: &'a [String],
    pub(crate) options: &'a BTreeMap<String, String>,
    pub(crate) max_queued: usize,
    pub(crate) poll: Duration,
    pub(crate) give_up_after: Duration,
    pub(crate) keep: Duration,
}

pub(crate) fn error(why: impl Into<String>) -> Error {
    Error::Config { place: "Slurm executor".to_owned(), why: why.into() }
}

mod defaults {
    use std::time::Duration;

    macro_rules! default {
        ($name:ident, $is:ident: $ty:ty = $value:expr) => {
            pub(super) fn $name() -> $ty {
                $value
            }

            #[allow(clippy::trivially_copy_pass_by_ref)] // As serde calls it.
            pub(super) fn $is(value: &$ty) -> bool {
                *value == $name()
            }
        };
    }

    default!(max_queued, is_max_queued: usize = 1000);
    default!(poll, is_poll: Duration = Duration::from_secs(30));
    default!(give_up_after, is_give_up_after: Duration = Duration::from_mins(10));
    default!(keep, is_keep: Duration = Duration::from_hours(7 * 24));
}

/// Durations as text, such as `10m`.
mod duration_text {
    use std::time::Duration;

    use serde::{Deserialize, Deserializer, Serializer, de::Error};

    pub(super) fn serialize<S: Serializer>(duration: &Duration, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&humantime::format_duration(*duration))
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Duration, D::Error> {
        let text = String::deserialize(deserializer)?;
        humantime::parse_duration(&text)
            .map_err(|error| D::Error::custom(format!("`{text}` is not a duration such as \"30s\": {error}")))
    }
}

#[cfg(test)]
mod tests {
    use fleche_core::executor::ExecutorConfig;

    use super::*;

    #[test]
    fn text_holds_only_what_was_set() {
        let config: Box<dyn ExecutorConfig> = Box::new(SlurmConfig::jobs("/shared"));
        let text = serde_json::to_string(&config).unwrap();
        assert_eq!(text, r#"{"type":"slurm","mode":"jobs","directory":"/shared"}"#);
        let all = SlurmConfig::jobs("/shared").prologue("module load gcc").option("partition", "short").max_queued(5);
        let all =
            all.poll(Duration::from_secs(90)).give_up_after(Duration::from_secs(1)).keep(Duration::from_hours(24));
        let text = serde_json::to_string(&all).unwrap();
        assert!(text.contains(r#""poll":"1m 30s""#), "{text}");
        assert_eq!(serde_json::from_str::<SlurmConfig>(&text).unwrap(), all);
    }

    #[test]
    fn unusable_settings_are_refused_with_advice() {
        let read = |text: &str| serde_json::from_str::<SlurmConfig>(text).unwrap_err().to_string();
        assert!(read(r#"{"mode":"workers","directory":"/x"}"#).contains("does not exist yet"));
        assert!(read(r#"{"mode":"jobs"}"#).contains("directory"));
        assert!(read(r#"{"mode":"jobs","directory":"/x","poll":"soon"}"#).contains("`soon`"));
        assert!(read(r#"{"mode":"jobs","directory":"/x","speed":"1"}"#).contains("speed"));
        let config = SlurmConfig::jobs("/x");
        for (refused, word) in [
            (config.clone().max_queued(0), "max_queued"),
            (config.clone().poll(Duration::ZERO), "poll"),
            (config.clone().option("array", "0-3"), "array"),
            (SlurmConfig::jobs(""), "directory"),
        ] {
            let why = refused.check().unwrap_err().to_string();
            assert!(why.contains(word), "{why}");
        }
    }

    #[test]
    fn relative_directory_is_resolved_against_the_file() {
        let mut config = SlurmConfig::jobs("shared");
        config.resolve_directory(Path::new("/home/ann"));
        assert_eq!(config.directory(), Path::new("/home/ann/shared"));
        config.resolve_directory(Path::new("/elsewhere"));
        assert_eq!(config.directory(), Path::new("/home/ann/shared"));
    }
}
