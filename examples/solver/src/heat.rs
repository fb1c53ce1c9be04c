//! The memoized function that runs the solver.

use std::{fmt, fs, io, process::Command};

use fleche_core::{FileContent, fleche};
use serde::{Deserialize, Serialize};

/// A rod of length 1 m, whose ends are kept at 0 °C.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Rod {
    /// The conductivity, in W/(m K).
    pub conductivity: f64,
    /// The heat that is released in the rod, in W/m³.
    pub source: f64,
    /// The number of nodes at which the solver computes the temperature.
    pub nodes: u32,
}

/// The solver's input file.
impl fmt::Display for Rod {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { conductivity, source, nodes } = self;
        write!(f, "conductivity {conductivity}\nsource {source}\nnodes {nodes}\n")
    }
}

/// The error of a run of the solver. It is serializable because it may come from a worker process.
#[derive(Clone, Debug, PartialEq, thiserror::Error, Serialize, Deserialize)]
pub enum SolverError {
    /// The solver cannot be started, or a file cannot be written or read.
    #[error("cannot {action}: {why}")]
    Io {
        /// What was tried.
        action: String,
        /// The error of the operating system.
        why: String,
    },
    /// The solver has failed.
    #[error("the solver failed with {status}: {message}")]
    Failed {
        /// Its exit status.
        status: String,
        /// What it has printed on standard error.
        message: String,
    },
    /// The solver's output is not a list of numbers.
    #[error("line {line} of heat.out is not a temperature")]
    Output {
        /// The line, counted from 1.
        line: usize,
    },
}

impl SolverError {
    fn io(action: impl Into<String>) -> impl FnOnce(io::Error) -> Self {
        |error| Self::Io { action: action.into(), why: error.to_string() }
    }
}

/// Runs the solver and returns the temperature at each node, in °C.
///
/// The solver works with files of fixed names in its working directory, so each computed call gets a directory of its own.
/// The executable is an argument by its content: another build of the solver computes everything again.
///
/// # Errors
/// Fails if the solver cannot be started, fails, or writes something else than temperatures. Failures are not recorded.
#[fleche(isolate)]
pub fn temperatures(solver: &FileContent, rod: &Rod) -> Result<Vec<f64>, SolverError> {
    fs::write("heat.in", rod.to_string()).map_err(SolverError::io("write heat.in"))?;
    let start = format!("start {}", solver.path().display());
    let run = Command::new(solver.path()).output().map_err(SolverError::io(start))?;
    if !run.status.success() {
        let message = String::from_utf8_lossy(&run.stderr).trim().to_owned();
        return Err(SolverError::Failed { status: run.status.to_string(), message });
    }
    let output = fs::read_to_string("heat.out").map_err(SolverError::io("read heat.out"))?;
    let parsed = |(line, text): (usize, &str)| text.parse().map_err(|_| SolverError::Output { line: line + 1 });
    output.lines().enumerate().map(parsed).collect()
}
