//! `cargo xtask crash`: kills processes that use a store, and looks at what is left.

mod child;

use std::{path::Path, time::Duration};

use fleche_conformance::{
    Random,
    crash::{Findings, check, stuck_claims},
};
use fleche_core::store::BackendInfo;

use crate::{excused::loses_synced, matrix::aligned, selected::Selected};
use child::{Child, Role};
pub(crate) use child::{ChildArguments, run_child};

/// Whom to kill, how often.
#[derive(clap::Args)]
pub(crate) struct Arguments {
    #[command(flatten)]
    selected: Selected,
    /// How many processes are killed for each backend.
    #[arg(long, default_value_t = 100)]
    rounds: u64,
    /// After every other death, kills those as well that look at what is left.
    #[arg(long)]
    nested: bool,
    /// What the moments and the operations follow from; another one each time if it is not given.
    #[arg(long)]
    seed: Option<u64>,
}

/// A process works for no longer than this before it is killed.
const LONGEST: Duration = Duration::from_millis(150);
/// Leases of the dead end within this time.
const LEASE: Duration = Duration::from_mins(2);
/// So many violations are printed for each backend.
const SHOWN: usize = 10;

/// Runs every round for every backend.
///
/// # Errors
/// A message where a backend is unknown, where a process cannot be started, and where a backend breaks its promise.
pub(crate) fn run(arguments: &Arguments) -> Result<(), String> {
    let seed = arguments.seed.unwrap_or_else(|| Random::any().next_u64());
    println!("crash: seed {seed} (the operations follow from it; the moment of death depends on the machine, too)");
    let mut rows = vec![
        ["backend", "rounds", "operations", "synced", "lost synced", "lost others", "undone", "damaged", "stuck"]
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

/// What a backend did wrong, as far as it is not excused.
fn judge(backend: &BackendInfo, mut findings: Findings, stuck: u64) -> Vec<String> {
    if let (Some(reason), 1..) = (loses_synced(backend.name), findings.lost_durable) {
        println!("{} lost {} synced entries, which is no failure: {reason}", backend.name, findings.lost_durable);
        findings.lost_durable = 0;
    }
    let mut violations = findings.violations(backend);
    if stuck > 0 {
        violations.push(format!("{stuck} claims of the dead are not to be had within {LEASE:?}"));
    }
    if findings.operations == 0 {
        violations.push("no operation was acknowledged, so nothing is proven".to_owned());
    }
    let more = violations.len().saturating_sub(SHOWN);
    violations.truncate(SHOWN);
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
    // Places with claims that have yet to end; they are waited for together, when all else is done.
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
    // Now and then while the stores are being opened; mostly while they are used.
    let from_start = random.below(4) == 0;
    let dead = Child::start(backend, place, seed, Role::Work)?.kill_after(delay(random, LONGEST), from_start)?;
    let mut wrong = Vec::from_iter(dead.ended);
    if nested {
        for _ in 0..=random.below(2) {
            let child = Child::start(backend, place, seed, Role::Recover)?;
            wrong.extend(child.kill_after(delay(random, LONGEST / 3), true)?.ended);
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
    made.map_err(|error| format!("no directory to work in: {error}"))
}
