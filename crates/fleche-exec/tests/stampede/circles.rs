//! Bodies in two programs that make the same calls in opposite order, with rayon inside.

use std::path::{Path, PathBuf};

use fleche_core::{active_cache, fleche};
use rayon::{ThreadPoolBuilder, prelude::*};

use super::program::{Program, forget, note, noted};

const KEYS: u64 = 6;

/// Calls itself for both neighbouring keys in parallel, in an order that depends on `down`, until `depth` is 0.
#[fleche]
fn knot(#[by_name] directory: PathBuf, round: u64, key: u64, #[ignore] down: bool, #[ignore] depth: u64) -> u64 {
    note(&directory, &format!("{round}/{key}"));
    if depth > 0 {
        let (above, below) = ((key + 1) % KEYS, (key + KEYS - 1) % KEYS);
        let neighbours = if down { [below, above] } else { [above, below] };
        let cache = active_cache();
        let ask = |key| cache.scope(|| knot(directory.clone(), round, key, down, depth - 1));
        neighbours.into_par_iter().for_each(|key| assert_eq!(ask(key), key));
    }
    key
}

/// Command `circles round down|up`. Answers with the sum of the results and the number of broken cycles.
pub(crate) fn circles(directory: &Path, words: &[&str]) -> String {
    let (round, down) = (words[0].parse().unwrap(), words[1] == "down");
    let cache = active_cache();
    let all = |key: u64| cache.scope(|| knot(directory.to_owned(), round, key, down, 2));
    let before = cache.stats().cycles_broken;
    // As many threads as machines of various sizes have.
    let threads = THREADS[usize::try_from(round).unwrap() % THREADS.len()];
    let pool = ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
    let sum: u64 = pool.install(|| (0..KEYS).into_par_iter().map(all).sum());
    format!("{sum} {}", cache.stats().cycles_broken - before)
}

const ROUNDS: u64 = 100;
const THREADS: [usize; 4] = [2, 3, 4, 8];

#[test]
fn cycles_across_programs_are_broken() {
    let directory = tempfile::tempdir().unwrap();
    let mut programs = [Program::start(directory.path()), Program::start(directory.path())];
    let mut all = 0;
    for round in 0..ROUNDS {
        forget(directory.path());
        programs[0].tell(&format!("circles {round} down"));
        programs[1].tell(&format!("circles {round} up"));
        let mut circles = 0;
        for program in &mut programs {
            let answer = program.answer().expect("the program is alive");
            let (sum, broken) = answer.split_once(' ').unwrap();
            assert_eq!(sum, (0..KEYS).sum::<u64>().to_string());
            circles += broken.parse::<u64>().unwrap();
        }
        all += circles;
        let bodies = noted(directory.path()).len() as u64;
        assert!(bodies <= KEYS + circles, "round {round}: {bodies} bodies for {circles} broken cycles");
    }
    assert!(all > 0, "no cycle was broken");
}
