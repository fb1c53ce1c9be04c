//! `cargo xtask fuzz-stores`: runs random operations on every store and on a map, and checks that they agree.

use fleche_conformance::{Random, fuzz_backend};

use crate::backends::SelectedBackends;

/// The arguments of `cargo xtask fuzz-stores`.
#[derive(clap::Args)]
pub(crate) struct Arguments {
    #[command(flatten)]
    selected: SelectedBackends,
    /// The number of sequences of operations that are tried for each kind of store.
    #[arg(long, default_value_t = 1_000)]
    cases: u32,
    /// The seed of the sequences; random by default.
    #[arg(long)]
    seed: Option<u64>,
}

/// Fuzzes the stores of each backend.
///
/// # Errors
/// Fails with the shortest sequence found for each backend that differs from the map, or if a backend is unknown.
pub(crate) fn run(arguments: &Arguments) -> Result<(), String> {
    let seed = arguments.seed.unwrap_or_else(|| Random::any().next_u64());
    let mut failures = Vec::new();
    for backend in arguments.selected.all()? {
        match fuzz_backend(backend, arguments.cases, seed) {
            Ok(()) => println!("{}: {} sequences of values and of calls agree", backend.name, arguments.cases),
            Err(why) => failures.push(format!("{} with seed {seed}: {why}", backend.name)),
        }
    }
    if failures.is_empty() { Ok(()) } else { Err(failures.join("\n")) }
}
