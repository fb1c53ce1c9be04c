//! The error type of the workspace, and its `Result` alias.

use std::{
    fmt,
    hash::{DefaultHasher, Hash, Hasher},
    io, iter, mem,
    path::PathBuf,
};

use fleche_encoding::{DecodeError, EncodeError, ParseDigestError};

/// The result of fallible functions.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// An error of a store, a configuration or an encoding.
///
/// The caller of a memoized function never sees these errors: the body runs, the value is returned, and the error is
/// logged and counted.
///
/// `Display` prints what failed, and `source()` returns the cause. [`report`](Self::report) and `Debug` print both on one line,
/// so that `fn main() -> fleche_core::Result<()>` shows a readable error:
///
/// ```
/// use fleche_core::Error;
///
/// let error = Error::io("read", "results.db")(std::io::ErrorKind::PermissionDenied.into());
/// assert_eq!(error.to_string(), "cannot read results.db");
/// assert_eq!(error.report().to_string(), "cannot read results.db: permission denied");
/// assert_eq!(format!("{error:?}"), error.report().to_string());
/// ```
#[derive(thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The operating system refused an operation on a file or directory.
    #[error("cannot {action} {}", path.display())]
    Io {
        /// The operation that failed, as a verb.
        action: &'static str,
        /// The file or directory.
        path: PathBuf,
        /// The error of the system.
        source: io::Error,
    },
    /// A stored entry failed verification. The store has quarantined it; from now on it is absent.
    #[error("{entry} is damaged ({why}) and counts as absent")]
    Damaged {
        /// The entry: its kind, name and store.
        entry: String,
        /// A description of how the damage was detected.
        why: String,
    },
    /// The store does not accept this operation, for example because it is read-only.
    #[error("{store} does not {operation}")]
    Refused {
        /// The store that refused.
        store: String,
        /// The refused operation, as a verb.
        operation: &'static str,
    },
    /// This process was [forked](crate::spi::fork) without executing another program, and only its parent may use what is
    /// open.
    #[error(
        "{what} is not used in this process, which was forked without `exec`: only its parent uses it; start another program, \
         or the workers of a `ProcessPool`"
    )]
    Forked {
        /// The store, the cache or the pool.
        what: String,
    },
    /// The file of an open store was removed or replaced. The store has opened the file that the path now names. The
    /// failed operation wrote nothing and may be retried; calls of memoized functions retry it.
    #[error("{} was removed or replaced while it was open; the store has opened the path again", path.display())]
    Reopened {
        /// The file.
        path: PathBuf,
    },
    /// The engine behind a store failed.
    #[error("{store} failed")]
    Backend {
        /// The store.
        store: String,
        /// The error of the engine.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// A value cannot be encoded.
    #[error(transparent)]
    Encode(#[from] EncodeError),
    /// Bytes do not hold a value of the requested type.
    #[error(transparent)]
    Decode(#[from] DecodeError),
    /// An argument of a memoized function cannot be encoded.
    #[error("argument `{name}` of `{function}` cannot be encoded")]
    Argument {
        /// The function.
        function: String,
        /// The parameter.
        name: &'static str,
        /// The reason why the encoding failed.
        source: EncodeError,
    },
    /// A configuration cannot be read or used.
    #[error("{place}: {why}")]
    Config {
        /// The source of the configuration: a file, "cache configuration" or "default cache".
        place: String,
        /// The fault and the remedy.
        why: String,
    },
    /// A text is neither a digest nor the prefix of one.
    #[error(transparent)]
    Digest(#[from] ParseDigestError),
}

impl Error {
    /// Returns a function that creates an [`Error::Io`], for `map_err`.
    pub fn io(action: &'static str, path: impl Into<PathBuf>) -> impl FnOnce(io::Error) -> Self {
        let path = path.into();
        move |source| Self::Io { action, path, source }
    }

    /// Returns a function that creates an [`Error::Backend`], for `map_err`.
    pub fn backend<E>(store: impl Into<String>) -> impl FnOnce(E) -> Self
    where
        E: Into<Box<dyn std::error::Error + Send + Sync>>,
    {
        let store = store.into();
        move |source| Self::Backend { store, source: source.into() }
    }

    /// Returns the error with its causes, for people to read: see [`Report`].
    pub fn report(&self) -> Report<'_> {
        Report::new(self)
    }

    /// Returns a number that errors with the same cause share, regardless of the entry, for
    /// [`Throttle`](crate::spi::log::Throttle).
    #[doc(hidden)]
    pub fn kind(&self) -> u64 {
        let mut hasher = DefaultHasher::new();
        mem::discriminant(self).hash(&mut hasher);
        match self {
            Self::Io { action, source, .. } => (action, source.kind()).hash(&mut hasher),
            Self::Refused { store, operation } => (store, operation).hash(&mut hasher),
            // The messages of some errors leave out what distinguishes them.
            Self::Backend { store, source } => (store, Report::new(&**source).to_string()).hash(&mut hasher),
            Self::Encode(source) => mem::discriminant(source).hash(&mut hasher),
            Self::Argument { function, name, source } => {
                (function, name, mem::discriminant(source)).hash(&mut hasher);
            }
            Self::Config { place, .. } => place.hash(&mut hasher),
            _ => {}
        }
        hasher.finish()
    }
}

/// Prints the same as [`Error::report`].
impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.report(), f)
    }
}

/// An error of any type, printed with its causes: the message, then the message of each cause, separated by colons. A cause
/// whose text is already there is left out.
#[derive(Clone, Copy, Debug)]
pub struct Report<'a>(&'a (dyn std::error::Error + 'static));

impl<'a> Report<'a> {
    /// Creates the report of this error.
    pub fn new(error: &'a (dyn std::error::Error + 'static)) -> Self {
        Self(error)
    }
}

impl fmt::Display for Report<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut text = self.0.to_string();
        for cause in iter::successors(self.0.source(), |cause| cause.source()) {
            let cause = cause.to_string();
            if !text.contains(&cause) {
                text.push_str(": ");
                text.push_str(&cause);
            }
        }
        f.write_str(&text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn denied() -> io::Error {
        io::ErrorKind::PermissionDenied.into()
    }

    #[test]
    fn report_and_debug_print_each_cause_once() {
        let error = Error::io("read", "x")(denied());
        assert_eq!(format!("{error:?}"), "cannot read x: permission denied");
        let error = Error::backend("a store")(Error::io("write", "y")(denied()));
        assert_eq!(error.report().to_string(), "a store failed: cannot write y: permission denied");
        // The error of another library that repeats its cause.
        let error = Error::backend("a store")(io::Error::other(Error::Encode(EncodeError::TooDeep)));
        assert_eq!(error.report().to_string().matches("nested").count(), 1);
    }

    #[test]
    fn no_message_contains_the_text_of_its_source() {
        let text = String::new;
        let errors = [
            Error::io("read", "x")(denied()),
            Error::Damaged { entry: text(), why: text() },
            Error::Refused { store: text(), operation: "store values" },
            Error::Forked { what: text() },
            Error::Reopened { path: "x".into() },
            Error::backend("a store")("broken"),
            Error::Encode(EncodeError::Write(denied())),
            Error::Decode(fleche_encoding::from_slice::<u8>(&[]).unwrap_err()),
            Error::Argument { function: text(), name: "x", source: EncodeError::Write(denied()) },
            Error::Config { place: text(), why: text() },
            Error::Digest("x".parse::<fleche_encoding::Digest>().unwrap_err()),
        ];
        for (at, error) in errors.iter().enumerate() {
            // A new variant does not compile here until it is added to the list.
            let place = match error {
                Error::Io { .. } => 0,
                Error::Damaged { .. } => 1,
                Error::Refused { .. } => 2,
                Error::Forked { .. } => 3,
                Error::Reopened { .. } => 4,
                Error::Backend { .. } => 5,
                Error::Encode(_) => 6,
                Error::Decode(_) => 7,
                Error::Argument { .. } => 8,
                Error::Config { .. } => 9,
                Error::Digest(_) => 10,
            };
            assert_eq!(place, at);
            let mut error: &dyn std::error::Error = error;
            while let Some(source) = error.source() {
                assert!(!error.to_string().contains(&source.to_string()), "{error}");
                error = source;
            }
        }
    }

    #[test]
    fn kind_depends_on_cause_and_not_on_entry() {
        let denied = |action, path| Error::io(action, path)(io::ErrorKind::PermissionDenied.into()).kind();
        assert_eq!(denied("read", "x"), denied("read", "y"));
        assert_ne!(denied("read", "x"), denied("write", "x"));
        assert_ne!(denied("read", "x"), Error::io("read", "x")(io::ErrorKind::StorageFull.into()).kind());
    }

    #[test]
    fn kind_of_a_wrapped_error_depends_on_the_innermost_cause() {
        let wrapped = |kind: io::ErrorKind| {
            // `Display` of the outer errors is the same for all causes.
            let inner = Error::backend("the engine")(Error::io("read", "x")(kind.into()));
            Error::backend("a store")(io::Error::other(inner)).kind()
        };
        assert_eq!(wrapped(io::ErrorKind::TimedOut), wrapped(io::ErrorKind::TimedOut));
        assert_ne!(wrapped(io::ErrorKind::TimedOut), wrapped(io::ErrorKind::StorageFull));
        let argument = |source| Error::Argument { function: "f".to_owned(), name: "x", source }.kind();
        assert_eq!(argument(EncodeError::TooDeep), argument(EncodeError::TooDeep));
        assert_ne!(argument(EncodeError::TooDeep), argument(EncodeError::Write(denied())));
        assert_ne!(Error::Encode(EncodeError::TooDeep).kind(), Error::Encode(EncodeError::Write(denied())).kind());
    }
}
