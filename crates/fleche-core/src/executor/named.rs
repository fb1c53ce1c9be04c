//! `executor_named`: executors by name, from `fleche.toml` or with the default settings of a linked type.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    path::{Path, PathBuf},
    sync::{Arc, LazyLock, Mutex},
};

use serde::Deserialize;
use toml::{Table, Value};

use super::{
    Executor, ExecutorConfig, Wrapped, executors,
    wrapped::{WeakWrapped, wrap_executor},
};
use crate::{
    config::{ConfiguredExecutor, configured_executors, did_you_mean, expand_home, list},
    error::{Error, Result},
    runtime::{fork::ensure_not_forked, lock::LockResultExt},
};

/// The executors that this process has open, by name and configuration. They are held weakly: a pool is closed when its last
/// user drops it.
static OPEN: LazyLock<Mutex<HashMap<String, WeakWrapped>>> = LazyLock::new(Mutex::default);

/// Opens the executor with this name, [wrapped](super::wrap_executor). While it is open, the same name
/// returns the same executor, as long as its settings are the same and from the same file.
///
/// The name is one that a [configuration file](crate::config::ConfigFile) defines, so that a program can be moved from the threads of a laptop
/// to another executor without a change to its code:
///
/// ```toml
/// [executor.cluster]
/// type = "processes"
/// processes = 8
/// ```
///
/// Relative paths in an executor's settings are relative to the directory of the file, and `~/` in its `directory` is the home
/// directory.
///
/// Otherwise, it is the `type` of an executor that is linked into the program, which is opened with its default settings:
/// `fleche-exec` has `serial`, `threads` and, on Linux, `processes`, of which `threads` and
/// `processes` have one worker per core. Files are searched for from the working directory, as [`Cache::named`](crate::Cache::named) does; this also holds in a worker process, where the
/// executor is one of that process.
///
/// ```
/// use fleche_core::{ExecutorExt, executor_named};
/// # use fleche_exec as _;
///
/// let pool = executor_named("threads")?;
/// let job = pool.submit(|x: i64| 2 * x, (21,));
/// assert_eq!(job.result(), Ok(42));
/// # Ok::<(), fleche_core::Error>(())
/// ```
///
/// # Errors
/// Fails with [`Error::Config`] for an unknown name, with the known names; for settings that cannot be used, with the file and
/// the table in it; and if a configuration file cannot be read or parsed. Also fails with the errors of opening the executor, and
/// with [`Error::Forked`] in a [forked child](crate::spi::fork).
pub fn executor_named(name: &str) -> Result<Wrapped<Arc<dyn Executor>>> {
    // Before the lock, which another thread of the parent may have held at the fork.
    ensure_not_forked(|| format!("the executor `{name}`"))?;
    let settings = Settings::find(name, &configured_executors()?)?;
    let identity = settings.identity();
    let is_open = OPEN.lock().ignore_poison().get(&identity).and_then(WeakWrapped::upgrade);
    if let Some(executor) = is_open {
        return Ok(executor);
    }
    // Without the lock, since opening an executor may open another one by its name.
    let executor = wrap_executor(settings.open()?);
    let mut open = OPEN.lock().ignore_poison();
    if let Some(earlier) = open.get(&identity).and_then(WeakWrapped::upgrade) {
        drop(open); // Before `executor`, which is closed when this function returns.
        return Ok(earlier);
    }
    open.retain(|_, executor| executor.is_open());
    open.insert(identity, executor.downgrade());
    Ok(executor)
}

/// The settings of an executor, and where they come from.
struct Settings {
    table: Table,
    /// The file and the table in it, or the name of a type.
    place: String,
    /// The file, whose directory resolves relative paths.
    file: Option<PathBuf>,
}

impl Settings {
    fn find(name: &str, configured: &BTreeMap<String, ConfiguredExecutor>) -> Result<Self> {
        if let Some(configured) = configured.get(name) {
            let place = format!("{}, `[executor.{name}]`", configured.file.display());
            return Ok(Self { table: configured.table.clone(), place, file: Some(configured.file.clone()) });
        }
        let types: BTreeSet<_> = executors().into_iter().map(|executor| executor.name).collect();
        if types.contains(name) {
            let table = Table::from_iter([("type".to_owned(), Value::String(name.to_owned()))]);
            return Ok(Self { table, place: format!("executor `{name}`"), file: None });
        }
        let known: BTreeSet<_> = types.iter().copied().chain(configured.keys().map(String::as_str)).collect();
        let near = did_you_mean(name, known.iter().copied());
        let why = format!("there is no executor `{name}`{near} Known executors: {}", listed(known, types.is_empty()));
        Err(Error::Config { place: "executor configuration".to_owned(), why })
    }

    /// Returns text that differs for different settings, and for equal settings in two files, whose relative paths differ.
    fn identity(&self) -> String {
        format!("{}\n{}", self.place, self.table)
    }

    fn open(self) -> Result<Arc<dyn Executor>> {
        let Self { mut table, place, file } = self;
        let expanded = table.get_mut("directory").map_or(Ok(()), expand_home);
        expanded.map_err(|why| Error::Config { place: place.clone(), why })?;
        let kind = table.get("type").and_then(Value::as_str).map(str::to_owned);
        let mut config = Box::<dyn ExecutorConfig>::deserialize(table).map_err(|error| {
            let why = explain(error.message(), kind.as_deref());
            Error::Config { place: place.clone(), why }
        })?;
        if let Some(directory) = file.as_deref().and_then(Path::parent) {
            config.resolve(directory);
        }
        config.open().map_err(|error| match error {
            Error::Config { .. } => Error::Config { place, why: error.report().to_string() },
            error => error,
        })
    }
}

/// Returns serde's message, with an explanation if it is about an unknown or missing type of executor.
fn explain(message: &str, kind: Option<&str>) -> String {
    let types: Vec<_> = executors().into_iter().map(|executor| executor.name).collect();
    let no_executor = match kind {
        None => "`type` is missing.".to_owned(),
        Some(kind) if message.starts_with(&format!("unknown variant `{kind}`")) => {
            format!("no executor of type `{kind}` is known{}", did_you_mean(kind, types.iter().copied()))
        }
        Some(_) => return message.to_owned(),
    };
    format!("{no_executor} Known types: {}", listed(types.iter().copied(), types.is_empty()))
}

/// Returns the names as text. If no type of executor is linked, the text says how to link some.
fn listed<'a>(names: impl IntoIterator<Item = &'a str>, none_linked: bool) -> String {
    let names = Some(list(names)).filter(|names| !names.is_empty());
    let cure = if none_linked { "; add `use fleche_exec as _;` to the program" } else { "" };
    format!("{}{cure}", names.as_deref().unwrap_or("none"))
}

#[cfg(test)]
mod tests {
    use super::*;

    // This test binary links no executor.
    #[test]
    fn unknown_name_says_how_to_link_executors() {
        let error = |configured: &[&str]| {
            let settings = || ConfiguredExecutor { file: PathBuf::new(), table: Table::new() };
            let configured = configured.iter().map(|name| ((*name).to_owned(), settings())).collect();
            Settings::find("clustr", &configured).map(drop).unwrap_err().to_string()
        };
        let cure = "; add `use fleche_exec as _;` to the program";
        assert!(error(&[]).ends_with(&format!("no executor `clustr`. Known executors: none{cure}")), "{}", error(&[]));
        let said = error(&["cluster"]);
        assert!(said.ends_with(&format!("did you mean `cluster`? Known executors: `cluster`{cure}")), "{said}");
    }
}
