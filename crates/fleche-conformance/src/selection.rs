//! Which backend and which cases: names that lead somewhere, or an error that says what there is.

use fleche_core::{
    executor::{ExecutorInfo, executors},
    store::{BackendInfo, backends, registered_twice},
};

use crate::case::{Case, Listed, group};

/// Why there is nothing to run.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SelectionError {
    /// No linked backend has this name.
    #[error(
        "no backend `{name}` is linked into this program; there is {}. A crate that stands only in Cargo.toml is not \
         linked: name it with `use fleche_store_{name} as _;` (whatever its crate is called), and check that it calls \
         `register_backend!` under this name",
        list(linked)
    )]
    NotLinked {
        /// The name.
        name: String,
        /// The backends that are linked.
        linked: Vec<&'static str>,
    },
    /// Several crates register a backend of this name.
    #[error("{} register a backend named `{name}`: give one of them another name", modules.join(" and "))]
    RegisteredTwice {
        /// The name.
        name: String,
        /// The modules that register it.
        modules: Vec<&'static str>,
    },
    /// No linked executor has this name.
    #[error(
        "no executor `{name}` is linked into this program; there is {}. Name its crate (`use fleche_exec as _;`), turn \
         on the feature that it stands behind, and check that it calls `register_executor!` under this name",
        list(linked)
    )]
    NoExecutor {
        /// The name.
        name: String,
        /// The executors that are linked.
        linked: Vec<&'static str>,
    },
    /// No case and no group of cases has this name.
    #[error("no case or group is called `{name}`; there are {}", list(known))]
    UnknownCase {
        /// The name.
        name: String,
        /// The cases.
        known: Vec<&'static str>,
    },
    /// Nothing was selected: a run without cases would prove nothing.
    #[error("no case is selected, so nothing would be tested: name cases, or take them all with `Selection::all()`")]
    Empty,
}

fn list(names: &[&str]) -> String {
    if names.is_empty() { "none".to_owned() } else { format!("`{}`", names.join("`, `")) }
}

/// The linked backend of this name.
///
/// # Errors
/// [`SelectionError::NotLinked`], with the names of those that are; [`SelectionError::RegisteredTwice`].
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

/// The linked executor of this name.
///
/// # Errors
/// [`SelectionError::NoExecutor`], with the names of those that are.
pub fn executor(name: &str) -> Result<&'static ExecutorInfo, SelectionError> {
    let linked = executors();
    linked.iter().copied().find(|executor| executor.name == name).ok_or_else(|| SelectionError::NoExecutor {
        name: name.to_owned(),
        linked: linked.iter().map(|executor| executor.name).collect(),
    })
}

/// Cases to run, of stores or of executors: at least one, each once, in the order of their list.
#[derive(Clone, Debug)]
pub struct Selection<C: 'static = Case>(Vec<&'static C>);

impl<C: Listed> Selection<C> {
    /// Every case.
    pub fn all() -> Self {
        Self(C::list().iter().collect())
    }

    /// The cases of these names; the name of a group (`values`, `calls`) stands for all that are in it.
    ///
    /// # Errors
    /// [`SelectionError::UnknownCase`] for the first name that leads nowhere, [`SelectionError::Empty`] without names.
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

    /// The cases.
    pub fn cases(&self) -> &[&'static C] {
        &self.0
    }
}
