//! Tests of the suite with executors that break one promise each: the case of that promise must fail, and a sound executor
//! must pass.

use std::{
    sync::{Arc, Mutex, mpsc},
    thread,
};

use fleche_conformance::{ExecutorCase, Selection, executor, run_executor};
use fleche_core::{
    Executor, Result, Task,
    executor::{ExecutorConfig, Resources, SubmitError},
    register_executor,
    store::Reach,
};
use fleche_example_backend as _;
use serde::{Deserialize, Serialize};

/// The fault of an executor.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
enum Fault {
    Nothing,
    /// Every third task is dropped.
    DropsTasks,
    /// Unknown options are not refused.
    IgnoresOptions,
    /// The executor declares that its workers are other processes.
    LiesOfItsReach,
    /// The configuration names another executor.
    LiesOfItsName,
}

/// Two threads that take tasks from a queue.
#[derive(Clone, Debug)]
struct Broken {
    fault: Fault,
    queue: Arc<Mutex<mpsc::Sender<Task>>>,
    submitted: Arc<Mutex<u32>>,
}

impl Broken {
    #[allow(clippy::unnecessary_wraps)] // The signature is that of executors that can fail to start.
    fn scratch(fault: Fault) -> Result<Arc<dyn Executor>> {
        let (queue, tasks) = mpsc::channel::<Task>();
        let tasks = Arc::new(Mutex::new(tasks));
        for _ in 0..2 {
            let tasks = tasks.clone();
            thread::spawn(move || {
                let next = || tasks.lock().unwrap().recv();
                while let Ok(task) = next() {
                    task.run();
                }
            });
        }
        Ok(Arc::new(Self { fault, queue: Arc::new(Mutex::new(queue)), submitted: Arc::default() }))
    }
}

impl Executor for Broken {
    fn submit_task(&self, task: Task) -> Result<(), SubmitError> {
        let mut submitted = self.submitted.lock().unwrap();
        *submitted += 1;
        let nth = *submitted;
        drop(submitted);
        match self.fault {
            Fault::DropsTasks if nth.is_multiple_of(3) => drop(task),
            _ => self.queue.lock().unwrap().send(task).unwrap(),
        }
        Ok(())
    }

    fn submit_with(&self, task: Task, resources: &Resources) -> Result<(), SubmitError> {
        if self.fault == Fault::IgnoresOptions {
            return self.submit_task(task);
        }
        self.submit_task(resources.known_to(task, "a pool that may be broken", &[])?)
    }

    fn config(&self) -> Box<dyn ExecutorConfig> {
        if self.fault == Fault::LiesOfItsName { Box::new(Other) } else { Box::new(Sound) }
    }

    fn reach(&self) -> Reach {
        if self.fault == Fault::LiesOfItsReach { Reach::Shared } else { Reach::Process }
    }
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Sound;

#[typetag::serde(name = "sound")]
impl ExecutorConfig for Sound {
    fn open(&self) -> Result<Arc<dyn Executor>> {
        Broken::scratch(Fault::Nothing)
    }
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Other;

#[typetag::serde(name = "other")]
impl ExecutorConfig for Other {
    fn open(&self) -> Result<Arc<dyn Executor>> {
        Broken::scratch(Fault::Nothing)
    }
}

macro_rules! register {
    ($($name:literal, $fault:ident, $reach:ident;)*) => {$(
        register_executor! {
            name: $name,
            summary: "two threads, for the tests of the suite",
            reach: Reach::$reach,
            at_once: 2,
            calls: 10_000,
            scratch: || Broken::scratch(Fault::$fault),
        }
    )*};
}

register! {
    "sound", Nothing, Process;
    "drops-tasks", DropsTasks, Process;
    "ignores-options", IgnoresOptions, Process;
    "lies-of-its-reach", LiesOfItsReach, Shared;
    "lies-of-its-name", LiesOfItsName, Process;
}

/// Returns the cases that the executor with this name fails.
fn failures(name: &str) -> Vec<&'static str> {
    let report = run_executor(executor(name).unwrap(), &Selection::<ExecutorCase>::all());
    report.failures().map(|outcome| outcome.case).collect()
}

#[test]
fn sound_executor_passes_every_case() {
    assert_eq!(failures("sound"), [""; 0]);
}

#[test]
fn executor_that_drops_tasks_is_caught() {
    let failures = failures("drops-tasks");
    assert!(failures.contains(&"executors::many_calls") && failures.contains(&"executors::miss"), "{failures:?}");
}

#[test]
fn executor_that_ignores_options_is_caught() {
    assert!(failures("ignores-options").contains(&"executors::unknown_option"));
}

#[test]
fn executor_that_declares_a_wrong_reach_is_caught() {
    assert!(failures("lies-of-its-reach").contains(&"executors::nested"));
}

#[test]
fn executor_whose_configuration_names_another_is_caught() {
    assert!(failures("lies-of-its-name").contains(&"executors::config"));
}

#[test]
fn error_for_unlinked_executor_says_how_to_link_it() {
    let error = executor("nowhere").unwrap_err().to_string();
    for part in ["`nowhere`", "`sound`", "register_executor!"] {
        assert!(error.contains(part), "{error}");
    }
}
