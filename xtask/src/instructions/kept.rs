//! `instructions.toml`: what each kind of call took when that was last written down.

use std::{
    collections::BTreeMap,
    fmt::Write as _,
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use serde::{Deserialize, Serialize};

use crate::document;

/// A count may be off by this part of what was written down. Seeds of hash tables and the order of threads account for one
/// or two hundredths; a compiler for more.
const ALLOWED: f64 = 0.1;
const CURE: &str = "if it is meant to be so, `cargo xtask instructions --write` writes it down";

/// Instructions of each kind of call, and what they were counted with.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Kept {
    /// The versions of compiler and valgrind, and the machine.
    counted_with: String,
    calls: BTreeMap<String, u64>,
}

impl Kept {
    /// Where it is kept.
    pub(super) fn file() -> PathBuf {
        document::file("crates/fleche-bench/instructions.toml")
    }

    /// What was counted just now.
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)] // What a call takes is small, and not below 0.
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
        let text = format!(
            "# Instructions a call, in user space: `cargo xtask instructions --write` writes this file.\n{text}"
        );
        fs::write(file, text).map_err(|error| format!("cannot write {}: {error}", file.display()))?;
        println!("wrote {}", file.display());
        Ok(())
    }

    /// Tells what has fallen by over a tenth.
    ///
    /// # Errors
    /// What has risen by as much, and kinds of which there is only one of the two figures.
    pub(super) fn compare(&self, counted: &Self) -> Result<(), String> {
        let mut wrong = String::new();
        for name in self.calls.keys().filter(|name| !counted.calls.contains_key(*name)) {
            let _ = writeln!(wrong, "{name}: is kept, and there is no such kind of call; {CURE}");
        }
        for (name, &now) in &counted.calls {
            let Some(&before) = self.calls.get(name) else {
                let _ = writeln!(wrong, "{name}: {now} instructions a call, and none are kept; {CURE}");
                continue;
            };
            #[allow(clippy::cast_precision_loss)] // Far below 2^52.
            let change = now as f64 / before as f64 - 1.0;
            let line = format!("{name}: {now} instructions a call, {before} are kept ({:+.0} %)", change * 100.0);
            if change > ALLOWED {
                let _ = writeln!(wrong, "{line}: find out what made it slower; {CURE}");
            } else if change < -ALLOWED {
                println!("{line}: keep what was won: `cargo xtask instructions --write` writes it down");
            }
        }
        if wrong.is_empty() {
            println!("instructions: {} kinds of calls take what they took, or less", counted.calls.len());
            return Ok(());
        }
        if self.counted_with != counted.counted_with {
            let _ = writeln!(wrong, "counted with {}, kept from {}", counted.counted_with, self.counted_with);
        }
        Err(wrong)
    }
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).trim().to_owned()
}
