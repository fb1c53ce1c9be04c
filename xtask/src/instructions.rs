//! `cargo xtask instructions`: counts the instructions of a call, and compares them with a stored baseline.
//!
//! Instructions in user space are counted, not time, so that load on the machine does not matter. A program makes calls of
//! one kind, once few and once many; the difference of the two runs is due to the calls alone. Valgrind emulates the same
//! processor everywhere, with features up to AVX2, so that code that is selected at run time is the same everywhere.

mod baseline;
mod callgrind;

use std::{
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use baseline::Baseline;
use callgrind::Counts;

use crate::report::{PERFORMANCE, update_document};

/// The arguments of `cargo xtask instructions`.
#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// Write the counts as the new baseline, and the profile to `docs/performance.md`
    #[arg(long)]
    write: bool,
    /// Show the functions that execute a call's instructions
    #[arg(long)]
    profile: bool,
    /// The baseline to compare with
    #[arg(long, value_name = "FILE", default_value_os_t = Baseline::file())]
    kept: PathBuf,
    /// Compare the counts of this file, which has the format of the baseline, and count nothing
    #[arg(long, value_name = "FILE", conflicts_with_all = ["write", "profile"])]
    counted: Option<PathBuf>,
}

/// Counts the instructions, compares them with the baseline and prints the differences.
///
/// # Errors
/// Fails if the instructions cannot be counted, or if a kind of call takes over a tenth more than in the baseline.
pub(crate) fn run(Arguments { write, profile, kept, counted }: &Arguments) -> Result<(), String> {
    if let Some(file) = counted {
        return Baseline::read(kept)?.compare(&Baseline::read(file)?);
    }
    let valgrind = callgrind::version()?;
    let program = build()?;
    let kinds = kinds(&program)?;
    let scratch = tempfile::tempdir().map_err(|error| format!("cannot create a temporary directory: {error}"))?;
    let mut profiles = Vec::new();
    for kind in &kinds {
        let per_call = kind.count(&program, scratch.path())?;
        println!("{}: {:.0} instructions per call", kind.name, total(&per_call));
        if *profile {
            println!("{}", lines(&per_call));
        }
        profiles.push((&*kind.name, per_call));
    }
    let counted = Baseline::new(&valgrind, profiles.iter().map(|(name, per_call)| (*name, total(per_call))));
    if *write {
        update_document(PERFORMANCE, "profile", &section(&profiles))?;
        return counted.write(kept);
    }
    Baseline::read(kept)?.compare(&counted)
}

/// Builds the program that makes the calls.
fn build() -> Result<PathBuf, String> {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut command = Command::new(cargo);
    command.args(["build", "--quiet", "--release", "--package", "fleche-bench", "--bin", "fleche-instructions"]);
    command.arg("--message-format=json-render-diagnostics").stderr(Stdio::inherit());
    let output = command.output().map_err(|error| format!("cannot run cargo: {error}"))?;
    if !output.status.success() {
        return Err(format!("cannot build `fleche-instructions` ({})", output.status));
    }
    let messages = String::from_utf8_lossy(&output.stdout);
    let built = messages.lines().filter_map(|line| serde_json::from_str::<serde_json::Value>(line).ok());
    let mut executables = built.filter_map(|message| Some(PathBuf::from(message.get("executable")?.as_str()?)));
    executables.next_back().ok_or_else(|| "cargo does not report the path of the program it has built".to_owned())
}

/// A kind of call.
struct Kind {
    name: String,
    /// The numbers of calls in a short and in a long run.
    runs: [u64; 2],
}

fn kinds(program: &Path) -> Result<Vec<Kind>, String> {
    let said = Command::new(program).arg("list").output();
    let said = said.map_err(|error| format!("cannot run {}: {error}", program.display()))?;
    let kind = |line: &str| match *line.split_whitespace().collect::<Vec<_>>() {
        [name, short, long] => Some(Kind { name: name.to_owned(), runs: [short.parse().ok()?, long.parse().ok()?] }),
        _ => None,
    };
    let kinds: Option<Vec<_>> = String::from_utf8_lossy(&said.stdout).lines().map(kind).collect();
    kinds.filter(|kinds| !kinds.is_empty()).ok_or_else(|| format!("{} lists no kinds of calls", program.display()))
}

impl Kind {
    fn count(&self, program: &Path, scratch: &Path) -> Result<Vec<(String, f64)>, String> {
        let directory = scratch.join(&self.name);
        std::fs::create_dir(&directory).map_err(|error| format!("cannot create a directory for stores: {error}"))?;
        let path = directory.to_str().ok_or("the path of the directory for stores is not valid UTF-8")?;
        let prepared = Command::new(program).args(["prepare", &self.name, path]).status();
        if !prepared.is_ok_and(|status| status.success()) {
            return Err(format!("{}: cannot prepare the stores that the calls need", self.name));
        }
        let run = |calls: u64| {
            let arguments = ["run", &self.name, path, &calls.to_string()];
            callgrind::count(program, &arguments, &scratch.join("callgrind.out"))
        };
        let [short, long] = self.runs;
        Ok(Counts::per_call(&run(short)?, &run(long)?, long.saturating_sub(short).max(1)))
    }
}

fn total(per_call: &[(String, f64)]) -> f64 {
    per_call.iter().map(|(_, count)| count).sum()
}

/// The number of functions that are shown for each kind.
const MAX_SHOWN: usize = 8;

fn lines(per_call: &[(String, f64)]) -> String {
    let line = |(name, count): &(String, f64)| format!("{count:>9.0}  {name}");
    per_call.iter().take(MAX_SHOWN).map(line).collect::<Vec<_>>().join("\n")
}

/// Formats the profiles as the document's table.
fn section(profiles: &[(&str, Vec<(String, f64)>)]) -> String {
    let taken = |(_, count): &&(String, f64)| *count >= 1.0;
    let function = |(name, count): &(String, f64)| format!("{count:.0} `{}`", short(name));
    let kind = |(name, per_call): &(&str, Vec<_>)| {
        let most: Vec<_> = per_call.iter().filter(taken).take(MAX_SHOWN).map(function).collect();
        format!("| {name} | {:.0} | {} |", total(per_call), most.join(", "))
    };
    let kinds: Vec<_> = profiles.iter().map(kind).collect();
    format!("| call | instructions | of these, in themselves |\n|---|---:|---|\n{}\n", kinds.join("\n"))
}

/// Shortens each path in the name to its last two segments.
fn short(name: &str) -> String {
    let in_path = |char: char| char.is_alphanumeric() || char == '_' || char == ':';
    let parts = name.split_inclusive(|char| !in_path(char)).map(|piece| {
        let end = piece.trim_end_matches(|char| !in_path(char)).len();
        let (path, after) = piece.split_at(end);
        let from = path.rmatch_indices("::").nth(1).map_or(0, |(at, _)| at + 2);
        format!("{}{after}", &path[from..])
    });
    parts.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_in_names_are_shortened_to_two_segments() {
        assert_eq!(short("fleche_core::engine::look_up"), "engine::look_up");
        assert_eq!(short("quick_cache::sync::Cache<Key,Val<T>>::get"), "sync::Cache<Key,Val<T>>::get");
        assert_eq!(short("<a::b::C<S> as core::ops::drop::Drop>::drop"), "<b::C<S> as drop::Drop>::drop");
        assert_eq!(short("code without a name"), "code without a name");
    }

    #[test]
    fn section_has_a_line_for_each_kind() {
        let profiles = [("hit", vec![("a".to_owned(), 2.6), ("b".to_owned(), 1.0)])];
        let section = section(&profiles);
        assert!(section.ends_with("| hit | 4 | 3 `a`, 1 `b` |\n"), "{section}");
    }
}
