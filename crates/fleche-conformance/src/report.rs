//! `Report`: the outcomes of a run.

use serde::Serialize;

/// The outcomes of cases for one backend or executor.
#[derive(Clone, Debug, Serialize)]
pub struct Report {
    /// The name of the backend or executor.
    pub name: &'static str,
    /// The outcome of each selected case, in the order of the list.
    pub outcomes: Vec<Outcome>,
}

/// The outcome of one case.
#[derive(Clone, Debug, Serialize)]
pub struct Outcome {
    /// The case's name.
    pub case: &'static str,
    /// The duration in seconds.
    pub seconds: f64,
    /// The message and location of the failure, or `None` if the case passed.
    pub failure: Option<String>,
}

impl Report {
    /// Returns whether at least one case ran and none failed.
    pub fn is_success(&self) -> bool {
        !self.outcomes.is_empty() && self.failures().next().is_none()
    }

    /// Returns the outcomes of the cases that failed.
    pub fn failures(&self) -> impl Iterator<Item = &Outcome> {
        self.outcomes.iter().filter(|outcome| outcome.failure.is_some())
    }

    /// Returns the outcome of the case with this name, or `None` if it did not run.
    pub fn outcome(&self, case: &str) -> Option<&Outcome> {
        self.outcomes.iter().find(|outcome| outcome.case == case)
    }
}
