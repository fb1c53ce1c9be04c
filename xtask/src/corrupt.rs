//! `cargo xtask corrupt`: damages the files of every store, and looks at what users get.

use fleche_conformance::corrupt::{CorruptReport, Extent, run_corruptions};

use crate::{excused::panics_inside, matrix::aligned, selected::Selected};

/// What to damage, and how often.
#[derive(clap::Args)]
pub(crate) struct Arguments {
    #[command(flatten)]
    selected: Selected,
    /// About how many copies of each store are damaged.
    #[arg(long, default_value_t = 300)]
    count: usize,
    /// Damages every region of every file, however long that takes.
    #[arg(long)]
    all: bool,
}

/// Damages the stores of each durable backend.
///
/// # Errors
/// A message where a backend is unknown, and for everything that went wrong.
pub(crate) fn run(arguments: &Arguments) -> Result<(), String> {
    let extent = if arguments.all { Extent::All } else { Extent::About(arguments.count) };
    let header = ["backend", "files", "damages", "harmless", "reported", "refused", "unhealed", "failures"];
    let mut rows = vec![header.map(str::to_owned).to_vec()];
    let mut failures = Vec::new();
    for backend in arguments.selected.durable()? {
        let report = run_corruptions(backend, extent).map_err(|why| format!("{}: {why}", backend.name))?;
        let CorruptReport { files, tried, harmless, reported, refused, .. } = report;
        let counts = [files, tried, harmless, reported, refused, report.unhealed.len(), report.failures.len()];
        rows.push(std::iter::once(backend.name.to_owned()).chain(counts.map(|count| count.to_string())).collect());
        let panicked = if let (Some(reason), false) = (panics_inside(backend.name), report.panicked.is_empty()) {
            println!("{} panicked inside {} times, which is no failure: {reason}", backend.name, report.panicked.len());
            Vec::new()
        } else {
            report.panicked
        };
        failures.extend(
            report
                .failures
                .into_iter()
                .chain(report.unhealed)
                .chain(panicked)
                .map(|failure| format!("{}: {failure}", backend.name)),
        );
        if files == 0 {
            println!(
                "{}: it keeps its entries elsewhere than in files of its directory, so there are none",
                backend.name
            );
        }
    }
    print!("{}", aligned(&rows));
    if failures.is_empty() { Ok(()) } else { Err(failures.join("\n")) }
}
