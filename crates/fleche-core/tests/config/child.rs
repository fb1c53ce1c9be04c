//! A child process of this test binary: what a program finds depends on its environment and its directory.

use std::{
    env,
    path::{Path, PathBuf},
    process::Command,
};

use fleche_core::{Cache, active_cache, config::ConfigFile, fleche};

/// What the child is to do; not set in an ordinary test run.
const TASK: &str = "FLECHE_TEST_CHILD";

#[fleche]
fn triple(x: u64) -> u64 {
    println!("body");
    x * 3
}

#[test]
fn child() {
    match env::var(TASK).as_deref() {
        Ok("files") => match ConfigFile::from_environment() {
            Ok(found) => println!("found {:?}", found.caches.keys().collect::<Vec<_>>()),
            Err(error) => println!("error {error}"),
        },
        Ok("environment") => match Cache::from_environment() {
            Ok(cache) => println!("found {:?}", cache.config()),
            Err(error) => println!("error {error}"),
        },
        Ok("evict") => match triple::evict(2) {
            Ok(was_there) => println!("evicted {was_there}"),
            Err(error) => println!("error {error}"),
        },
        Ok("call") => {
            println!("result {}", triple(2));
            println!("result {}", triple(2));
            println!("found {:?}", active_cache().config());
        }
        _ => {}
    }
}

/// What a child has said.
pub(crate) struct Said {
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl Said {
    /// What follows this word at the beginning of a line of its standard output.
    pub(crate) fn after(&self, word: &str) -> &str {
        let line = self.stdout.lines().find_map(|line| line.split_once(word));
        line.unwrap_or_else(|| panic!("no `{word}` in {}\n{}", self.stdout, self.stderr)).1.trim()
    }

    /// How many bodies ran.
    pub(crate) fn bodies(&self) -> usize {
        self.stdout.matches("body\n").count()
    }

    /// The lines that fleche has printed as warnings and errors.
    pub(crate) fn messages(&self) -> Vec<&str> {
        self.stderr.lines().filter(|line| line.starts_with("fleche: ")).collect()
    }
}

/// A child in a directory, without a home.
pub(crate) struct Child {
    command: Command,
}

impl Child {
    pub(crate) fn new(task: &str, directory: &Path) -> Self {
        let mut command = Command::new(env::current_exe().unwrap());
        command.args(["--exact", "child::child", "--nocapture"]).env(TASK, task).current_dir(directory);
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

/// The home directory of children in this one.
pub(crate) fn home(directory: &Path) -> PathBuf {
    directory.join("home")
}
