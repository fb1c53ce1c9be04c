//! `cargo xtask corrupt`: damages the files of every store, and checks the results of users' calls.
//! `cargo xtask fuzz-stores`: runs random operations on every store and on a map, and checks that they agree.

use fleche_conformance::{
    Random,
    corrupt::{CorruptReport, Extent, run_corruptions},
    fuzz_backend,
};

use crate::{
    backends::{SelectedBackends, panics_inside},
    report::aligned,
};

/// The arguments of `cargo xtask corrupt`.
#[derive(clap::Args)]
pub(crate) struct CorruptArguments {
    #[command(flatten)]
    selected: SelectedBackends,
    /// The approximate number of damaged copies of each store.
    #[arg(long, default_value_t = 300)]
    count: usize,
    /// Damage every region of every file, however long it takes.
    #[arg(long)]
    all: bool,
}

/// Damages the stores of each durable backend.
///
/// # Errors
/// Fails if a backend is unknown, or with one line for each check that failed.
pub(crate) fn run_corrupt(arguments: &CorruptArguments) -> Result<(), String> {
    let extent = if arguments.all { Extent::All } else { Extent::About(arguments.count) };
    let header = ["backend", "files", "damages", "harmless", "reported", "refused", "unrepaired", "failures"];
    let mut rows = vec![header.map(str::to_owned).to_vec()];
    let mut failures = Vec::new();
    for backend in arguments.selected.durable()? {
        let report = run_corruptions(backend, extent).map_err(|why| format!("{}: {why}", backend.name))?;
        let CorruptReport { files, tried, harmless, reported, refused, .. } = report;
        let counts = [files, tried, harmless, reported, refused, report.unrepaired.len(), report.failures.len()];
        rows.push(std::iter::once(backend.name.to_owned()).chain(counts.map(|count| count.to_string())).collect());
        let panicked = if let (Some(reason), false) = (panics_inside(backend.name), report.panicked.is_empty()) {
            println!("{}: {} internal panics, which are expected: {reason}", backend.name, report.panicked.len());
            Vec::new()
        } else {
            report.panicked
        };
        failures.extend(
            report
                .failures
                .into_iter()
                .chain(report.unrepaired)
                .chain(panicked)
                .map(|failure| format!("{}: {failure}", backend.name)),
        );
        if files == 0 {
            println!(
                "{}: no files to damage, since it does not store its entries in files of its directory",
                backend.name
            );
        }
    }
    print!("{}", aligned(&rows));
    if failures.is_empty() { Ok(()) } else { Err(failures.join("\n")) }
}

/// The arguments of `cargo xtask fuzz-stores`.
#[derive(clap::Args)]
pub(crate) struct FuzzArguments {
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
pub(crate) fn run_fuzz(arguments: &FuzzArguments) -> Result<(), String> {
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
