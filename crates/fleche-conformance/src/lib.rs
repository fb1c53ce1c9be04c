//! The conformance suite: the behaviour that every backend and every executor must show, as cases that any crate can run.
//!
//! A backend crate's `tests/conformance.rs` needs one line, which generates one `#[test]` for each case:
//!
//! ```ignore
//! fleche_conformance::suite!(my_backend, "mine");
//! ```
//!
//! A crate of executors does the same. Its cases run with every backend that its tests link:
//!
//! ```ignore
//! fleche_conformance::executor_suite!(my_executors, "mine");
//! ```
//!
//! Four checks go further than a case can, and are functions that any program can call: [`fuzz_backend`] compares stores with
//! a map over any number of operations, [`crash`] checks the stores that a killed process leaves, [`corrupt`] damages files,
//! and [`faults`] makes operations fail. `cargo xtask` of this workspace runs them.
//!
//! Programs, such as `cargo xtask conformance` of this workspace, run the same cases with [`run`]. All cases are in one list,
//! [`cases`], and all run for every backend. The cases also assert what a backend does not do: a store that is not durable
//! must be empty when it is reopened, and must leave nothing on disk. A backend that cannot keep a promise declares that, with
//! a reason, through [`admit_loss_of_neighbours!`] or [`admit_encoded_bytes!`].

mod admitted;
mod capture;
mod case;
mod cases;
pub mod corrupt;
pub mod crash;
mod disk;
mod executors;
pub mod faults;
mod fixture;
#[cfg(unix)]
mod forked;
mod fuzz;
mod item;
mod list;
mod patience;
mod peer;
mod random;
mod report;
#[cfg(unix)]
mod rights;
mod runner;
mod scale;
mod selection;
mod shelf;
mod stores;
mod subject;

pub use admitted::{EncodesBytes, LosesNeighbours};
pub use case::{Case, ExecutorCase, Listed, Needs};
pub use executors::executor_cases;
#[cfg(unix)]
pub use forked::in_forked_child;
pub use fuzz::fuzz_backend;
pub use list::cases;
pub use peer::run_peer;
pub use random::Random;
pub use report::{Outcome, Report};
#[cfg(unix)]
pub use rights::give_up_root;
pub use runner::{check, check_executor, run, run_executor, run_in_test};
pub use scale::set_scale;
pub use selection::{Selection, SelectionError, backend, executor};

/// Items that only the macros of this crate use.
#[doc(hidden)]
pub mod __private {
    pub use inventory;
}
