//! `ConfigFile`: the search for `fleche.toml`, its content, and the expansion of `~` in its paths.

use std::{
    collections::BTreeMap,
    env, io,
    path::{Path, PathBuf},
    sync::{Mutex, MutexGuard},
};

use serde::{Deserialize, de::DeserializeOwned};
use toml::{Table, Value};

use super::{CacheConfig, trust};
use crate::{
    error::{Error, Result},
    runtime::{fork, lock::LockResultExt},
};

/// The name of configuration files.
pub const CONFIG_FILE: &str = "fleche.toml";

/// The environment variable that names the one configuration file to read, instead of a search.
pub const CONFIG_VARIABLE: &str = "FLECHE_CONFIG";

/// The merged configuration files in force. Where two conflict, the file closer to the working directory wins.
///
/// A file looks like this; everything in it is optional. Relative paths are resolved against the file's directory, and
/// `~/` at the beginning of a path is the home directory:
///
/// ```
/// # let text = r#"
/// root = true                  # look no further up, nor in the user's configuration directory
/// default = "scratch"          # the cache to use if the program enters none
///
/// [cache.scratch]
/// values = { type = "void" }
/// calls = { type = "void" }
/// store_arguments = true
/// stale = "rerun"              # or "warn", "serve": results that other code of a function computed
///
/// [executor.cluster]           # for `executor_named("cluster")`
/// type = "processes"
/// processes = 8
///
/// [remote.study]               # for stores of `type = "remote"` with `name = "study"`
/// command = ["ssh", "login.cluster", "fleche-serve", "--cache", "study"]
/// # "#;
/// # let directory = tempfile::tempdir()?;
/// # std::fs::write(directory.path().join("fleche.toml"), text)?;
/// # let config = fleche_core::config::ConfigFile::find(directory.path())?;
/// # assert_eq!(config.default.as_deref(), Some("scratch"));
/// # assert!(config.caches.contains_key("scratch"));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// # Which files are read
///
/// A configuration decides where results are read from, so a file that another user could have written is skipped, with
/// a warning that names the file and the reason. A file that the search finds must be a regular file of at most
/// [`MAX_CONFIG_LEN`](super::MAX_CONFIG_LEN) bytes. On Unix, the following must also hold:
///
/// - The file and its directory belong to this process's user or to root. If the file is a symbolic link, this applies
///   to the target's directory too.
/// - No other user can write to them: they are not writable by everyone, nor by a group that has other members. A
///   directory with the sticky bit, such as `/tmp`, may be writable, as long as the file has only one hard link.
///
/// A process that runs as root on files of another user, in a container for instance, therefore skips those files. Set
/// the environment variable [`FLECHE_CONFIG`](CONFIG_VARIABLE) instead: it names the one file to read, regardless of
/// its owner, and no search is made. It is an error if that file is missing or cannot be used.
#[derive(Clone, Debug, Default, PartialEq)]
#[non_exhaustive]
pub struct ConfigFile {
    /// The name of the default cache, for programs that enter none.
    pub default: Option<String>,
    /// The caches by name.
    pub caches: BTreeMap<String, CacheConfig>,
    /// The files that were read, the one closest to the working directory first.
    pub files: Vec<PathBuf>,
}

/// The settings of an executor or of another connection, and the file that they are in.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct ConfiguredExecutor {
    pub(crate) file: PathBuf,
    pub(crate) table: Table,
}

/// A file whose caches are read as `C`. Executors, remotes and, for programs that ask only for these, caches are left as tables, because
/// their types may not be linked into the program.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ParsedFile<C> {
    #[serde(default)]
    root: bool,
    default: Option<String>,
    #[serde(default = "BTreeMap::new", rename = "cache")]
    caches: BTreeMap<String, C>,
    #[serde(default, rename = "executor")]
    executors: BTreeMap<String, Table>,
    #[serde(default, rename = "remote")]
    remotes: BTreeMap<String, Table>,
}

/// Names with a fixed meaning, which a file must not give to a cache of its own.
const RESERVED_NAMES: [&str; 3] = ["memory", "void", "default"];

impl ConfigFile {
    /// Reads the file that [`FLECHE_CONFIG`](CONFIG_VARIABLE) names or, if it is not set, the files that
    /// [`find`](Self::find) finds from the working directory.
    ///
    /// # Errors
    /// Fails as [`find`](Self::find) does, and with [`Error::Config`] if the named file is missing or is not a regular
    /// file of at most [`MAX_CONFIG_LEN`](super::MAX_CONFIG_LEN) bytes.
    pub fn from_environment() -> Result<Self> {
        let mut found = Self::default();
        read_environment(parse, |path, file| found.add(path, file))?;
        Ok(found)
    }

    /// Reads the files named [`CONFIG_FILE`] from this directory upward, then `fleche/fleche.toml` in the user's
    /// configuration directory (`$XDG_CONFIG_HOME`, or `~/.config`). The search ends at a file with `root = true`.
    /// Files that another user could have written are [skipped](Self#which-files-are-read). If there is no file, the
    /// result is empty.
    ///
    /// # Errors
    /// Fails with [`Error::Config`], which names the file and the position in it, if a file cannot be read or parsed.
    pub fn find(directory: &Path) -> Result<Self> {
        let mut found = Self::default();
        search(directory, parse, |path, file| found.add(path, file))?;
        Ok(found)
    }

    fn add(&mut self, path: &Path, next: ParsedFile<CacheConfig>) {
        self.files.push(path.to_owned());
        self.default = self.default.take().or(next.default);
        for (name, cache) in next.caches {
            self.caches.entry(name).or_insert(cache);
        }
    }
}

/// Returns the settings of executors by name, from the files that [`ConfigFile::from_environment`] reads.
pub(super) fn executors_from_environment() -> Result<BTreeMap<String, ConfiguredExecutor>> {
    let mut found = BTreeMap::new();
    read_environment(parse_tables, |path, file| {
        for (name, table) in file.executors {
            found.entry(name).or_insert_with(|| ConfiguredExecutor { file: path.to_owned(), table });
        }
    })?;
    Ok(found)
}

/// Returns the settings under `[remote.NAME]` with this name, or `None` if no file has any. The files are those that
/// [`ConfigFile::from_environment`] reads.
///
/// # Errors
/// Fails as [`ConfigFile::from_environment`] does, but not for caches that cannot be used; also if the settings are not of the
/// requested type.
pub(super) fn remote_from_environment<T: DeserializeOwned>(name: &str) -> Result<Option<T>> {
    let mut found = None;
    read_environment(parse_tables, |path, mut file| {
        let table = file.remotes.remove(name);
        found = found.take().or(table.map(|table| (path.to_owned(), table)));
    })?;
    let Some((path, table)) = found else { return Ok(None) };
    let unusable = |error| unusable_file(&path, format!("`[remote.{name}]`: {}", trimmed(&error)));
    T::deserialize(table).map(Some).map_err(unusable)
}

fn parse_tables(path: &Path, text: &str) -> Result<ParsedFile<Table>> {
    toml::from_str(text).map_err(|error| unusable_file(path, trimmed(&error)))
}

/// Reads the file that [`FLECHE_CONFIG`](CONFIG_VARIABLE) names or, if it is not set, those that a search finds.
fn read_environment<C>(
    parse: impl Fn(&Path, &str) -> Result<ParsedFile<C>>,
    mut add: impl FnMut(&Path, ParsedFile<C>),
) -> Result<()> {
    let directory = search_directory().map_err(Error::io("find", "the working directory"));
    let Some(named) = env::var_os(CONFIG_VARIABLE).filter(|path| !path.is_empty()) else {
        return search(&directory?, parse, add);
    };
    // An absolute path needs no working directory.
    let path = if Path::new(&named).is_absolute() { named.into() } else { directory?.join(named) };
    add(&path, parse(&path, &trust::read_named(&path).map_err(named_by_variable)?)?);
    Ok(())
}

/// Reads the files from this directory upward and that of the user, the closest one first, until one is a root.
fn search<C>(
    directory: &Path,
    parse: impl Fn(&Path, &str) -> Result<ParsedFile<C>>,
    mut add: impl FnMut(&Path, ParsedFile<C>),
) -> Result<()> {
    let above = directory.ancestors().map(|directory| directory.join(CONFIG_FILE));
    for path in above.chain(user_file()) {
        let Some(text) = trust::read_found(&path)? else { continue };
        let file = parse(&path, &text)?;
        let root = file.root;
        add(&path, file);
        if root {
            break;
        }
    }
    Ok(())
}

fn named_by_variable(error: Error) -> Error {
    match error {
        Error::Config { place, why } => Error::Config { place: format!("{place}, which {CONFIG_VARIABLE} names"), why },
        error => error,
    }
}

/// Returns the path of the user's configuration file, whether or not it exists.
pub(super) fn user_file() -> Option<PathBuf> {
    let absolute = |name| env::var_os(name).map(PathBuf::from).filter(|path| path.is_absolute());
    let directory = absolute("XDG_CONFIG_HOME").or_else(|| Some(home_directory()?.join(".config")))?;
    Some(directory.join("fleche").join(CONFIG_FILE))
}

fn unusable_file(path: &Path, why: String) -> Error {
    Error::Config { place: path.display().to_string(), why }
}

fn parse(path: &Path, text: &str) -> Result<ParsedFile<CacheConfig>> {
    let config_error = |why: String| unusable_file(path, why);
    let mut file: ParsedFile<CacheConfig> = toml::from_str(text).map_err(|error| config_error(trimmed(&error)))?;
    if text.contains('~') {
        file = with_home(text).map_err(config_error)?;
    }
    if let Some(name) = RESERVED_NAMES.into_iter().find(|name| file.caches.contains_key(*name)) {
        return Err(config_error(format!("the name `{name}` is reserved; give the cache another one")));
    }
    let directory = path.parent().unwrap_or(path);
    for cache in file.caches.values_mut() {
        cache.values.resolve(directory);
        cache.calls.resolve(directory);
    }
    Ok(file)
}

/// Parses a file with `~` replaced by the home directory.
fn with_home(text: &str) -> Result<ParsedFile<CacheConfig>, String> {
    let mut table: Table = text.parse().map_err(|error| trimmed(&error))?;
    let caches = table.get_mut("cache").and_then(Value::as_table_mut).into_iter().flatten();
    for (_, cache) in caches {
        for store in ["values", "calls"] {
            cache.get_mut(store).map_or(Ok(()), expand_home)?;
        }
    }
    ParsedFile::deserialize(table).map_err(|error| trimmed(&error))
}

/// Returns the error as text, without the line breaks after it: each level of a nested store adds one.
fn trimmed(error: &toml::de::Error) -> String {
    error.to_string().trim_end().to_owned()
}

/// The keys whose strings are not paths of this machine.
const NAME_KEYS: [&str; 4] = ["type", "id", "name", "command"];

/// Returns the home directory of this process's user, if it is known.
fn home_directory() -> Option<PathBuf> {
    env::home_dir().filter(|path| path.is_absolute())
}

/// Replaces `~` with the home directory in every path of a configuration, including those of nested stores.
///
/// # Errors
/// Fails with the reason if a path that begins with `~` cannot be used.
pub(crate) fn expand_home(config: &mut Value) -> Result<(), String> {
    match config {
        Value::String(text) => {
            if let Some((before, after)) = split_at_tilde(text) {
                *text = format!("{before}{}{after}", home_of(text, after)?);
            }
            Ok(())
        }
        Value::Array(stores) => stores.iter_mut().try_for_each(expand_home),
        Value::Table(table) => table
            .iter_mut()
            .try_for_each(|(key, value)| if NAME_KEYS.contains(&key.as_str()) { Ok(()) } else { expand_home(value) }),
        _ => Ok(()),
    }
}

/// Splits a path that begins with `~` into the parts before and after it. The path may be part of a URL: `sqlite:~/x`.
fn split_at_tilde(text: &str) -> Option<(&str, &str)> {
    let scheme = text.split_once(':').filter(|(scheme, _)| scheme.chars().all(|char| char.is_ascii_alphanumeric()));
    let path = scheme.map_or(text, |(_, path)| path.strip_prefix("//").unwrap_or(path));
    let after = path.strip_prefix('~')?;
    Some((&text[..text.len() - path.len()], after))
}

fn home_of(text: &str, after: &str) -> Result<String, String> {
    if !after.is_empty() && !after.starts_with('/') {
        return Err(format!(
            "`{text}` begins with `~`, which means your home directory in `~/…` only; write another user's directory out, \
             and `./~…` for a name that begins with `~`"
        ));
    }
    let home =
        home_directory().ok_or_else(|| format!("`{text}` is in the home directory, which is not known: set HOME"))?;
    home.into_os_string().into_string().map_err(|home| {
        format!(
            "`{text}` is in the home directory {}, whose name is not Unicode: write a path elsewhere",
            home.display()
        )
    })
}

/// The working directories of isolated calls, each with the directory from which the call was made.
static PRIVATE_DIRECTORIES: Mutex<BTreeMap<PathBuf, PathBuf>> = Mutex::new(BTreeMap::new());

/// Redirects searches that would begin in a private directory, on any thread, to the directory from which the isolated
/// call was made. Dropping it ends the redirection.
#[derive(Debug)]
pub(crate) struct SearchRootOverride(PathBuf);

impl SearchRootOverride {
    /// Registers this private directory, given by its canonical path. Must be called on the thread that makes the
    /// isolated call.
    pub(crate) fn new(private: PathBuf) -> Self {
        // If the caller has no working directory, the search finds nothing in the private one either.
        if !fork::is_child()
            && let Ok(caller) = search_directory()
        {
            private_directories().insert(private.clone(), caller);
        }
        Self(private)
    }
}

impl Drop for SearchRootOverride {
    fn drop(&mut self) {
        if fork::is_child() {
            return;
        }
        private_directories().remove(&self.0);
    }
}

/// Returns where this thread's search begins: its working directory, or the one from which the isolated call was made.
pub fn search_directory() -> io::Result<PathBuf> {
    let here = env::current_dir()?;
    Ok(called_from(&here, &private_directories()).unwrap_or(here))
}

fn called_from(here: &Path, private: &BTreeMap<PathBuf, PathBuf>) -> Option<PathBuf> {
    here.ancestors().find_map(|directory| private.get(directory)).cloned()
}

fn private_directories() -> MutexGuard<'static, BTreeMap<PathBuf, PathBuf>> {
    PRIVATE_DIRECTORIES.lock().ignore_poison()
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    const VOID: &str = "values = { type = \"void\" }\ncalls = { type = \"void\" }\n";

    #[test]
    fn closer_files_win_and_root_ends_the_search() {
        let top = tempfile::tempdir().unwrap();
        let inner = top.path().join("a/b");
        fs::create_dir_all(&inner).unwrap();
        fs::write(top.path().join(CONFIG_FILE), format!("default = \"far\"\n[cache.far]\n{VOID}")).unwrap();
        fs::write(top.path().join("a").join(CONFIG_FILE), format!("[cache.near]\n{VOID}")).unwrap();
        let found = ConfigFile::find(&inner).unwrap();
        assert_eq!(found.default.as_deref(), Some("far"));
        assert_eq!(found.caches.keys().collect::<Vec<_>>(), ["far", "near"]);

        fs::write(inner.join(CONFIG_FILE), "root = true\ndefault = \"void\"\n").unwrap();
        let found = ConfigFile::find(&inner).unwrap();
        assert_eq!(found.default.as_deref(), Some("void"));
        assert!(found.caches.is_empty());
    }

    #[test]
    fn error_in_a_file_names_its_path() {
        for (text, says) in [
            ("defualt = \"x\"", "defualt"),
            ("[cache.memory]\nvalues = { type = \"void\" }\ncalls = { type = \"void\" }", "reserved"),
            ("[cache.x]\nvalues = { type = \"rdb\" }\ncalls = { type = \"void\" }", "use fleche_store_"),
        ] {
            let directory = tempfile::tempdir().unwrap();
            fs::write(directory.path().join(CONFIG_FILE), text).unwrap();
            let error = ConfigFile::find(directory.path()).unwrap_err().to_string();
            assert!(error.contains(says) && error.contains(CONFIG_FILE), "{error}");
        }
    }

    #[test]
    fn tilde_expands_only_at_the_beginning_of_a_path() {
        let home = home_directory().unwrap().display().to_string();
        let expanded = |text: &str| {
            let mut path = Value::String(text.to_owned());
            expand_home(&mut path).map(|()| path.as_str().unwrap().to_owned())
        };
        for (text, path) in [
            ("~/x", format!("{home}/x")),
            ("~", home.clone()),
            ("sqlite:~/x.db", format!("sqlite:{home}/x.db")),
            ("sqlite://~/x.db", format!("sqlite://{home}/x.db")),
            ("a/~/x", "a/~/x".to_owned()),
            ("./~/x", "./~/x".to_owned()),
            ("x~", "x~".to_owned()),
        ] {
            assert_eq!(expanded(text), Ok(path));
        }
        assert!(expanded("~ann/x").unwrap_err().contains("`~ann/x`"));
        assert!(expanded("sqlite:~ann/x").unwrap_err().contains("`sqlite:~ann/x`"));
    }

    #[test]
    fn search_in_a_private_directory_begins_where_the_call_was_made() {
        let private = BTreeMap::from([("/cache/cwd/1".into(), "/home/me".into())]);
        assert_eq!(called_from(Path::new("/cache/cwd/1/sub"), &private), Some("/home/me".into()));
        assert_eq!(called_from(Path::new("/cache/cwd/12"), &private), None);
    }
}
