//! On what the figures were measured.

use std::{env, fs, process::Command, thread};

use serde::Deserialize;

/// The lock file that this build had, from which the versions of peers are read.
const LOCK: &str = include_str!("../../../Cargo.lock");
/// What figures depend on apart from the machine, as `Cargo.lock` calls it.
const MADE_OF: [&str; 7] = ["cached", "moka", "quick_cache", "redb", "rusqlite", "sled", "blake3"];

/// Machine, versions and kind of build, for the head of a report: a list, in Markdown.
///
/// # Errors
/// Where `Cargo.lock` cannot be read.
pub(crate) fn header() -> Result<String, String> {
    let cores = thread::available_parallelism().map_or(0, Into::into);
    let build = if cfg!(debug_assertions) { "not optimised: the figures say nothing" } else { "optimised" };
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

/// The compiler that cargo, by which this program is built and run, uses.
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

/// Each crate's version that this one depends on; of crates that only others depend on, every one that there is.
fn versions(lock: &str) -> Result<String, String> {
    let Lock { package: packages } =
        toml::from_str(lock).map_err(|error| format!("cannot read Cargo.lock: {error}"))?;
    let ours = packages.iter().find(|package| package.name == env!("CARGO_PKG_NAME"));
    // Cargo writes `name version` for a dependency of which there are several.
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
    fn the_version_is_the_one_that_this_crate_depends_on() {
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
