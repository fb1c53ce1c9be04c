//! Runs a child process of this test binary, since configuration depends on the environment and the directory.

use std::{
    cell::Cell,
    env, fs,
    path::{Path, PathBuf},
    process::Command,
    thread,
    time::{Duration, Instant},
};

use fleche_core::{Cache, active_cache, config::ConfigFile, fleche};
use tracing_subscriber::layer::SubscriberExt as _;

/// The environment variable that selects the child's task; not set in an ordinary test run.
const TASK: &str = "FLECHE_TEST_CHILD";

#[fleche]
fn triple(x: u64) -> u64 {
    println!("body");
    x * 3
}

#[test]
fn child_process() {
    match env::var(TASK).as_deref() {
        Ok("files") => match ConfigFile::from_environment() {
            Ok(found) => println!("found {:?}", found.caches.keys().collect::<Vec<_>>()),
            Err(error) => println!("error {error}"),
        },
        Ok("environment") => match Cache::from_environment() {
            Ok(cache) => println!("found {:?}", cache.config()),
            Err(error) => println!("error {error}"),
        },
        Ok("default by name") => {
            for _ in 0..2 {
                match Cache::named("default") {
                    Ok(cache) => println!("found {:?}", cache.config()),
                    Err(error) => println!("error {error}"),
                }
            }
            println!("result {}", triple(2));
        }
        Ok("misspelt name") => println!("error {}", Cache::named("mien").unwrap_err()),
        Ok("evict") => match triple::evict(2) {
            Ok(was_there) => println!("evicted {was_there}"),
            Err(error) => println!("error {error}"),
        },
        Ok("call") => {
            println!("result {}", triple(2));
            println!("result {}", triple(2));
            println!("found {:?}", active_cache().config());
        }
        Ok("retry") => retry(),
        Ok("logger") => {
            tracing::subscriber::set_global_default(tracing_subscriber::registry().with(Calling)).unwrap();
            println!("result {}", triple(2));
            println!("result {}", triple(2));
        }
        _ => {}
    }
}

/// Makes calls while the store cannot be opened, and after it has been opened.
fn retry() {
    println!("result {}", triple(2));
    println!("stand-in {:?}", active_cache().config());
    fs::remove_file(BLOCKED).unwrap();
    let begun = Instant::now();
    let is_open = || format!("{:?}", active_cache().config()).contains(BLOCKED);
    while !is_open() {
        assert!(begun.elapsed() < Duration::from_mins(2), "the store is not opened again");
        thread::yield_now();
    }
    println!("result {}", triple(2));
    println!("result {}", triple(2));
}

/// The name of a file in the place of a store's directory.
pub(crate) const BLOCKED: &str = "blocked";

/// A logger that calls a memoized function.
struct Calling;

impl<S: tracing::Subscriber> tracing_subscriber::Layer<S> for Calling {
    fn on_event(&self, event: &tracing::Event<'_>, _: tracing_subscriber::layer::Context<'_, S>) {
        thread_local!(static LOGS: Cell<bool> = const { Cell::new(false) });
        if *event.metadata().level() <= tracing::Level::WARN && !LOGS.replace(true) {
            println!("logged {}", triple(4));
            LOGS.set(false);
        }
    }
}

/// The output of a child.
pub(crate) struct Said {
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl Said {
    /// Returns the rest of the first line of standard output that contains this word.
    pub(crate) fn after(&self, word: &str) -> &str {
        let line = self.stdout.lines().find_map(|line| line.split_once(word));
        line.unwrap_or_else(|| panic!("no `{word}` in {}\n{}", self.stdout, self.stderr)).1.trim()
    }

    /// Returns how many bodies ran.
    pub(crate) fn bodies(&self) -> usize {
        self.stdout.matches("body\n").count()
    }

    /// Returns the warnings and errors that fleche has printed.
    pub(crate) fn messages(&self) -> Vec<&str> {
        self.stderr.lines().filter(|line| line.starts_with("fleche: ")).collect()
    }
}

/// A child in a directory, with an empty home directory.
pub(crate) struct Child {
    command: Command,
}

impl Child {
    pub(crate) fn new(task: &str, directory: &Path) -> Self {
        let mut command = Command::new(env::current_exe().unwrap());
        command.args(["--exact", "child::child_process", "--nocapture"]).env(TASK, task).current_dir(directory);
        for variable in ["FLECHE", "FLECHE_CONFIG", "FLECHE_LOG"] {
            command.env_remove(variable);
        }
        let home = home(directory);
        command.env("HOME", &home).env("XDG_CONFIG_HOME", home);
        Self { command }
    }

    pub(crate) fn env(mut self, name: &str, value: &str) -> Self {
        self.command.env(name, value);
        self
    }

    pub(crate) fn run(mut self) -> Said {
        let output = self.command.output().unwrap();
        assert!(output.status.success(), "{output:?}");
        let text = |bytes| String::from_utf8(bytes).unwrap();
        Said { stdout: text(output.stdout), stderr: text(output.stderr) }
    }
}

/// Returns the home directory of children in this directory.
pub(crate) fn home(directory: &Path) -> PathBuf {
    directory.join("home")
}
