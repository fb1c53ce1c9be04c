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
mod known_limits;
mod list;
mod peer_process;
mod runner;
#[cfg(all(target_os = "linux", target_pointer_width = "64", target_env = "gnu"))]
mod skewed_clock;
mod store_kind;
mod test_calls;
mod test_data;

pub use case::{Case, Listed, Needs, Selection, SelectionError, backend, executor};
pub use executors::{ExecutorCase, check_executor, executor_cases, run_executor};
#[cfg(unix)]
pub use forked::{give_up_root, in_forked_child};
pub use fuzz::fuzz_backend;
pub use known_limits::{EncodesBytes, LosesNeighbours, set_scale};
pub use list::cases;
pub use runner::{Outcome, Report, check, run, run_in_test, run_peer};
#[cfg(all(target_os = "linux", target_pointer_width = "64", target_env = "gnu"))]
pub use skewed_clock::skew_clock;
pub use test_data::Random;

/// Items that only the macros of this crate use.
#[doc(hidden)]
pub mod __private {
    pub use inventory;
}
