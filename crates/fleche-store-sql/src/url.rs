//! `DatabaseUrl`: where a database is, without ever showing a password.

use std::{
    env, fmt,
    path::{Path, PathBuf},
};

use fleche_core::Result;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use url::Url;

use crate::error::config;

/// What stands for a password that is not shown.
const HIDDEN: &str = "***";
const SCHEMES: [&str; 2] = ["postgres", "postgresql"];

/// Where a database is: `sqlite:path/to/file.db`, or `postgres://user@host/database`.
///
/// What follows `sqlite:` is the path as it is. A URL of PostgreSQL may have the parameters that `sqlx` knows:
/// `?sslmode=require`, say. `$NAME` stands for the URL that the environment variable of this name holds wherever it is
/// opened.
///
/// A password in the URL opens the database in this process. It is shown nowhere: `Debug`, errors and serialised
/// configurations have `***` in its place, and opening such a URL is an error that says what to do instead.
#[derive(Clone, PartialEq, Eq)]
pub struct DatabaseUrl(String);

/// What a URL leads to.
pub(crate) enum Target {
    /// A file of SQLite.
    File(PathBuf),
    /// A server of PostgreSQL; with the password, if there is one.
    Server(Url),
}

impl DatabaseUrl {
    /// The URL as it may be seen by anybody.
    fn shown(&self) -> String {
        if self.file().is_some() {
            return self.0.clone();
        }
        let Ok(mut url) = Url::parse(&self.0) else {
            // Where the password begins and ends cannot be known. Text without any mark of one is shown.
            return if self.0.contains(['@', '?']) { HIDDEN.to_owned() } else { self.0.clone() };
        };
        if secrets(&url).next().is_none() {
            return self.0.clone();
        }
        if url.password().is_some() && url.set_password(Some(HIDDEN)).is_err() {
            return HIDDEN.to_owned();
        }
        if url.query().is_some() {
            let pairs: Vec<_> = url.query_pairs().into_owned().collect();
            let shown = pairs.iter().map(|(name, value)| (name, if name == "password" { HIDDEN } else { value }));
            url.query_pairs_mut().clear().extend_pairs(shown);
        }
        url.to_string()
    }

    /// The path after `sqlite:`, if it is such a URL.
    fn file(&self) -> Option<&str> {
        let path = self.0.strip_prefix("sqlite:")?;
        Some(path.strip_prefix("//").unwrap_or(path))
    }

    /// Where the database is, with the password in the environment variable of this name, if one is given.
    ///
    /// # Errors
    /// [`Error::Config`](fleche_core::Error::Config) for what is no such URL, and where the password is missing.
    pub(crate) fn target(&self, password_env: Option<&str>) -> Result<Target> {
        let wrong = |why: &str| config(format!("the database URL `{self}`"), why);
        if let Some(name) = self.0.strip_prefix('$') {
            let held = env::var(name).ok().filter(|held| !held.starts_with('$'));
            let held = held.ok_or_else(|| wrong("no environment variable of this name holds a URL: set it"))?;
            return Self(held).target(password_env);
        }
        if let Some(path) = self.file() {
            if path.is_empty() || path.starts_with(':') || path.contains('?') {
                return Err(wrong(
                    "what follows `sqlite:` is the path of a file, without parameters; a database in memory would end \
                     with its connection: use the memory store",
                ));
            }
            if password_env.is_some() {
                return Err(wrong("SQLite has no passwords: remove `password_env`"));
            }
            return Ok(Target::File(path.into()));
        }
        let url = Url::parse(&self.0).ok().filter(|url| SCHEMES.contains(&url.scheme()));
        let Some(mut url) = url else {
            return Err(wrong("write `sqlite:path/to/file.db` or `postgres://user@host/database`"));
        };
        if secrets(&url).any(|secret| secret == HIDDEN) {
            return Err(wrong(
                "its password was left out when the configuration was written as text; keep the password in an \
                 environment variable, and name that in `password_env`",
            ));
        }
        if let Some(name) = password_env {
            if secrets(&url).next().is_some() {
                return Err(wrong("there is a password, and `password_env` names another one: keep the latter"));
            }
            let password = env::var(name).map_err(|_| {
                wrong(&format!("the environment variable `{name}`, which should hold the password, is not set"))
            })?;
            url.set_password(Some(&password)).map_err(|()| wrong("a URL with a password needs a host"))?;
        }
        Ok(Target::Server(url))
    }

    /// A relative path of a file, made relative to this directory.
    pub(crate) fn resolve(&mut self, directory: &Path) {
        // A directory that is not Unicode cannot stand in a URL.
        if let Some(file) = self.file().filter(|path| !path.is_empty() && !path.starts_with(':'))
            && let Some(path) = directory.join(file).to_str()
        {
            self.0 = format!("sqlite:{path}");
        }
    }
}

/// The passwords in the URL, wherever they stand.
fn secrets(url: &Url) -> impl Iterator<Item = String> {
    let pairs = url.query_pairs().filter(|(name, _)| name == "password").map(|(_, value)| value.into_owned());
    url.password().map(str::to_owned).into_iter().chain(pairs)
}

impl<T: Into<String>> From<T> for DatabaseUrl {
    fn from(text: T) -> Self {
        Self(text.into())
    }
}

impl fmt::Display for DatabaseUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.shown())
    }
}

impl fmt::Debug for DatabaseUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "DatabaseUrl({self})")
    }
}

impl Serialize for DatabaseUrl {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for DatabaseUrl {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer).map(Self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn error(url: &str, password_env: Option<&str>) -> String {
        let Err(error) = DatabaseUrl::from(url).target(password_env) else { panic!("{url} is accepted") };
        error.to_string()
    }

    #[test]
    fn passwords_are_shown_nowhere() {
        for text in [
            "postgres://me:s3cret@host/db",
            "postgresql://me:s3cret@host:5433/db?sslmode=require",
            "postgres://me@host/db?password=s3cret&sslmode=require",
            "postgres://me:s3cret@/db?host=/tmp",
            "postgres://me:s3cret@ho st/db",
            "mysql://me:s3cret@host/db",
        ] {
            let url = DatabaseUrl::from(text);
            for shown in [url.to_string(), format!("{url:?}"), serde_json::to_string(&url).unwrap()] {
                assert!(!shown.contains("s3cret") && shown.contains(HIDDEN), "{shown}");
            }
            if let Err(error) = url.target(None) {
                assert!(!error.to_string().contains("s3cret"), "{error}");
            }
        }
    }

    #[test]
    fn urls_without_a_password_are_as_they_were_written() {
        for text in ["sqlite:a@b:c.db", "sqlite:///a/b.db", "postgres://me@host/db?sslmode=require", "postgres:///", ""]
        {
            assert_eq!(DatabaseUrl::from(text).to_string(), text);
        }
    }

    #[test]
    fn a_url_whose_password_was_left_out_says_what_to_do() {
        for text in ["postgres://me:s3cret@host/db", "postgres://me@host/db?password=s3cret"] {
            let written = DatabaseUrl::from(text).to_string();
            assert!(error(&written, None).contains("`password_env`"), "{}", error(&written, None));
        }
    }

    #[test]
    fn what_is_no_database_is_refused() {
        for text in ["", "file.db", "mysql://host/db"] {
            assert!(error(text, None).contains("sqlite:path/to/file.db"), "{}", error(text, None));
        }
        for text in ["sqlite:", "sqlite::memory:", "sqlite://", "sqlite:a.db?mode=ro"] {
            assert!(error(text, None).contains("the path of a file"), "{}", error(text, None));
        }
        assert!(error("sqlite:a.db", Some("NAME")).contains("no passwords"));
    }

    #[test]
    fn the_url_is_that_of_the_environment() {
        assert!(error("$FLECHE_NOT_SET", None).contains("set it"));
        // Set wherever cargo runs tests.
        let held = error("$CARGO_PKG_NAME", None);
        assert!(held.contains(env!("CARGO_PKG_NAME")) && held.contains("write `sqlite:"), "{held}");
    }

    #[test]
    fn the_password_is_that_of_the_environment() {
        // One that is set wherever cargo runs tests.
        let Ok(Target::Server(url)) = DatabaseUrl::from("postgres://me@host/db").target(Some("CARGO_PKG_NAME")) else {
            panic!("it is accepted");
        };
        assert_eq!(url.password(), Some(env!("CARGO_PKG_NAME")));
        let unset = error("postgres://me@host/db", Some("FLECHE_NOT_SET"));
        assert!(unset.contains("`FLECHE_NOT_SET`"), "{unset}");
        assert!(error("postgres://me:s3cret@host/db", Some("CARGO_PKG_NAME")).contains("another one"));
    }

    #[test]
    fn relative_paths_become_those_below_the_directory() {
        let resolved = |text: &str| {
            let mut url = DatabaseUrl::from(text);
            url.resolve(Path::new("/base"));
            url.to_string()
        };
        assert_eq!(resolved("sqlite:a/b.db"), "sqlite:/base/a/b.db");
        assert_eq!(resolved("sqlite://a/b.db"), "sqlite:/base/a/b.db");
        assert_eq!(resolved("sqlite:///a/b.db"), "sqlite:/a/b.db");
        assert_eq!(resolved("postgres://host/db"), "postgres://host/db");
    }
}
