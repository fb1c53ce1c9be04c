//! The program whose instructions `cargo xtask instructions` counts: it makes a given number of calls of one kind.

use std::{hint::black_box, path::Path, process::ExitCode};

use clap::{Parser, Subcommand};
use fleche_core::{Cache, cache::HotTier, collect, fleche};

#[path = "../caches.rs"]
mod caches;

#[fleche]
fn labelled(x: i64, label: &str, y: f64) -> f64 {
    if x > 0 && !label.is_empty() { y * 2.0 } else { y }
}

#[fleche]
fn next(x: i64) -> i64 {
    x + 1
}

/// A kind of call: its name, the cache it needs, and how to make it.
struct Kind {
    name: &'static str,
    /// The numbers of calls in a short and a long run. The difference of their instructions is due to the calls alone.
    runs: [i64; 2],
    open: fn(&Path) -> Result<Cache, String>,
    call: fn(i64),
    before: Before,
}

/// The process that computed the calls before the counted run.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Before {
    /// An earlier process, so every call is a hit in the store.
    Elsewhere,
    /// This process: one call is repeated, and only the first is a miss.
    Here,
    /// Nowhere, so every call is a miss.
    Never,
}

/// All kinds.
const KINDS: &[Kind] = &[
    Kind {
        name: "hot-hit",
        runs: [2_000, 12_000],
        open: |_| Ok(caches::memory()),
        call: call_labelled,
        before: Before::Here,
    },
    Kind { name: "hot-hit-i64", runs: [2_000, 12_000], open: |_| Ok(caches::memory()), call, before: Before::Here },
    Kind {
        name: "memory-hit",
        runs: [2_000, 12_000],
        open: |_| Ok(caches::memory().to_builder().hot_tier(HotTier::OFF).build()),
        call,
        before: Before::Here,
    },
    Kind { name: "file-hit", runs: [1_000, 6_000], open: caches::files, call, before: Before::Elsewhere },
    Kind {
        name: "redb-hit",
        runs: [1_000, 6_000],
        open: |directory| caches::redb(&directory.join("calls.redb")),
        call,
        before: Before::Elsewhere,
    },
    // Between these two counts each shard of the memory store's tables grows exactly once, regardless of its hash seed.
    Kind { name: "memory-miss", runs: [2_600, 6_000], open: |_| Ok(caches::memory()), call, before: Before::Never },
];

fn call_labelled(x: i64) {
    black_box(labelled(black_box(x), black_box("label"), black_box(1.5)));
}

fn call(x: i64) {
    black_box(next(black_box(x)));
}

/// Makes calls whose instructions are to be counted.
#[derive(Parser)]
struct Arguments {
    #[command(subcommand)]
    what: What,
}

#[derive(Subcommand)]
enum What {
    /// List the kinds, each with the number of calls in a short and in a long run
    List,
    /// Make the calls that a later run is to find in its store
    Prepare { kind: String, directory: std::path::PathBuf },
    /// Make the given number of calls
    Run { kind: String, directory: std::path::PathBuf, calls: i64 },
}

fn main() -> ExitCode {
    let ran = match Arguments::parse().what {
        What::List => {
            for Kind { name, runs: [short, long], .. } in KINDS {
                println!("{name} {short} {long}");
            }
            Ok(())
        }
        What::Prepare { kind, directory } => find(&kind).and_then(|kind| kind.prepare(&directory)),
        What::Run { kind, directory, calls } => find(&kind).and_then(|kind| kind.run(&directory, calls)),
    };
    match ran {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}

fn find(name: &str) -> Result<&'static Kind, String> {
    KINDS.iter().find(|kind| kind.name == name).ok_or_else(|| format!("unknown kind `{name}`; `list` shows the kinds"))
}

impl Kind {
    fn prepare(&self, directory: &Path) -> Result<(), String> {
        if self.before == Before::Elsewhere {
            self.calls(directory, 0..self.runs[1])?;
        }
        Ok(())
    }

    fn run(&self, directory: &Path, calls: i64) -> Result<(), String> {
        match self.before {
            // One call is repeated, since with several the hash seed would decide whether they collide in a table.
            Before::Here => self.calls(directory, (0..=calls).map(|_| 0)),
            Before::Elsewhere | Before::Never => self.calls(directory, 0..calls),
        }
        .and_then(|misses| match self.before {
            Before::Here if misses == 1 => Ok(()),
            Before::Elsewhere if misses == 0 => Ok(()),
            Before::Never if misses == calls => Ok(()),
            _ => Err(format!("{misses} of {calls} calls were misses, which is not what this kind measures")),
        })
    }

    /// Makes these calls without metadata, and returns the number of misses.
    fn calls(&self, directory: &Path, calls: impl Iterator<Item = i64>) -> Result<i64, String> {
        let cache = (self.open)(directory)?;
        let _none = collect([]).enter();
        cache.scope(|| calls.for_each(self.call));
        i64::try_from(cache.stats().misses).map_err(|error| error.to_string())
    }
}
