//! Tests of the number of stand-ins that start in the place of waiting workers.

use std::{
    env, fs,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use fleche_core::{ExecutorExt, fleche, wrap_executor};

use super::common::{files, pool, result, wait_for};

/// Takes this long, like the body of a call that is worth storing.
fn takes(time: Duration) {
    let until = Instant::now() + time;
    while let Some(left) = until.checked_duration_since(Instant::now()).filter(|left| !left.is_zero()) {
        thread::park_timeout(left);
    }
}

#[fleche]
fn point(x: u64) -> u64 {
    takes(Duration::from_millis(30 + x % 7 * 10));
    x * x
}

/// A separate program, which the test below runs.
#[test]
#[ignore = "run by another test"]
fn sweep_process() {
    let Some(directory) = env::var_os("DIRECTORY_OF_SWEEP").map(PathBuf::from) else { return };
    let _active = files(&directory).enter();
    let pool = wrap_executor(pool(2));
    let sum: u64 = pool.map(point, (0..100).map(|x| (x,))).map(Result::unwrap).sum();
    println!("sum: {sum}, workers: {}.", pool.inner().stats().workers);
}

#[test]
fn two_programs_that_run_the_same_sweep_start_few_workers() {
    let directory = tempfile::tempdir().unwrap();
    let program = || {
        let mut command = Command::new(env::current_exe().unwrap());
        command.args(["stand_ins::sweep_process", "--exact", "--ignored", "--nocapture"]);
        command.env("DIRECTORY_OF_SWEEP", directory.path()).stdout(Stdio::piped()).spawn().unwrap()
    };
    let programs = [program(), program()];
    for program in programs {
        let output = program.wait_with_output().unwrap();
        let printed = String::from_utf8_lossy(&output.stdout).into_owned();
        let (_, workers) = printed.split_once("sum: 328350, workers: ").expect(&printed);
        let workers: usize = workers.split_once('.').unwrap().0.parse().unwrap();
        // Two, one stand-in for each that waits for the other program, some more while they change, and one more for each
        // second for which a busy machine holds a queued task up.
        assert!((1..=30).contains(&workers), "{workers}");
    }
}

#[fleche]
fn shared(#[by_name] directory: &Path) -> u64 {
    let _ = directory;
    takes(Duration::from_millis(400));
    7
}

#[allow(clippy::needless_pass_by_value)] // Submitted functions own their arguments.
fn uses_shared(directory: PathBuf, x: u64) -> u64 {
    shared(&directory) * x
}

#[test]
fn workers_that_wait_for_one_call_share_one_stand_in() {
    let directory = tempfile::tempdir().unwrap();
    let _active = files(directory.path()).enter();
    let pool = wrap_executor(pool(2));
    let jobs: Vec<_> = (0..20).map(|x| pool.submit(uses_shared, (directory.path().to_owned(), x))).collect();
    for (x, job) in (0..).zip(jobs) {
        assert_eq!(result(job), Ok(7 * x));
    }
    // With a stand-in for each waiting worker, it would be 20.
    assert!(pool.inner().stats().workers <= 12, "{:?}", pool.inner().stats());
}

#[fleche]
fn opened(#[by_name] gate: &Path) -> bool {
    fs::write(gate.with_extension("begun"), "").unwrap();
    wait_for(gate.to_owned());
    true
}

#[allow(clippy::needless_pass_by_value)] // Submitted functions own their arguments.
fn waits_for_opened(gate: PathBuf) -> bool {
    opened(&gate)
}

#[allow(clippy::needless_pass_by_value)] // Submitted functions own their arguments.
fn opens(gate: PathBuf) {
    fs::write(gate, "").unwrap();
}

#[test]
fn queued_task_that_waiting_workers_need_runs_eventually() {
    let directory = tempfile::tempdir().unwrap();
    let (cache, gate) = (files(directory.path()), directory.path().join("gate"));
    let _active = cache.enter();
    let pool = wrap_executor(pool(1));
    thread::scope(|scope| {
        let leads = scope.spawn(|| cache.scope(|| opened(&gate)));
        wait_for(gate.with_extension("begun"));
        let waiting: Vec<_> = (0..3).map(|_| pool.submit(waits_for_opened, (gate.clone(),))).collect();
        let opens = pool.submit(opens, (gate.clone(),));
        result(opens).unwrap();
        for job in waiting {
            assert_eq!(result(job), Ok(true));
        }
        assert!(leads.join().unwrap());
    });
    assert_eq!(pool.inner().stats().lost, 0);
}
