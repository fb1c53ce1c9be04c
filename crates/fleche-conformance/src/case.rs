//! Cases, their selection by name, and the selection of backends and executors. The error for an unknown name lists the
//! known ones.

use fleche_core::{
    executor::{ExecutorInfo, executors},
    store::{BackendInfo, backends, registered_twice},
};
use serde::Serialize;

use crate::fixture::Fixture;

/// One promise that a backend must keep. Each case runs with stores of its own in an empty directory.
#[derive(Debug)]
pub struct Case {
    /// The permanent name, including the group: `values::prefixes`.
    pub name: &'static str,
    /// The promise, in a sentence.
    pub description: &'static str,
    /// The property that the promise requires of the backend. For other backends, the case asserts the opposite.
    pub needs: Needs,
    pub(crate) test: fn(&Fixture),
}

impl Case {
    /// Returns the part of the name before `::`.
    pub fn group(&self) -> &'static str {
        group(self.name)
    }
}

/// The property that a case requires of the backend.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Needs {
    /// Nothing beyond an open store.
    Store,
    /// Entries outlive the store. With other backends, a reopened store must be empty.
    Durable,
    /// Entries are in files of the scratch directory, where the case can damage them. With other backends, the directory must
    /// stay empty.
    Disk,
}

/// A kind of case, whose cases can be selected by name and group.
pub trait Listed: Sized + 'static {
    /// Returns all cases of this kind.
    fn list() -> &'static [Self];

    /// Returns the permanent name, including the group.
    fn name(&self) -> &'static str;
}

fn group(name: &'static str) -> &'static str {
    name.split("::").next().unwrap_or(name)
}

/// The cases of backends or of executors to run: at least one, each once, in the order of their list.
#[derive(Clone, Debug)]
pub struct Selection<C: 'static = Case>(Vec<&'static C>);

impl<C: Listed> Selection<C> {
    /// Selects all cases.
    pub fn all() -> Self {
        Self(C::list().iter().collect())
    }

    /// Selects the cases with these names. The name of a group, such as `values`, selects all its cases.
    ///
    /// # Errors
    /// Fails with [`SelectionError::UnknownCase`] for the first unknown name, and with [`SelectionError::Empty`] if there are
    /// no names.
    pub fn named<S: AsRef<str>>(names: impl IntoIterator<Item = S>) -> Result<Self, SelectionError> {
        let names: Vec<S> = names.into_iter().collect();
        let selects = |name: &S, case: &C| name.as_ref() == case.name() || name.as_ref() == group(case.name());
        if let Some(unknown) = names.iter().find(|name| !C::list().iter().any(|case| selects(name, case))) {
            let known = C::list().iter().map(C::name).collect();
            return Err(SelectionError::UnknownCase { name: unknown.as_ref().to_owned(), known });
        }
        let selected: Vec<_> = C::list().iter().filter(|case| names.iter().any(|name| selects(name, case))).collect();
        if selected.is_empty() { Err(SelectionError::Empty) } else { Ok(Self(selected)) }
    }

    /// Returns the selected cases.
    pub fn cases(&self) -> &[&'static C] {
        &self.0
    }
}

/// The error of a selection that selects nothing.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SelectionError {
    /// No linked backend has this name.
    #[error(
        "no backend `{name}` is linked into this program; the linked backends are {}. A crate that is only listed in \
         Cargo.toml is not linked: add `use fleche_store_{name} as _;` with the name of its crate, and check that it calls \
         `register_backend!` with this name",
        list(linked)
    )]
    NotLinked {
        /// The requested name.
        name: String,
        /// The names of the linked backends.
        linked: Vec<&'static str>,
    },
    /// Several modules register a backend with this name.
    #[error("{} register a backend named `{name}`; give one of them another name", modules.join(" and "))]
    RegisteredTwice {
        /// The requested name.
        name: String,
        /// The modules that register the name.
        modules: Vec<&'static str>,
    },
    /// No linked executor has this name.
    #[error(
        "no executor `{name}` is linked into this program; the linked executors are {}. Link its crate with \
         `use fleche_exec as _;`, enable its feature, and check that it calls `register_executor!` with this name",
        list(linked)
    )]
    NoExecutor {
        /// The requested name.
        name: String,
        /// The names of the linked executors.
        linked: Vec<&'static str>,
    },
    /// No case and no group of cases has this name.
    #[error("unknown case or group `{name}`; the cases are {}", list(known))]
    UnknownCase {
        /// The requested name.
        name: String,
        /// The names of the cases.
        known: Vec<&'static str>,
    },
    /// No case was selected, so a run would prove nothing.
    #[error("no case is selected, so nothing would be tested; name cases, or select all with `Selection::all()`")]
    Empty,
}

fn list(names: &[&str]) -> String {
    if names.is_empty() { "none".to_owned() } else { format!("`{}`", names.join("`, `")) }
}

/// Returns the linked backend with this name.
///
/// # Errors
/// Fails with [`SelectionError::NotLinked`], which lists the linked backends, if no backend has this name, and with
/// [`SelectionError::RegisteredTwice`] if several have it.
pub fn backend(name: &str) -> Result<&'static BackendInfo, SelectionError> {
    if let Some(modules) = registered_twice(name) {
        return Err(SelectionError::RegisteredTwice { name: name.to_owned(), modules });
    }
    let linked = backends();
    linked.iter().copied().find(|backend| backend.name == name).ok_or_else(|| SelectionError::NotLinked {
        name: name.to_owned(),
        linked: linked.iter().map(|backend| backend.name).collect(),
    })
}

/// Returns the linked executor with this name.
///
/// # Errors
/// Fails with [`SelectionError::NoExecutor`], which lists the linked executors, if no executor has this name.
pub fn executor(name: &str) -> Result<&'static ExecutorInfo, SelectionError> {
    let linked = executors();
    linked.iter().copied().find(|executor| executor.name == name).ok_or_else(|| SelectionError::NoExecutor {
        name: name.to_owned(),
        linked: linked.iter().map(|executor| executor.name).collect(),
    })
}
