//! The behaviour that every backend, and every executor, must show, as cases that anybody's crate runs.
//!
//! A backend crate's `tests/conformance.rs` is one line, which becomes one `#[test]` for each case:
//!
//! ```ignore
//! fleche_conformance::suite!(my_backend, "mine");
//! ```
//!
//! A crate of executors does likewise, with every backend that its tests link:
//!
//! ```ignore
//! fleche_conformance::executor_suite!(my_executors, "mine");
//! ```
//!
//! Four checks go further than a case can, and are functions for anybody's program: [`fuzz_backend`] compares stores with
//! a map for as long as one likes, [`crash`] looks at what a killed process leaves, [`corrupt`] damages files, and
//! [`faults`] lets operations fail. `cargo xtask` of this workspace runs them.
//!
//! Programs (the conformance matrix of this workspace is one) run the same cases with [`run`]. There is one list of
//! cases, [`cases`]; nothing is left out for a backend. What a backend does not do is asserted as well: stores that are
//! not durable must be empty when they are opened anew and must leave nothing on disk. What a backend cannot do it admits,
//! with the reason: [`admit_loss_of_neighbours!`], [`admit_encoded_bytes!`].

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
pub use runner::{check, check_executor, run, run_executor, run_in_test};
pub use scale::set_scale;
pub use selection::{Selection, SelectionError, backend, executor};

/// For the macros of this crate alone.
#[doc(hidden)]
pub mod __private {
    pub use inventory;
}
