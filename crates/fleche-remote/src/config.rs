//! `RemoteConfig`: the configurations of remote stores, and the commands that a program or its configuration files name.

use std::{
    collections::BTreeMap,
    path::Path,
    sync::{Arc, Mutex, MutexGuard},
    time::Duration,
};

use fleche_core::{
    CallStore, Digest, Error, Result, ValueStore, encoding,
    spi::{LockResultExt, remote_from_environment},
    store::{CallStoreConfig, Reach, StorePair, ValueStoreConfig},
};
use serde::{Deserialize, Serialize};

use crate::{
    remote_stores::{RemoteCalls, RemoteValues},
    session::{ServerSettings, Session},
};

/// The time that an operation may take, if the configuration does not say.
const TIMEOUT: Duration = Duration::from_secs(30);

/// The configuration of both stores of a cache that a command serves: `{"type":"remote","name":"study"}`.
///
/// The name is that of a table of a [configuration file](fleche_core::config::ConfigFile), which has the command:
///
/// ```toml
/// [remote.study]
/// command = ["ssh", "login.cluster", "fleche-serve", "--cache", "study"]
/// timeout = "30s" # for each operation, and for connecting; the default
/// ```
///
/// **Text from elsewhere starts no command.** A command is started only if the program names it, with
/// [`command`](Self::command), or a configuration file that fleche [trusts](fleche_core::config::ConfigFile#which-files-are-read).
/// There, the configuration of a store may also have the command itself:
/// `values = { type = "remote", command = ["ssh", …] }`. In any other text, such as that of a bound call, a store with a command
/// cannot be opened.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RemoteConfig {
    /// The name of the command.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    name: Option<String>,
    /// A command that text names. It is not started.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    command: Option<Vec<String>>,
    /// The timeout beside a command.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    timeout: Option<Timeout>,
}

/// A table `[remote.NAME]`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RemoteTable {
    command: Vec<String>,
    timeout: Option<Timeout>,
}

/// The time that an operation may take, as text: `30s`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
struct Timeout(Duration);

impl TryFrom<String> for Timeout {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        let timeout = humantime::parse_duration(&text).ok().filter(|timeout| !timeout.is_zero());
        let timeout = timeout.map(Self);
        timeout.ok_or_else(|| format!("`{text}` is not a timeout: write, for example, `30s` or `500ms`"))
    }
}

impl From<Timeout> for String {
    fn from(Timeout(timeout): Timeout) -> Self {
        humantime::format_duration(timeout).to_string()
    }
}

impl From<RemoteTable> for ServerSettings {
    fn from(RemoteTable { command, timeout }: RemoteTable) -> Self {
        Self { command, timeout: timeout.map_or(TIMEOUT, |Timeout(timeout)| timeout) }
    }
}

/// The commands that this program and its configuration files name, by the names that stand for them in text.
static KNOWN: Mutex<BTreeMap<String, ServerSettings>> = Mutex::new(BTreeMap::new());

fn known() -> MutexGuard<'static, BTreeMap<String, ServerSettings>> {
    KNOWN.lock().ignore_poison()
}

impl RemoteConfig {
    /// Creates the configuration of the stores that this program serves on its standard input and output when it is started with
    /// these arguments. Operations may take 30 s.
    ///
    /// ```
    /// use fleche_core::Cache;
    /// use fleche_remote::RemoteConfig;
    ///
    /// # fn main() -> fleche_core::Result<()> {
    /// let remote = RemoteConfig::command("ssh", ["login.cluster", "fleche-serve", "--cache", "study"]);
    /// let cache = remote.cache()?; // Connects when a call needs it.
    /// # Ok(()) }
    /// ```
    ///
    /// In text, the command is replaced by a name made of its digest. Programs that name the same command can open it.
    pub fn command<A: Into<String>>(program: impl Into<String>, arguments: impl IntoIterator<Item = A>) -> Self {
        let command = [program.into()].into_iter().chain(arguments.into_iter().map(Into::into)).collect();
        Self::of_command(ServerSettings { command, timeout: TIMEOUT })
    }

    /// Creates the configuration of the stores that the table `[remote.NAME]` describes.
    pub fn named(name: impl Into<String>) -> Self {
        Self { name: Some(name.into()), command: None, timeout: None }
    }

    /// Sets the time that each operation may take, for a configuration with a [`command`](Self::command). A table has its own.
    #[must_use]
    pub fn timeout(self, timeout: Duration) -> Self {
        let settings = self.name.as_ref().and_then(|name| known().get(name).cloned());
        match settings {
            Some(settings) => Self::of_command(ServerSettings { timeout, ..settings }),
            None => self,
        }
    }

    /// Opens a cache of both stores. It connects when an operation needs it.
    ///
    /// # Errors
    /// Fails with [`Error::Config`] if no command of this name is known.
    pub fn cache(&self) -> Result<fleche_core::Cache> {
        Ok(fleche_core::Cache::builder()
            .values(ValueStoreConfig::open(self)?)
            .calls(CallStoreConfig::open(self)?)
            .build())
    }

    /// Returns the configurations of both stores.
    pub fn pair(&self) -> StorePair {
        (Box::new(self.clone()), Box::new(self.clone()))
    }

    /// Registers a command that the program or a trusted file names.
    fn of_command(settings: ServerSettings) -> Self {
        // Encoding text and numbers does not fail.
        let digest = Digest::hash(&encoding::to_vec(&(&settings.command, settings.timeout)).unwrap_or_default());
        let name = digest.to_string()[..16].to_owned();
        known().insert(name.clone(), settings);
        Self::named(name)
    }

    fn session(&self) -> Result<Arc<Session>> {
        if let Some(command) = &self.command {
            return Err(config_error(format!(
                "the text of this store names the command `{}`, which is not started: only a program and your own {} may name \
                 commands. Write `[remote.NAME]` with the command there, and refer to it with `name`",
                command.join(" "),
                fleche_core::config::CONFIG_FILE
            )));
        }
        let name =
            self.name.as_deref().ok_or_else(|| config_error("it has neither `name` nor `command`".to_owned()))?;
        let settings = known().get(name).cloned();
        let settings = match settings {
            Some(settings) => settings,
            None => from_files(name)?,
        };
        Session::open(settings)
    }
}

/// Returns the command of this name from the configuration files.
fn from_files(name: &str) -> Result<ServerSettings> {
    if let Some(table) = remote_from_environment::<RemoteTable>(name)? {
        return Ok(table.into());
    }
    // Reading the files registers the commands that caches have there.
    fleche_core::config::ConfigFile::from_environment()?;
    known().get(name).cloned().ok_or_else(|| {
        config_error(format!(
            "no command of the name `{name}` is known; write the table `[remote.{name}]` with its `command` in your {}",
            fleche_core::config::CONFIG_FILE
        ))
    })
}

fn config_error(why: String) -> Error {
    Error::Config { place: "a remote store".to_owned(), why }
}

macro_rules! remote_config {
    ($config:ident, $store:ident, $remote:ident) => {
        #[typetag::serde(name = "remote")]
        impl $config for RemoteConfig {
            fn open(&self) -> Result<Arc<dyn $store>> {
                Ok(Arc::new($remote::of_session(self.session()?, Box::new(self.clone()))))
            }

            fn reach(&self) -> Reach {
                // Workers use the connection of their parent.
                Reach::Process
            }

            /// Makes the command of a trusted file known: only the reader of these files calls this.
            fn resolve(&mut self, _: &Path) {
                if let Some(command) = self.command.take() {
                    *self = Self::of_command(RemoteTable { command, timeout: self.timeout.take() }.into());
                }
            }
        }
    };
}

remote_config! { ValueStoreConfig, ValueStore, RemoteValues }
remote_config! { CallStoreConfig, CallStore, RemoteCalls }
