//! The configurations of SQL stores: `{"type":"sql","url":"sqlite:…"}`.

use std::{path::Path, sync::Arc, time::Duration};

use fleche_core::{
    CallStore, Result, ValueStore,
    store::{CallStoreConfig, Reach, ValueStoreConfig},
};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

use crate::{DatabaseUrl, SqlCalls, SqlValues, database::Settings};

/// The default timeout of an operation.
const TIMEOUT: Duration = Duration::from_secs(5);

macro_rules! sql_config {
    ($(#[$doc:meta])* $config:ident, $config_trait:ident, $store:ident, $store_trait:ident) => {
        $(#[$doc])*
        #[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
        #[serde(deny_unknown_fields)]
        #[non_exhaustive]
        pub struct $config {
            /// The address of the database. A password in it is removed when the configuration is written.
            pub url: DatabaseUrl,
            /// The environment variable that holds the password, for PostgreSQL.
            #[serde(default, skip_serializing_if = "Option::is_none")]
            pub password_env: Option<String>,
            /// The schema of the tables, for PostgreSQL: lower-case letters, digits and `_`. It is created if it is
            /// missing. Stores of different schemas share nothing but the database. Without it, the tables are in the
            /// first schema of the user's `search_path`.
            #[serde(default, skip_serializing_if = "Option::is_none")]
            pub schema: Option<String>,
            /// The limit on the time of one operation: connecting, waiting for a lock, and each statement or
            /// transaction, which has one more second for each 4 MiB that it sends. Operations that take longer fail.
            /// The default is 5 seconds; in text, write `timeout = "10s"`. If stores of one database in a process have
            /// different timeouts, the shortest applies.
            #[serde(
                default = "default_timeout",
                serialize_with = "write_timeout",
                deserialize_with = "read_timeout",
                skip_serializing_if = "is_default_timeout"
            )]
            pub timeout: Duration,
        }

        impl $config {
            /// Creates the configuration of the store in the database at this URL.
            pub fn new(url: impl Into<DatabaseUrl>) -> Self {
                Self { url: url.into(), password_env: None, schema: None, timeout: TIMEOUT }
            }

            /// Sets the environment variable that holds the password, wherever the store is opened.
            pub fn password_env(mut self, name: impl Into<String>) -> Self {
                self.password_env = Some(name.into());
                self
            }

            /// Sets the schema of the tables.
            pub fn schema(mut self, name: impl Into<String>) -> Self {
                self.schema = Some(name.into());
                self
            }

            /// Sets the timeout of each operation.
            pub fn timeout(mut self, timeout: Duration) -> Self {
                self.timeout = timeout;
                self
            }

            pub(crate) fn settings(&self) -> Settings<'_> {
                let Self { url, password_env, schema, timeout } = self;
                Settings { url, password_env: password_env.as_deref(), schema: schema.as_deref(), timeout: *timeout }
            }
        }

        #[typetag::serde(name = "sql")]
        impl $config_trait for $config {
            fn open(&self) -> Result<Arc<dyn $store_trait>> {
                Ok(Arc::new($store::open_with(self)?))
            }

            fn reach(&self) -> Reach {
                Reach::Shared
            }

            fn resolve(&mut self, directory: &Path) {
                self.url.resolve(directory);
            }
        }
    };
}

sql_config! {
    /// The configuration of an [`SqlValues`].
    SqlValuesConfig, ValueStoreConfig, SqlValues, ValueStore
}

sql_config! {
    /// The configuration of an [`SqlCalls`].
    SqlCallsConfig, CallStoreConfig, SqlCalls, CallStore
}

fn default_timeout() -> Duration {
    TIMEOUT
}

fn is_default_timeout(timeout: &Duration) -> bool {
    *timeout == TIMEOUT
}

fn write_timeout<S: Serializer>(timeout: &Duration, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(&humantime::format_duration(*timeout))
}

fn read_timeout<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Duration, D::Error> {
    let text = String::deserialize(deserializer)?;
    let timeout = humantime::parse_duration(&text).ok().filter(|timeout| !timeout.is_zero());
    timeout.ok_or_else(|| de::Error::custom(format!("`{text}` is not a timeout: write, for example, `10s` or `500ms`")))
}
