//! `Case`: one promise that a backend must keep, and how it is tested.

use serde::Serialize;

use crate::{executors::Workplace, fixture::Fixture};

/// One promise that a backend must keep. Each runs with stores of its own in an empty directory.
#[derive(Debug)]
pub struct Case {
    /// The permanent name, with the group that it is in: `values::prefixes`.
    pub name: &'static str,
    /// What is promised, in a sentence.
    pub description: &'static str,
    /// What the sentence rests on. For backends without that, the case asserts the opposite.
    pub needs: Needs,
    pub(crate) test: fn(&Fixture),
}

impl Case {
    /// The part of the name before `::`.
    pub fn group(&self) -> &'static str {
        group(self.name)
    }
}

/// One promise that an executor must keep. Each runs with an executor of its own.
#[derive(Debug)]
pub struct ExecutorCase {
    /// The permanent name: `executors::hit`.
    pub name: &'static str,
    /// What is promised, in a sentence.
    pub description: &'static str,
    pub(crate) test: fn(&Workplace),
}

/// What can be selected: the cases of a list, by name and group.
pub trait Listed: Sized + 'static {
    /// All of them.
    fn list() -> &'static [Self];

    /// The permanent name, with the group that it is in.
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

/// What a case rests on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Needs {
    /// Nothing beyond an open store.
    Store,
    /// That entries outlive the store. Where they don't, a store opened anew must be empty.
    Durable,
    /// That entries lie below the scratch directory, where the case can damage them. Where they don't, the directory must
    /// stay empty.
    Disk,
}
