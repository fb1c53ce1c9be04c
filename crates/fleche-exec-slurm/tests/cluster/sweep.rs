//! A sweep whose submitter is killed many times.

use std::{
    env,
    io::{BufRead, BufReader},
    path::Path,
    process::{Command, Stdio},
    thread,
    time::Duration,
};

use fleche_conformance::Random;
use fleche_core::ExecutorExt;

use super::{
    calls::square,
    scratch::{self, Scratch},
};

const DIRECTORY: &str = "FLECHE_TEST_SWEEP";
const CALLS: u64 = 500;

/// Runs the sweep, in the process that [`sweep_survives_kills_of_its_submitter`] starts.
#[test]
#[ignore = "started by another test"]
fn submitter_of_the_sweep() {
    let Some(directory) = env::var_os(DIRECTORY) else { return };
    let directory = Path::new(&directory);
    let executor = scratch::executor(directory, |config| config);
    let inputs = (0..CALLS).map(|x| (directory.join("log"), x));
    println!("begins");
    let results: Result<Vec<_>, _> = scratch::cache(directory).scope(|| executor.map(square, inputs).collect());
    assert!(results.unwrap().into_iter().eq((0..CALLS).map(|x| x * x)));
    let stats = executor.inner().stats();
    println!("sweep done: {stats:?}");
}

#[test]
#[ignore = "needs a Slurm cluster"]
fn sweep_survives_kills_of_its_submitter() {
    let scratch = Scratch::new();
    let start = || {
        let mut command = Command::new(env::current_exe().unwrap());
        command.args(["cluster::sweep::submitter_of_the_sweep", "--exact", "--ignored", "--nocapture"]);
        command.env(DIRECTORY, scratch.path("")).stdout(Stdio::piped()).spawn().unwrap()
    };
    let mut random = Random::new(20);
    for _ in 0..20 {
        let mut child = start();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        while !lines.next().unwrap().unwrap().contains("begins") {}
        // The moment of the kill is random, so that it hits every step of a submission.
        thread::park_timeout(Duration::from_millis(random.below(900)));
        child.kill().unwrap();
        child.wait().unwrap();
    }
    let output = start().wait_with_output().unwrap();
    let printed = String::from_utf8(output.stdout).unwrap();
    println!("{printed}");
    assert!(output.status.success() && printed.contains("sweep done"), "{printed}");
    assert_eq!(scratch.lines("log"), usize::try_from(CALLS).unwrap(), "bodies that ran");
}
