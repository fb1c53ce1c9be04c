//! `cargo xtask crash`: kills processes that use a store, and checks the entries that they leave.

mod child;

use std::{path::Path, time::Duration};

use fleche_conformance::{
    Random,
    crash::{Findings, check, stuck_claims},
};
use fleche_core::store::BackendInfo;

use crate::{
    backends::{SelectedBackends, loses_synced},
    report::aligned,
};
use child::{Child, Role};
pub(crate) use child::{ChildArguments, run_child};

/// The arguments of `cargo xtask crash`.
#[derive(clap::Args)]
pub(crate) struct Arguments {
    #[command(flatten)]
    selected: SelectedBackends,
    /// The number of rounds for each backend, in each of which a working process is killed.
    #[arg(long, default_value_t = 100)]
    rounds: u64,
    /// In every other round, also kill processes that recover the store.
    #[arg(long)]
    nested: bool,
    /// The seed of the operations and of the times of death; random by default.
    #[arg(long)]
    seed: Option<u64>,
}

/// The longest time that a process works before it is killed.
const MAX_DELAY: Duration = Duration::from_millis(150);
/// The time within which the leases of killed processes must have expired.
const LEASE: Duration = Duration::from_mins(2);
/// The number of violations that are printed for each backend.
const MAX_SHOWN: usize = 10;

/// Runs all rounds for every backend.
///
/// # Errors
/// Fails if a backend is unknown, if a process cannot be started, or if a backend breaks its promise.
pub(crate) fn run(arguments: &Arguments) -> Result<(), String> {
    let seed = arguments.seed.unwrap_or_else(|| Random::any().next_u64());
    println!("crash: seed {seed} (it determines the operations; the time of death also depends on the machine)");
    let mut rows = vec![
        ["backend", "rounds", "operations", "synced", "lost synced", "lost unsynced", "undone", "damaged", "stuck"]
            .map(str::to_owned)
            .to_vec(),
    ];
    let mut failures = Vec::new();
    for backend in arguments.selected.durable()? {
        let Tally { findings, stuck } = rounds(backend, arguments, seed)?;
        let counts = [
            arguments.rounds,
            findings.operations,
            findings.durable,
            findings.lost_durable,
            findings.lost_plain,
            findings.undone,
            findings.damaged,
            stuck,
        ];
        rows.push(std::iter::once(backend.name.to_owned()).chain(counts.map(|count| count.to_string())).collect());
        failures.extend(judge(backend, findings, stuck));
    }
    print!("{}", aligned(&rows));
    if failures.is_empty() { Ok(()) } else { Err(failures.join("\n")) }
}

/// Returns the violations of a backend, without the known ones.
fn judge(backend: &BackendInfo, mut findings: Findings, stuck: u64) -> Vec<String> {
    if let (Some(reason), 1..) = (loses_synced(backend.name), findings.lost_durable) {
        println!("{}: {} synced entries lost, which is expected: {reason}", backend.name, findings.lost_durable);
        findings.lost_durable = 0;
    }
    let mut violations = findings.violations(backend);
    if stuck > 0 {
        violations.push(format!("{stuck} claims of killed processes could not be taken within {LEASE:?}"));
    }
    if findings.operations == 0 {
        violations.push("no operation was acknowledged, so the run proves nothing; run more rounds".to_owned());
    }
    let more = violations.len().saturating_sub(MAX_SHOWN);
    violations.truncate(MAX_SHOWN);
    if more > 0 {
        violations.push(format!("and {more} more"));
    }
    violations.into_iter().map(|violation| format!("{}: {violation}", backend.name)).collect()
}

struct Tally {
    findings: Findings,
    stuck: u64,
}

fn rounds(backend: &'static BackendInfo, arguments: &Arguments, seed: u64) -> Result<Tally, String> {
    let mut random = Random::new(seed);
    let mut findings = Findings::default();
    // Directories with claims that have not expired yet. They are awaited together, after all rounds.
    let mut pending = Vec::new();
    for round in 0..arguments.rounds {
        let place = scratch()?;
        let nested = arguments.nested && round % 2 == 1;
        let found =
            one_round(backend, place.path(), &mut random, nested).map_err(|why| format!("{}: {why}", backend.name))?;
        let taken = found.taken;
        let numbered = |why: String| format!("round {round} of seed {seed}: {why}");
        findings.add(Findings { wrong: found.wrong.into_iter().map(numbered).collect(), ..found });
        if taken > 0 {
            pending.push(place);
        }
    }
    let mut stuck = 0;
    for place in pending {
        match stuck_claims(backend, place.path(), LEASE) {
            Ok(more) => stuck += more,
            Err(why) => findings.wrong.push(why),
        }
    }
    Ok(Tally { findings, stuck })
}

fn one_round(
    backend: &'static BackendInfo,
    place: &Path,
    random: &mut Random,
    nested: bool,
) -> Result<Findings, String> {
    let seed = random.next_u64();
    // A quarter of the processes may be killed while they open the stores, the others only while they use them.
    let from_start = random.below(4) == 0;
    let dead = Child::start(backend, place, seed, Role::Work)?.kill_after(delay(random, MAX_DELAY), from_start)?;
    let mut wrong = Vec::from_iter(dead.ended);
    if nested {
        for _ in 0..=random.below(2) {
            let child = Child::start(backend, place, seed, Role::Recover)?;
            wrong.extend(child.kill_after(delay(random, MAX_DELAY / 3), true)?.ended);
        }
    }
    let mut findings = check(backend, place, seed, &dead.acknowledged);
    findings.wrong.extend(wrong);
    Ok(findings)
}

fn delay(random: &mut Random, longest: Duration) -> Duration {
    Duration::from_micros(random.below(u64::try_from(longest.as_micros()).unwrap_or(u64::MAX)))
}

fn scratch() -> Result<tempfile::TempDir, String> {
    let made = tempfile::Builder::new().prefix("fleche-crash-").tempdir();
    made.map_err(|error| format!("cannot create a temporary directory: {error}"))
}
