//! The behaviour that every backend must show, as cases that anybody's backend crate runs.
//!
//! A backend crate's `tests/conformance.rs` is one line, which becomes one `#[test]` for each case:
//!
//! ```ignore
//! fleche_conformance::suite!(my_backend, "mine");
//! ```
//!
//! Programs (the conformance matrix of this workspace is one) run the same cases with [`run`]. There is one list of
//! cases, [`cases`]; nothing is left out for a backend. What a backend does not do is asserted as well: stores that are
//! not durable must be empty when they are opened anew and must leave nothing on disk.

mod capture;
mod case;
mod cases;
mod disk;
mod fixture;
mod item;
mod list;
mod report;
mod runner;
mod selection;
mod shelf;

pub use case::{Case, Needs};
pub use list::cases;
pub use report::{Outcome, Report};
pub use runner::{check, run};
pub use selection::{Selection, SelectionError, backend};
