//! Many concurrent callers, some of which make the same calls in opposite order.

use std::{
    collections::BTreeSet,
    path::{Path, PathBuf},
    time::Duration,
};

use fleche_core::{ExecutorExt, active_cache, fleche, wrap_executor};
use fleche_exec::ProcessPool;
use rayon::{ThreadPoolBuilder, prelude::*};

use super::program::{Program, forget, note, noted, nothing_is_locked, on_threads, work_for};

#[fleche]
fn popular(#[by_name] directory: PathBuf, round: u64, key: u64) -> u64 {
    note(&directory, &format!("{round}/{key}"));
    work_for(Duration::from_millis(300));
    key * 3
}

/// Command `threads round keys threads`: this many threads make this many different calls at the same time.
pub(crate) fn threads(directory: &Path, words: &[&str]) -> String {
    let numbers: Vec<u64> = words.iter().map(|word| word.parse().unwrap()).collect();
    let [round, keys, threads] = numbers[..] else { panic!("expected three numbers") };
    let run = |thread: usize| popular(directory.to_owned(), round, thread as u64 % keys);
    on_threads(usize::try_from(threads).unwrap(), run)
}

/// The number of rounds. Half of them have one call, and half have ten.
const ROUNDS: u64 = 100;

#[test]
fn threads_in_four_programs_run_each_call_once() {
    let directory = tempfile::tempdir().unwrap();
    let mut programs: Vec<_> = (0..4).map(|_| Program::start(directory.path())).collect();
    for round in 0..ROUNDS {
        // One call and ten calls, in turn.
        let keys = if round % 2 == 0 { 1 } else { 10 };
        forget(directory.path());
        for program in &mut programs {
            program.tell(&format!("threads {round} {keys} 16"));
        }
        let expected: Vec<_> = (0..16).map(|thread| (thread % keys * 3).to_string()).collect();
        for program in &mut programs {
            assert_eq!(program.answer(), Some(expected.join(" ")));
        }
        let bodies = noted(directory.path());
        assert_eq!(bodies.len() as u64, keys, "round {round}: {bodies:?}");
    }
    drop(programs);
    nothing_is_locked(directory.path()).unwrap();
}

#[fleche]
async fn awaited(#[by_name] directory: PathBuf, round: u64, key: u64) -> u64 {
    note(&directory, &format!("{round}/{key}"));
    // Gives other programs, and other tasks of this one, time to make the call.
    tokio::task::yield_now().await;
    work_for(Duration::from_millis(30));
    key * 3
}

/// Command `tasks round keys tasks`: this many tasks of one thread make this many different calls at the same time.
pub(crate) fn tasks(directory: &Path, words: &[&str]) -> String {
    let numbers: Vec<u64> = words.iter().map(|word| word.parse().unwrap()).collect();
    let [round, keys, tasks] = numbers[..] else { panic!("expected three numbers") };
    // A task that blocked the thread while it waits would keep the others from starting.
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let tasks: Vec<_> =
        (0..tasks).map(|task| runtime.spawn(awaited(directory.to_owned(), round, task % keys))).collect();
    let results: Vec<_> = tasks.into_iter().map(|task| runtime.block_on(task).unwrap().to_string()).collect();
    results.join(" ")
}

#[test]
fn tasks_in_four_programs_run_each_call_once() {
    let directory = tempfile::tempdir().unwrap();
    let mut programs: Vec<_> = (0..4).map(|_| Program::start(directory.path())).collect();
    for round in 0..20 {
        forget(directory.path());
        for program in &mut programs {
            program.tell(&format!("tasks {round} 3 16"));
        }
        let expected: Vec<_> = (0..16).map(|task| (task % 3 * 3).to_string()).collect();
        for program in &mut programs {
            assert_eq!(program.answer(), Some(expected.join(" ")));
        }
        assert_eq!(noted(directory.path()).len(), 3, "round {round}");
    }
    drop(programs);
    nothing_is_locked(directory.path()).unwrap();
}

#[fleche]
fn cheap(#[by_name] directory: PathBuf, x: u64) -> u64 {
    note(&directory, &x.to_string());
    x + 1
}

/// Command `pool seed calls keys`: submits this many calls to a pool of two processes, in an order that depends on the
/// seed.
pub(crate) fn pool(directory: &Path, words: &[&str]) -> String {
    let numbers: Vec<u64> = words.iter().map(|word| word.parse().unwrap()).collect();
    let [seed, calls, keys] = numbers[..] else { panic!("expected three numbers") };
    let pool = wrap_executor(ProcessPool::new(2).unwrap());
    // The factor has no common divisor with `keys`, so that the order is irregular and contains every key.
    let inputs = (0..calls).map(|at| (directory.to_owned(), at.wrapping_mul(2 * seed + 7919) % keys));
    let results = pool.map(cheap, inputs).ahead(64).map(Result::unwrap);
    results.sum::<u64>().to_string()
}

#[test]
fn ten_thousand_calls_of_a_thousand_keys_run_a_thousand_bodies() {
    let directory = tempfile::tempdir().unwrap();
    let mut programs: Vec<_> = (0..2).map(|_| Program::start(directory.path())).collect();
    for (seed, program) in programs.iter_mut().enumerate() {
        program.tell(&format!("pool {seed} 5000 1000"));
    }
    for program in &mut programs {
        // Each of the thousand calls is made five times.
        assert_eq!(program.answer(), Some((5 * (1..=1000).sum::<u64>()).to_string()));
    }
    let bodies = noted(directory.path());
    let distinct: BTreeSet<_> = bodies.iter().filter_map(|body| body.split(' ').next()).collect();
    assert_eq!((bodies.len(), distinct.len()), (1000, 1000));
}

/// The number of keys of [`knot`].
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

/// Command `cycles round down|up`. Answers with the sum of the results and the number of broken cycles.
pub(crate) fn cycles(directory: &Path, words: &[&str]) -> String {
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

const CYCLE_ROUNDS: u64 = 100;
const THREADS: [usize; 4] = [2, 3, 4, 8];

#[test]
fn cycles_across_programs_are_broken() {
    let directory = tempfile::tempdir().unwrap();
    let mut programs = [Program::start(directory.path()), Program::start(directory.path())];
    let mut all = 0;
    for round in 0..CYCLE_ROUNDS {
        forget(directory.path());
        programs[0].tell(&format!("cycles {round} down"));
        programs[1].tell(&format!("cycles {round} up"));
        let mut cycles = 0;
        for program in &mut programs {
            let answer = program.answer().expect("the program is alive");
            let (sum, broken) = answer.split_once(' ').unwrap();
            assert_eq!(sum, (0..KEYS).sum::<u64>().to_string());
            cycles += broken.parse::<u64>().unwrap();
        }
        all += cycles;
        let bodies = noted(directory.path()).len() as u64;
        assert!(bodies <= KEYS + cycles, "round {round}: {bodies} bodies for {cycles} broken cycles");
    }
    assert!(all > 0, "no cycle was broken");
}
