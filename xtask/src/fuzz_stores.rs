//! `cargo xtask fuzz-stores`: random operations on every store and on a map, which must agree.

use fleche_conformance::{Random, fuzz_backend};

use crate::selected::Selected;

/// How long to search, and where.
#[derive(clap::Args)]
pub(crate) struct Arguments {
    #[command(flatten)]
    selected: Selected,
    /// How many sequences of operations are tried for each kind of store.
    #[arg(long, default_value_t = 1_000)]
    cases: u32,
    /// What the sequences follow from; another one each time if it is not given.
    #[arg(long)]
    seed: Option<u64>,
}

/// Fuzzes the stores of each backend.
///
/// # Errors
/// The shortest sequence found for each backend that does other than the map.
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
