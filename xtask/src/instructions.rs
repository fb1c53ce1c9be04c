//! `cargo xtask instructions`: how many instructions a call takes, beside what it took when that was last written down.
//!
//! Instructions in user space are counted, not time, so that a machine that is busy does not matter. A program makes calls
//! of a kind, once few and once many; what the two runs differ by is the calls' alone. Valgrind shows every program the
//! same processor, up to AVX2, so that code that is chosen as the program runs is the same everywhere.

mod callgrind;
mod kept;

use std::{
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use crate::document;
use callgrind::Counts;
use kept::Kept;

/// What to compare with, and whether to write it.
#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// Writes what is counted down, to be compared with from now on, and where it goes into `docs/performance.md`
    #[arg(long)]
    write: bool,
    /// Shows the functions in which a call's instructions are
    #[arg(long)]
    profile: bool,
    /// The figures to compare with
    #[arg(long, value_name = "FILE", default_value_os_t = Kept::file())]
    kept: PathBuf,
    /// Compares these figures, of a file like the one compared with, and counts nothing
    #[arg(long, value_name = "FILE", conflicts_with_all = ["write", "profile"])]
    counted: Option<PathBuf>,
}

/// Counts, compares and tells.
///
/// # Errors
/// A message where nothing can be counted, and where a kind of call takes over a tenth more than was written down.
pub(crate) fn run(Arguments { write, profile, kept, counted }: &Arguments) -> Result<(), String> {
    if let Some(file) = counted {
        return Kept::read(kept)?.compare(&Kept::read(file)?);
    }
    let valgrind = callgrind::version()?;
    let program = build()?;
    let kinds = kinds(&program)?;
    let scratch = tempfile::tempdir().map_err(|error| format!("no directory for stores: {error}"))?;
    let mut profiles = Vec::new();
    for kind in &kinds {
        let per_call = kind.count(&program, scratch.path())?;
        println!("{}: {:.0} instructions a call", kind.name, total(&per_call));
        if *profile {
            println!("{}", lines(&per_call));
        }
        profiles.push((&*kind.name, per_call));
    }
    let counted = Kept::new(&valgrind, profiles.iter().map(|(name, per_call)| (*name, total(per_call))));
    if *write {
        document::write(document::PERFORMANCE, "profile", &section(&profiles))?;
        return counted.write(kept);
    }
    Kept::read(kept)?.compare(&counted)
}

/// Builds the program that makes the calls.
fn build() -> Result<PathBuf, String> {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut command = Command::new(cargo);
    command.args(["build", "--quiet", "--release", "--package", "fleche-bench", "--bin", "fleche-instructions"]);
    command.arg("--message-format=json-render-diagnostics").stderr(Stdio::inherit());
    let output = command.output().map_err(|error| format!("cannot run cargo: {error}"))?;
    if !output.status.success() {
        return Err(format!("the program to count the instructions of cannot be built ({})", output.status));
    }
    let messages = String::from_utf8_lossy(&output.stdout);
    let built = messages.lines().filter_map(|line| serde_json::from_str::<serde_json::Value>(line).ok());
    let mut executables = built.filter_map(|message| Some(PathBuf::from(message.get("executable")?.as_str()?)));
    executables.next_back().ok_or_else(|| "cargo does not say where the program is that it has built".to_owned())
}

/// A kind of call.
struct Kind {
    name: String,
    /// How many calls a short run makes, and a long one.
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
    kinds.filter(|kinds| !kinds.is_empty()).ok_or_else(|| format!("{} tells no kinds", program.display()))
}

impl Kind {
    fn count(&self, program: &Path, scratch: &Path) -> Result<Vec<(String, f64)>, String> {
        let directory = scratch.join(&self.name);
        std::fs::create_dir(&directory).map_err(|error| format!("no directory for stores: {error}"))?;
        let path = directory.to_str().ok_or("the directory for stores has a name that is not text")?;
        let prepared = Command::new(program).args(["prepare", &self.name, path]).status();
        if !prepared.is_ok_and(|status| status.success()) {
            return Err(format!("{}: what it needs cannot be prepared", self.name));
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

/// How many functions are shown of each kind.
const SHOWN: usize = 8;

fn lines(per_call: &[(String, f64)]) -> String {
    let line = |(name, count): &(String, f64)| format!("{count:>9.0}  {name}");
    per_call.iter().take(SHOWN).map(line).collect::<Vec<_>>().join("\n")
}

/// Where the instructions are, for the document.
fn section(profiles: &[(&str, Vec<(String, f64)>)]) -> String {
    let taken = |(_, count): &&(String, f64)| *count >= 1.0;
    let function = |(name, count): &(String, f64)| format!("{count:.0} `{}`", short(name));
    let kind = |(name, per_call): &(&str, Vec<_>)| {
        let most: Vec<_> = per_call.iter().filter(taken).take(SHOWN).map(function).collect();
        format!("| {name} | {:.0} | {} |", total(per_call), most.join(", "))
    };
    let kinds: Vec<_> = profiles.iter().map(kind).collect();
    format!("| call | instructions | of these, in themselves |\n|---|---:|---|\n{}\n", kinds.join("\n"))
}

/// The name with the last two parts of each path in it.
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
    fn names_are_short_and_still_names() {
        assert_eq!(short("fleche_core::memo::look_up"), "memo::look_up");
        assert_eq!(short("quick_cache::sync::Cache<Key,Val<T>>::get"), "sync::Cache<Key,Val<T>>::get");
        assert_eq!(short("<a::b::C<S> as core::ops::drop::Drop>::drop"), "<b::C<S> as drop::Drop>::drop");
        assert_eq!(short("code without a name"), "code without a name");
    }

    #[test]
    fn the_section_has_a_line_for_each_kind() {
        let profiles = [("hit", vec![("a".to_owned(), 2.6), ("b".to_owned(), 1.0)])];
        let section = section(&profiles);
        assert!(section.ends_with("| hit | 4 | 3 `a`, 1 `b` |\n"), "{section}");
    }
}
