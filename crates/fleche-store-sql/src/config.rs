//! The configurations of SQL stores: `{"type":"sql","url":"sqlite:…"}`.

use std::time::Duration;

use fleche_core::store::Reach;
use serde::{Deserialize, Deserializer, Serializer, de};

use crate::{DatabaseUrl, SqlCalls, SqlValues, database::Settings};

/// The default timeout of an operation.
const TIMEOUT: Duration = Duration::from_secs(5);

fleche_core::store_configs! {
    type: "sql",
    reach: Reach::Shared,
    /// The configuration of an [`SqlValues`].
    values: SqlValuesConfig => SqlValues::open_with,
    /// The configuration of an [`SqlCalls`].
    calls: SqlCallsConfig => SqlCalls::open_with,
    location: {
        /// The address of the database. A password in it is removed when the configuration is written.
        url: DatabaseUrl
    },
    settings: {
        /// The environment variable that holds the password, for PostgreSQL, wherever the store is opened.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        password_env: Option<String> as String = None,
        /// The schema of the tables, for PostgreSQL: lower-case letters, digits and `_`. It is created if it is
        /// missing. Stores of different schemas share nothing but the database. Without it, the tables are in the
        /// first schema of the user's `search_path`.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        schema: Option<String> as String = None,
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
        timeout: Duration = TIMEOUT,
    },
    methods: {
        pub(crate) fn settings(&self) -> Settings<'_> {
            let Self { url, password_env, schema, timeout } = self;
            Settings { url, password_env: password_env.as_deref(), schema: schema.as_deref(), timeout: *timeout }
        }
    },
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
