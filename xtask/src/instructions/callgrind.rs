//! Counts instructions by function with valgrind's tool callgrind.
//!
//! The manual of valgrind describes the output in "Callgrind Format Specification".

use std::{collections::BTreeMap, path::Path, process::Command};

/// The instructions of a run by function, each without the functions it calls.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Counts(BTreeMap<String, u64>);

/// Returns the version of valgrind.
///
/// # Errors
/// Fails if valgrind cannot be run.
pub(super) fn version() -> Result<String, String> {
    let said = Command::new("valgrind")
        .arg("--version")
        .output()
        .map_err(|error| format!("cannot run valgrind: {error}; install it: on Debian, `apt-get install valgrind`"))?;
    Ok(String::from_utf8_lossy(&said.stdout).trim().to_owned())
}

/// Runs a program and counts its instructions. Valgrind writes its output to the file `scratch`.
///
/// # Errors
/// Fails if the program fails under valgrind, or the output cannot be read.
pub(super) fn count(program: &Path, arguments: &[&str], scratch: &Path) -> Result<Counts, String> {
    let mut command = Command::new("valgrind");
    command.args(["--tool=callgrind", "--compress-strings=no", "--compress-pos=no"]);
    command.arg(format!("--callgrind-out-file={}", scratch.display())).arg(program).args(arguments);
    // glibc consolidates its fast bins at times that depend on the layout of the heap. Without fast bins, every run executes
    // the same instructions.
    command.env("GLIBC_TUNABLES", "glibc.malloc.mxfast=0");
    let output = command.output().map_err(|error| format!("cannot run valgrind: {error}"))?;
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr);
        return Err(format!("{} {} failed under valgrind:\n{said}", program.display(), arguments.join(" ")));
    }
    let text = std::fs::read(scratch).map_err(|error| format!("cannot read {}: {error}", scratch.display()))?;
    Ok(Counts::read(&String::from_utf8_lossy(&text)))
}

impl Counts {
    fn read(text: &str) -> Self {
        let mut counts = BTreeMap::<String, u64>::new();
        let (mut function, mut is_of_callee) = ("", false);
        for line in text.lines() {
            if let Some(name) = line.strip_prefix("fn=") {
                function = name;
            } else if line.starts_with("calls=") {
                // The next line is the inclusive cost of the callee, whose own lines are counted separately.
                is_of_callee = true;
            } else if line.starts_with(|char: char| char.is_ascii_digit()) {
                let cost = line.split_whitespace().nth(1).and_then(|cost| cost.parse::<u64>().ok());
                if !std::mem::take(&mut is_of_callee) {
                    *counts.entry(named(function)).or_default() += cost.unwrap_or_default();
                }
            }
        }
        Self(counts)
    }

    /// Returns the instructions per call by function, in descending order.
    ///
    /// They are the difference of the two runs, divided by the number of additional calls in the long one.
    #[allow(clippy::cast_precision_loss)] // The counts are far below 2^52.
    pub(super) fn per_call(short: &Self, long: &Self, more: u64) -> Vec<(String, f64)> {
        let taken = |counts: &Self, name: &str| counts.0.get(name).copied().unwrap_or_default() as f64;
        let names = short.0.keys().chain(long.0.keys().filter(|name| !short.0.contains_key(*name)));
        let mut per_call: Vec<_> =
            names.map(|name| (name.clone(), (taken(long, name) - taken(short, name)) / more as f64)).collect();
        per_call.sort_by(|one, other| other.1.total_cmp(&one.1));
        per_call
    }
}

/// Returns the function's name without callgrind's suffix for recursion, and one common name for all unnamed code.
fn named(function: &str) -> String {
    if function.starts_with("0x") {
        return "code without a name (assembly, the loader)".to_owned();
    }
    let recursive = function.rsplit_once('\'').filter(|(_, depth)| depth.parse::<u32>().is_ok());
    recursive.map_or(function, |(name, _)| name).to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    const SHORT: &str = "\
# callgrind format
positions: line
events: Ir
summary: 130

fl=a.rs
fn=outer
1 10
cfn=inner
calls=2 7
2 90
3 5

fn=inner
7 80
fi=b.rs
8 10
fn=0x0000000000402b80
0 25
";

    #[test]
    fn counts_of_a_function_exclude_its_callees() {
        let counts = Counts::read(SHORT);
        let expected = [("code without a name (assembly, the loader)", 25), ("inner", 90), ("outer", 15)];
        assert_eq!(counts, Counts(expected.map(|(name, count)| (name.to_owned(), count)).into()));
    }

    #[test]
    fn instructions_common_to_both_runs_are_not_counted() {
        let long = SHORT.replace("7 80", "7 280").replace("fn=inner", "fn=inner'2");
        let per_call = Counts::per_call(&Counts::read(SHORT), &Counts::read(&long), 100);
        assert_eq!(per_call[0], ("inner".to_owned(), 2.0));
        assert!(per_call[1..].iter().all(|(_, count)| *count == 0.0), "{per_call:?}");
    }
}
