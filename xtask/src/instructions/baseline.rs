//! Reads, writes and compares the baseline of instruction counts, `instructions.toml`.

use std::{
    collections::BTreeMap,
    fmt::Write as _,
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use serde::{Deserialize, Serialize};

use crate::report::workspace_file;

/// The fraction by which a count may differ from the baseline.
///
/// Hash seeds and the order of threads account for one or two per cent, another compiler for more.
const ALLOWED: f64 = 0.1;
const CURE: &str = "if this is intended, run `cargo xtask instructions --write` to update the baseline";

/// The instructions of each kind of call, and the environment they were counted in.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Baseline {
    /// The versions of the compiler and of valgrind, the architecture and the operating system.
    counted_with: String,
    calls: BTreeMap<String, u64>,
}

impl Baseline {
    /// Returns the path of the baseline.
    pub(super) fn file() -> PathBuf {
        workspace_file("crates/fleche-bench/instructions.toml")
    }

    /// Creates a set of counts from the instructions per call that were just counted.
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)] // Counts are small, and not negative.
    pub(super) fn new<'a>(valgrind: &str, calls: impl Iterator<Item = (&'a str, f64)>) -> Self {
        let compiler = Command::new(std::env::var_os("RUSTC").unwrap_or_else(|| "rustc".into())).arg("-V").output();
        let compiler = compiler.map_or_else(|_| "unknown compiler".to_owned(), |said| text(&said.stdout));
        let (architecture, system) = (std::env::consts::ARCH, std::env::consts::OS);
        Self {
            counted_with: format!("{compiler}, {valgrind}, {architecture} {system}"),
            calls: calls.map(|(name, count)| (name.to_owned(), count.round() as u64)).collect(),
        }
    }

    pub(super) fn read(file: &Path) -> Result<Self, String> {
        let text = fs::read_to_string(file).map_err(|error| format!("cannot read {}: {error}", file.display()))?;
        toml::from_str(&text).map_err(|error| format!("cannot read {}: {error}", file.display()))
    }

    pub(super) fn write(&self, file: &Path) -> Result<(), String> {
        let text = toml::to_string(self).map_err(|error| format!("cannot write {}: {error}", file.display()))?;
        let text =
            format!("# Instructions per call, in user space. Written by `cargo xtask instructions --write`.\n{text}");
        fs::write(file, text).map_err(|error| format!("cannot write {}: {error}", file.display()))?;
        println!("wrote {}", file.display());
        Ok(())
    }

    /// Compares new counts with this baseline, and prints those that have fallen by over a tenth.
    ///
    /// # Errors
    /// Fails with the counts that have risen by over a tenth, and the kinds that only one of the two contains.
    pub(super) fn compare(&self, counted: &Self) -> Result<(), String> {
        let mut wrong = String::new();
        for name in self.calls.keys().filter(|name| !counted.calls.contains_key(*name)) {
            let _ = writeln!(wrong, "{name}: in the baseline, but there is no such kind of call; {CURE}");
        }
        for (name, &now) in &counted.calls {
            let Some(&before) = self.calls.get(name) else {
                let _ = writeln!(wrong, "{name}: {now} instructions per call, not in the baseline; {CURE}");
                continue;
            };
            #[allow(clippy::cast_precision_loss)] // The counts are far below 2^52.
            let change = now as f64 / before as f64 - 1.0;
            let line = format!("{name}: {now} instructions per call, baseline {before} ({:+.0} %)", change * 100.0);
            if change > ALLOWED {
                let _ = writeln!(wrong, "{line}: find out what added instructions; {CURE}");
            } else if change < -ALLOWED {
                println!("{line}: run `cargo xtask instructions --write` to lower the baseline");
            }
        }
        if wrong.is_empty() {
            println!("instructions: {} kinds of calls are within the baseline", counted.calls.len());
            return Ok(());
        }
        if self.counted_with != counted.counted_with {
            let _ = writeln!(wrong, "counted with {}, baseline with {}", counted.counted_with, self.counted_with);
        }
        Err(wrong)
    }
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).trim().to_owned()
}
