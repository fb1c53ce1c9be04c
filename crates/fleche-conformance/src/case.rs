//! `Case` and `ExecutorCase`: promises that backends and executors must keep, with their tests.

use serde::Serialize;

use crate::{executors::ExecutorFixture, fixture::Fixture};

/// One promise that a backend must keep. Each case runs with stores of its own in an empty directory.
#[derive(Debug)]
pub struct Case {
    /// The permanent name, including the group: `values::prefixes`.
    pub name: &'static str,
    /// The promise, in a sentence.
    pub description: &'static str,
    /// What the promise requires of the backend. For other backends, the case asserts the opposite.
    pub needs: Needs,
    pub(crate) test: fn(&Fixture),
}

impl Case {
    /// Returns the part of the name before `::`.
    pub fn group(&self) -> &'static str {
        group(self.name)
    }
}

/// One promise that an executor must keep. Each case runs with an executor of its own.
#[derive(Debug)]
pub struct ExecutorCase {
    /// The permanent name, such as `executors::hit`.
    pub name: &'static str,
    /// The promise, in a sentence.
    pub description: &'static str,
    pub(crate) test: fn(&ExecutorFixture),
}

/// A kind of case, whose cases can be selected by name and group.
pub trait Listed: Sized + 'static {
    /// Returns all cases of this kind.
    fn list() -> &'static [Self];

    /// Returns the permanent name, including the group.
    fn name(&self) -> &'static str;
}

impl Listed for Case {
    fn list() -> &'static [Self] {
        crate::cases()
    }

    fn name(&self) -> &'static str {
        self.name
    }
}

impl Listed for ExecutorCase {
    fn list() -> &'static [Self] {
        crate::executor_cases()
    }

    fn name(&self) -> &'static str {
        self.name
    }
}

pub(crate) fn group(name: &'static str) -> &'static str {
    name.split("::").next().unwrap_or(name)
}

/// What a case requires of the backend.
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
