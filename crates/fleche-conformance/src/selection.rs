//! Which backend and which cases: names that lead somewhere, or an error that says what there is.

use fleche_core::store::{BackendInfo, backends};

use crate::{case::Case, list::cases};

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
/// [`SelectionError::NotLinked`], with the names of those that are.
pub fn backend(name: &str) -> Result<&'static BackendInfo, SelectionError> {
    let linked = backends();
    linked.iter().copied().find(|backend| backend.name == name).ok_or_else(|| SelectionError::NotLinked {
        name: name.to_owned(),
        linked: linked.iter().map(|backend| backend.name).collect(),
    })
}

/// Cases to run: at least one, each once, in the order of [`cases`].
#[derive(Clone, Debug)]
pub struct Selection(Vec<&'static Case>);

impl Selection {
    /// Every case.
    pub fn all() -> Self {
        Self(cases().iter().collect())
    }

    /// The cases of these names; the name of a group (`values`, `calls`) stands for all that are in it.
    ///
    /// # Errors
    /// [`SelectionError::UnknownCase`] for the first name that leads nowhere, [`SelectionError::Empty`] without names.
    pub fn named<S: AsRef<str>>(names: impl IntoIterator<Item = S>) -> Result<Self, SelectionError> {
        let names: Vec<S> = names.into_iter().collect();
        let selects = |name: &S, case: &Case| name.as_ref() == case.name || name.as_ref() == case.group();
        if let Some(unknown) = names.iter().find(|name| !cases().iter().any(|case| selects(name, case))) {
            let known = cases().iter().map(|case| case.name).collect();
            return Err(SelectionError::UnknownCase { name: unknown.as_ref().to_owned(), known });
        }
        let selected: Vec<_> = cases().iter().filter(|case| names.iter().any(|name| selects(name, case))).collect();
        if selected.is_empty() { Err(SelectionError::Empty) } else { Ok(Self(selected)) }
    }

    /// The cases.
    pub fn cases(&self) -> &[&'static Case] {
        &self.0
    }
}
