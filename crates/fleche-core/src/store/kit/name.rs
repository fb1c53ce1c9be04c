//! `StoreName`: the name of a store in its errors, and the errors that all stores have.

use std::{
    fmt::{self, Display},
    path::PathBuf,
};

use crate::{
    call::CallKey,
    digest::Digest,
    error::{Error, Result},
    runtime::{panics::contain, written_file::may_write},
};

/// The kind of an entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    /// A value, under the digest of its bytes.
    Value,
    /// A record, under the key of its call.
    Record,
}

/// The name of an entry: its kind, and its digest or the digest of its call.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Entry {
    /// Whether it is a value or a record.
    pub kind: Kind,
    /// The key under which it is stored.
    pub digest: Digest,
}

impl Entry {
    /// Returns the name of a value.
    pub fn value(id: &Digest) -> Self {
        Self { kind: Kind::Value, digest: *id }
    }

    /// Returns the name of a record.
    pub fn record(key: &CallKey) -> Self {
        Self { kind: Kind::Record, digest: *key.digest() }
    }
}

impl Display for Entry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.kind {
            Kind::Value => write!(f, "value {}", self.digest),
            Kind::Record => write!(f, "the record of call {}", self.digest),
        }
    }
}

/// The name of an open store, as in "the redb database `/home/me/fleche.redb`".
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoreName {
    kind: &'static str,
    place: String,
}

impl StoreName {
    /// Creates the name from the kind of store, such as "redb database", and its path or address.
    pub fn new(kind: &'static str, place: impl Display) -> Self {
        Self { kind, place: place.to_string() }
    }

    /// Returns a function that creates an [`Error::Backend`], for `map_err`.
    pub fn backend<E>(&self) -> impl FnOnce(E) -> Error
    where
        E: Into<Box<dyn std::error::Error + Send + Sync>>,
    {
        let store = self.to_string();
        move |source| Error::Backend { store, source: source.into() }
    }

    /// Returns the error for an entry that failed verification because of `why`.
    pub fn damaged(&self, entry: Entry, why: &str, fate: impl Display) -> Error {
        Error::Damaged { entry: format!("{entry} in {self}"), why: format!("{why}; {fate}") }
    }

    /// Returns the error for a store that does not accept an operation.
    pub fn refused(&self, operation: &'static str) -> Error {
        Error::Refused { store: self.to_string(), operation }
    }

    /// Returns the error for a store that does not accept a record.
    pub fn refused_record(&self, key: &CallKey, operation: &'static str) -> Error {
        Error::Refused { store: format!("{self} (call {key})"), operation }
    }

    /// Returns the error for a record that would replace one that only a later version of fleche can read.
    pub fn later_format(&self, key: &CallKey) -> Error {
        self.refused_record(key, "replace a record of a later format, which this version of fleche cannot read")
    }

    /// Returns the error for a write to a store that this user may only read.
    pub fn read_only(&self) -> Error {
        Error::Refused { store: format!("{self}, which this user may only read,"), operation: "write" }
    }

    /// Checks that this user may write to these files and directories, for an engine that writes to them when it opens a
    /// store. The engine creates what is missing, or reports why it cannot.
    ///
    /// # Errors
    /// Fails with [`Error::Config`], which names the first one that this user may not write to.
    pub fn check_writable(&self, parts: &[PathBuf]) -> Result<()> {
        let Some(part) = parts.iter().find(|part| part.exists() && !may_write(part)) else { return Ok(()) };
        Err(self.config(format!(
            "this user may not write to `{}`, and a {} cannot be opened without writing to it: get the right to write, or copy \
             it and open the copy",
            part.display(),
            self.kind
        )))
    }

    /// Returns the error for a store that cannot be opened: its place holds something else, or a later version has
    /// written it. `why` says so, and what to do.
    pub fn config(&self, why: impl Into<String>) -> Error {
        Error::Config { place: format!("`{}`", self.place), why: why.into() }
    }

    /// Returns the error for a store that another process has open, of an engine that allows one process at a time.
    pub fn held_by_another_process(&self) -> Error {
        self.config(format!(
            "another process has this {} open, and a process that writes to it must be the only one (Reach::Exclusive): \
             close it there, use a file or sql store, or use a process pool, whose workers access the store of their parent \
             process",
            self.kind
        ))
    }
}

impl Display for StoreName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the {} `{}`", self.kind, self.place)
    }
}

/// Returns the reason why bytes are no record, from the error of [`Record::from_bytes`](crate::Record::from_bytes).
pub fn damage_reason(error: Error) -> String {
    match error {
        Error::Damaged { why, .. } => why,
        // `Debug` includes the causes.
        other => format!("{other:?}"),
    }
}

/// Runs an operation of an engine. If it panics, which damaged files may cause, returns the error that `panicked` creates
/// from the message of the panic.
///
/// # Errors
/// Fails with the error of the operation, or that of `panicked`.
pub fn catch_engine_panic<T, E>(
    run: impl FnOnce() -> Result<T, E>,
    panicked: impl FnOnce(String) -> E,
) -> Result<T, E> {
    contain(run).unwrap_or_else(|panic| Err(panicked(panic.to_string())))
}

#[cfg(test)]
mod tests {
    use std::panic;

    use super::*;

    fn name() -> StoreName {
        StoreName::new("box", "a/b")
    }

    #[test]
    fn errors_name_the_store_and_the_entry() {
        let id = Digest::hash(b"x");
        let key = CallKey::from(id);
        let damaged = name().damaged(Entry::value(&id), "wrong length", "it is gone");
        assert_eq!(
            damaged.to_string(),
            format!("value {id} in the box `a/b` is damaged (wrong length; it is gone) and counts as absent")
        );
        assert!(name().later_format(&key).to_string().starts_with(&format!("the box `a/b` (call {key}) does not")));
        assert_eq!(name().read_only().to_string(), "the box `a/b`, which this user may only read, does not write");
        assert_eq!(name().config("it is full").to_string(), "`a/b`: it is full");
        assert!(name().held_by_another_process().to_string().contains("another process has this box open"));
    }

    #[test]
    fn panic_of_an_engine_becomes_an_error() {
        let hook = panic::take_hook();
        panic::set_hook(Box::new(|_| {}));
        let caught = catch_engine_panic(|| -> Result<(), _> { panic!("page {} is bad", 7) }, |message| message);
        panic::set_hook(hook);
        assert_eq!(caught, Err("panicked: page 7 is bad".to_owned()));
    }
}
