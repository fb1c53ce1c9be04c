//! `DatabaseUrl`: the address of a database, which is never shown with its password.

use std::{
    env, fmt,
    path::{Path, PathBuf},
};

use fleche_core::{Result, store::kit::Location};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use url::Url;

use crate::error::config;

/// The replacement of a hidden password.
const HIDDEN: &str = "***";
const SCHEMES: [&str; 2] = ["postgres", "postgresql"];
/// The parameters of a URL whose values are not secret.
const SHOWN: [&str; 11] = [
    "application_name",
    "dbname",
    "host",
    "hostaddr",
    "port",
    "sslcert",
    "sslkey",
    "sslmode",
    "sslrootcert",
    // Of earlier versions; ignored.
    "statement-cache-capacity",
    "user",
];
/// The other parameters that are known.
const NOT_SHOWN: [&str; 2] = ["options", "password"];

/// The address of a database: `sqlite:path/to/file.db`, or `postgres://user@host/database`.
///
/// The text after `sqlite:` is the literal path. A PostgreSQL URL may have parameters, such as
/// `?sslmode=require`; `statement-cache-capacity` is accepted and ignored. `$NAME` means the URL in the environment variable of this name, wherever it is opened; the name
/// must begin with `FLECHE_`, or be `PGPASSWORD`.
///
/// A password in the URL opens the database in this process. It is never shown: `Debug`, errors and serialized
/// configurations have `***` in its place, and opening a URL with `***` fails with advice. Characters of a password
/// that have a meaning in URLs (`/ ? # @ : %`) are written as `%2F` and so on.
#[derive(Clone, PartialEq, Eq)]
pub struct DatabaseUrl(String);

/// The database that a URL leads to.
pub(crate) enum Target {
    /// A SQLite file.
    File(PathBuf),
    /// A PostgreSQL server; the URL includes the password, if there is one.
    Server(Url),
}

/// Returns whether a configuration, which another user may have written, may name this environment variable.
fn is_readable(variable: &str) -> bool {
    variable == "PGPASSWORD" || variable.starts_with("FLECHE_")
}

const READABLE: &str = "only `PGPASSWORD` and variables whose names begin with `FLECHE_` are read";

impl DatabaseUrl {
    /// Returns the URL without secrets.
    fn shown(&self) -> String {
        let text = &self.0;
        if self.file().is_some() || self.variable().is_some() {
            return text.clone();
        }
        let Some(mut url) = self.url() else {
            // It is unknown where a password begins and ends. Only text without any sign of a password is shown.
            return match text.split_once("://") {
                _ if !text.contains(['@', '?', '#', '=', ':', '%']) => text.clone(),
                Some((scheme, _)) if scheme.bytes().all(|byte| byte.is_ascii_alphabetic()) => {
                    format!("{scheme}://{HIDDEN}")
                }
                _ => HIDDEN.to_owned(),
            };
        };
        let is_shown = |name: &str| SHOWN.contains(&name);
        if url.password().is_none() && url.query_pairs().all(|(name, _)| is_shown(&name)) {
            return text.clone();
        }
        if url.password().is_some() && url.set_password(Some(HIDDEN)).is_err() {
            return HIDDEN.to_owned();
        }
        if url.query().is_some() {
            let pairs: Vec<_> = url.query_pairs().into_owned().collect();
            let shown = pairs.iter().map(|(name, value)| (name, if is_shown(name) { value } else { HIDDEN }));
            url.query_pairs_mut().clear().extend_pairs(shown);
        }
        url.to_string()
    }

    /// Returns the path after `sqlite:`, if it is such a URL.
    fn file(&self) -> Option<&str> {
        let path = self.0.strip_prefix("sqlite:")?;
        Some(path.strip_prefix("//").unwrap_or(path))
    }

    /// Returns the name of the environment variable after `$`, if it is one.
    fn variable(&self) -> Option<&str> {
        let name = self.0.strip_prefix('$')?;
        let fits = !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
        fits.then_some(name)
    }

    /// Returns the URL of a server if its parts are unambiguous. For example, they are ambiguous if a password contains
    /// a `/`.
    fn url(&self) -> Option<Url> {
        let url = Url::parse(&self.0).ok().filter(|url| self.0.contains("://") && url.fragment().is_none())?;
        let behind = [url.path(), url.query().unwrap_or_default()];
        (!behind.iter().any(|part| part.contains('@'))).then_some(url)
    }

    /// Returns whether this names an environment variable, whose content is never shown.
    pub(crate) fn is_variable(&self) -> bool {
        self.variable().is_some()
    }

    /// Returns the database's address, with the password from the environment variable of this name, if one is given.
    ///
    /// # Errors
    /// Fails with [`Error::Config`](fleche_core::Error::Config) if this is not such a URL, or if the password is missing.
    pub(crate) fn target(&self, password_env: Option<&str>) -> Result<Target> {
        let wrong = |why: &str| config(format!("the database URL `{self}`"), why);
        let Some(name) = self.variable() else { return self.resolved(password_env).map_err(|why| wrong(&why)) };
        if !is_readable(name) {
            return Err(wrong(&format!("{READABLE}: rename it")));
        }
        let held = env::var(name).ok().filter(|held| !held.starts_with('$'));
        let held = held.ok_or_else(|| wrong("no environment variable of this name holds a URL: set it"))?;
        let why = |why: String| wrong(&format!("the URL in this environment variable cannot be used: {why}"));
        Self(held).resolved(password_env).map_err(why)
    }

    /// Implements [`target`](Self::target) for a URL that is not a variable. The reasons in errors contain no part of
    /// the URL.
    fn resolved(&self, password_env: Option<&str>) -> Result<Target, String> {
        if let Some(path) = self.file() {
            if path.is_empty() || path.starts_with(':') || path.contains('?') {
                return Err(
                    "the text after `sqlite:` must be the path of a file, without parameters; a database in memory would \
                            end with its connection: use the memory store"
                        .to_owned(),
                );
            }
            if password_env.is_some() {
                return Err("SQLite has no passwords: remove `password_env`".to_owned());
            }
            return Ok(Target::File(path.into()));
        }
        let is_server =
            SCHEMES.iter().any(|scheme| self.0.strip_prefix(scheme).is_some_and(|rest| rest.starts_with(':')));
        if !is_server {
            return Err("write `sqlite:path/to/file.db` or `postgres://user@host/database`".to_owned());
        }
        if self.0.contains(HIDDEN) {
            return Err(
                "its password was removed when the configuration was written as text; keep the password in an \
                        environment variable, and name that in `password_env`"
                    .to_owned(),
            );
        }
        let Some(mut url) = self.url() else {
            return Err("it is not of the form `postgres://user@host/database`; in a password or a parameter, write `%2F` for `/`, \
                        `%3F` for `?`, `%23` for `#`, `%40` for `@` and `%25` for `%`, or keep the password in an environment \
                        variable, and name that in `password_env`"
                .to_owned());
        };
        let known = |name: &str| SHOWN.contains(&name) || NOT_SHOWN.contains(&name);
        if !url.query_pairs().all(|(name, _)| known(&name)) {
            return Err(format!(
                "it has unknown parameters: {} and {} are known",
                SHOWN.join(", "),
                NOT_SHOWN.join(", ")
            ));
        }
        if let Some(name) = password_env {
            if has_password(&url) {
                return Err(
                    "it has a password, and `password_env` names another one: use only `password_env`".to_owned()
                );
            }
            if !is_readable(name) {
                return Err(format!("`password_env` is `{name}`, and {READABLE}: rename it"));
            }
            let password = env::var(name).map_err(|_| {
                format!("the environment variable `{name}`, which should hold the password, is not set")
            })?;
            url.set_password(Some(&password)).map_err(|()| "a URL with a password needs a host".to_owned())?;
        }
        Ok(Target::Server(url))
    }
}

impl Location for DatabaseUrl {
    /// Resolves the path of a file.
    fn resolve(&mut self, directory: &Path) {
        if let Some(file) = self.file().filter(|path| !path.is_empty() && !path.starts_with(':')) {
            // A URL cannot contain a directory that is not Unicode. Opening the store reports it.
            self.0 = format!("sqlite:{}", directory.join(file).display());
        }
    }
}

/// Returns whether the URL contains a password, in any place.
fn has_password(url: &Url) -> bool {
    url.password().is_some() || url.query_pairs().any(|(name, _)| name == "password")
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
    fn passwords_are_never_shown() {
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
    fn unescaped_passwords_are_never_shown_and_the_error_explains_escapes() {
        for text in [
            "postgres://me:12/s3cret@host/db",
            "postgres://me:#s3cret@host/db",
            "postgres://me:/s3cret@host/db",
            "postgres://me:5?s3cret@host/db",
            "postgres://me:s3@cret/s3cret@host/db",
            "postgres://me@host/db#s3cret",
            "postgres:me:s3cret@host/db",
        ] {
            let shown = format!("{0} {0:?} {1}", DatabaseUrl::from(text), error(text, None));
            assert!(!shown.contains("s3cret") && shown.contains("%2F"), "{shown}");
        }
        for text in [
            "postgres://me:s3cret%2F@host/db",
            "postgres://me:%73%33cret@host/db",
            "postgres://me@host/db?%70assword=s3cret",
            "postgres://me@host/db?passwort=s3cret",
            "postgres://me@host/db?options=s3cret",
        ] {
            let shown = DatabaseUrl::from(text).to_string();
            assert!(!shown.contains("cret") && shown.contains(HIDDEN), "{shown}");
        }
        for text in
            ["me:s3cret@host/db", "host=h user=me password=s3cret", "me:s3cret", "//me:s3cret@host", "s3cret%40host"]
        {
            let shown = format!("{} {}", DatabaseUrl::from(text), error(text, None));
            assert!(!shown.contains("s3cret"), "{shown}");
        }
    }

    #[test]
    fn unknown_parameters_are_refused() {
        let text = error("postgres://me@host/db?passwort=s3cret", None);
        assert!(text.contains("unknown parameters") && !text.contains("s3cret"), "{text}");
    }

    #[test]
    fn urls_without_a_password_are_shown_unchanged() {
        for text in ["sqlite:a@b:c.db", "sqlite:///a/b.db", "postgres://me@host/db?sslmode=require", "postgres:///", ""]
        {
            assert_eq!(DatabaseUrl::from(text).to_string(), text);
        }
    }

    #[test]
    fn url_with_a_removed_password_fails_with_advice() {
        for text in ["postgres://me:s3cret@host/db", "postgres://me@host/db?password=s3cret"] {
            let written = DatabaseUrl::from(text).to_string();
            assert!(error(&written, None).contains("`password_env`"), "{}", error(&written, None));
        }
    }

    #[test]
    fn text_that_is_not_a_database_url_is_refused() {
        for text in ["", "file.db", "mysql://host/db"] {
            assert!(error(text, None).contains("sqlite:path/to/file.db"), "{}", error(text, None));
        }
        for text in ["sqlite:", "sqlite::memory:", "sqlite://", "sqlite:a.db?mode=ro"] {
            assert!(error(text, None).contains("the path of a file"), "{}", error(text, None));
        }
        assert!(error("sqlite:a.db", Some("NAME")).contains("no passwords"));
    }

    #[test]
    fn only_fleche_variables_are_read_and_their_content_is_never_shown() {
        assert!(error("$FLECHE_NOT_SET", None).contains("set it"));
        // Cargo sets this variable for tests.
        for text in [error("$CARGO_PKG_NAME", None), error("postgres://me@host/db", Some("CARGO_PKG_NAME"))] {
            assert!(text.contains(READABLE) && !text.contains(env!("CARGO_PKG_NAME")), "{text}");
        }
        let unset = error("postgres://me@host/db", Some("FLECHE_NOT_SET"));
        assert!(unset.contains("`FLECHE_NOT_SET`"), "{unset}");
        assert!(error("postgres://me:s3cret@host/db", Some("FLECHE_NOT_SET")).contains("another one"));
    }

    #[test]
    fn reasons_of_errors_contain_no_part_of_the_url() {
        for text in ["", "s3cret", "s3cret:x", "sqlite:?s3cret", "postgres://s3cret/@", "postgres://h/d?s3cret=1"] {
            let Err(why) = DatabaseUrl::from(text).resolved(None) else { panic!("{text} is accepted") };
            assert!(!why.contains("s3cret"), "{why}");
        }
    }

    #[test]
    fn relative_paths_are_resolved_against_the_directory() {
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
