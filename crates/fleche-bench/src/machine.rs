//! Describes the machine, the build and the versions of peers that the figures depend on.

use std::{env, fs, process::Command, thread};

use serde::Deserialize;

/// The lock file of this build, which contains the versions of the peers.
const LOCK: &str = include_str!("../../../Cargo.lock");
/// The packages that the figures depend on, by their names in `Cargo.lock`.
const MADE_OF: [&str; 7] = ["cached", "moka", "quick_cache", "redb", "rusqlite", "sled", "blake3"];

/// Returns a Markdown list of the machine, the versions and the kind of build, for the head of a report.
///
/// # Errors
/// Fails if `Cargo.lock` cannot be parsed.
pub(crate) fn header() -> Result<String, String> {
    let cores = thread::available_parallelism().map_or(0, Into::into);
    let build = if cfg!(debug_assertions) { "not optimised (the figures mean nothing)" } else { "optimised" };
    Ok(format!(
        "- machine: {}, {cores} cores, {} {}, kernel {}\n\
         - fleche {}, {build}, {}\n\
         - peers: {}; SQLite {}\n",
        processor().unwrap_or_else(|| "unknown processor".to_owned()),
        env::consts::OS,
        env::consts::ARCH,
        kernel().unwrap_or_else(|| "unknown".to_owned()),
        env!("CARGO_PKG_VERSION"),
        compiler().unwrap_or_else(|| "unknown compiler".to_owned()),
        versions(LOCK)?,
        rusqlite::version(),
    ))
}

fn processor() -> Option<String> {
    let info = fs::read_to_string("/proc/cpuinfo").ok()?;
    let model = info.lines().find_map(|line| line.strip_prefix("model name"))?;
    Some(model.trim_start_matches([' ', '\t', ':']).to_owned())
}

fn kernel() -> Option<String> {
    Some(fs::read_to_string("/proc/sys/kernel/osrelease").ok()?.trim().to_owned())
}

/// Returns the version of the compiler that cargo uses to build and run this program, or `None` if it cannot be determined.
fn compiler() -> Option<String> {
    let compiler = env::var_os("RUSTC").unwrap_or_else(|| "rustc".into());
    let said = Command::new(compiler).arg("--version").output().ok()?;
    Some(String::from_utf8(said.stdout).ok()?.trim().to_owned())
}

#[derive(Deserialize)]
struct Lock {
    package: Vec<Package>,
}

#[derive(Deserialize)]
struct Package {
    name: String,
    version: String,
    #[serde(default)]
    dependencies: Vec<String>,
}

/// Returns the version of each package in [`MADE_OF`] that this crate depends on.
///
/// For packages that only other crates depend on, it returns all versions in the lock file.
fn versions(lock: &str) -> Result<String, String> {
    let Lock { package: packages } =
        toml::from_str(lock).map_err(|error| format!("cannot read Cargo.lock: {error}"))?;
    let ours = packages.iter().find(|package| package.name == env!("CARGO_PKG_NAME"));
    // Cargo writes `name version` for a dependency that is locked in several versions.
    let exact = |name: &str| {
        let mut dependencies = ours.iter().flat_map(|ours| &ours.dependencies);
        dependencies.find_map(|one| one.strip_prefix(name)?.strip_prefix(' ').map(str::to_owned))
    };
    let all = |name: &str| {
        let named = packages.iter().filter(|package| package.name == name);
        named.map(|package| &*package.version).collect::<Vec<_>>().join(" and ")
    };
    Ok(MADE_OF.map(|name| format!("{name} {}", exact(name).unwrap_or_else(|| all(name)))).join(", "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn version_is_the_one_this_crate_depends_on() {
        let lock = "\
[[package]]
name = \"cached\"
version = \"1.0.0\"

[[package]]
name = \"cached\"
version = \"2.0.0\"

[[package]]
name = \"fleche-bench\"
version = \"0.1.0\"
dependencies = [\"cached 2.0.0\", \"moka\"]

[[package]]
name = \"moka\"
version = \"3.0.0\"
";
        let versions = versions(lock).unwrap();
        assert!(versions.starts_with("cached 2.0.0, moka 3.0.0, "), "{versions}");
    }
}
