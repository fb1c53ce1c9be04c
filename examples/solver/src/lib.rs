//! A parameter sweep over an external solver: a program that reads and writes files with fixed names.
//!
//! [`heat`] has the memoized function that runs the solver, [`sweep`] is the program. The solver itself, `src/bin/heat.rs`,
//! knows nothing of fleche.

pub mod heat;
pub mod sweep;
