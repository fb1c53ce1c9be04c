//! `Report`: what came of a run.

use serde::Serialize;

/// What came of running cases for one backend or executor.
#[derive(Clone, Debug, Serialize)]
pub struct Report {
    /// Its name.
    pub name: &'static str,
    /// One for each case that was selected, in the order of the list.
    pub outcomes: Vec<Outcome>,
}

/// What came of one case.
#[derive(Clone, Debug, Serialize)]
pub struct Outcome {
    /// The case's name.
    pub case: &'static str,
    /// How long it took.
    pub seconds: f64,
    /// What went wrong and where; `None` if the promise is kept.
    pub failure: Option<String>,
}

impl Report {
    /// Whether something ran and nothing failed.
    pub fn is_success(&self) -> bool {
        !self.outcomes.is_empty() && self.failures().next().is_none()
    }

    /// The outcomes that are failures.
    pub fn failures(&self) -> impl Iterator<Item = &Outcome> {
        self.outcomes.iter().filter(|outcome| outcome.failure.is_some())
    }

    /// The outcome of the case of this name; `None` if it did not run.
    pub fn outcome(&self, case: &str) -> Option<&Outcome> {
        self.outcomes.iter().find(|outcome| outcome.case == case)
    }
}
