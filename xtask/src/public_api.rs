//! `cargo xtask public-api`: lists the public API of each published crate, and compares it with the committed listing.
//!
//! The listing is made from rustdoc's JSON, a format that stable compilers write only if `RUSTC_BOOTSTRAP` is set. The variable
//! is set for rustdoc alone: if Cargo saw it, it would rebuild most dependencies.

use std::{
    collections::BTreeSet,
    env,
    ffi::OsString,
    fs,
    path::{Path, PathBuf},
    process::{Command, ExitCode, Stdio},
};

use public_api::Builder;
use serde_json::Value;

/// The directory of the listings.
const LISTINGS: &str = "docs/public-api";
/// The modules for the crates of this workspace, which may change with any version.
const UNSTABLE: [&str; 2] = ["fleche_core::spi", "fleche_remote::spi"];
/// The beginning of the names of modules that have only documentation, such as `_tutorial`.
const DOCUMENTATION: &str = "::_";
/// The variable with the path of rustdoc, which makes this program run it.
const RUSTDOC: &str = "FLECHE_XTASK_RUSTDOC";

/// The arguments of `cargo xtask public-api`.
#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// Write the listings instead of comparing them
    #[arg(long)]
    write: bool,
}

/// Compares the public API of each published crate with its listing, or writes the listings.
///
/// # Errors
/// Fails if the API differs from a listing, or if it cannot be listed.
pub(crate) fn run(Arguments { write }: &Arguments) -> Result<(), String> {
    let compiler = compiler()?;
    let workspace = workspace()?;
    let listing = |name: &str| workspace.root.join(LISTINGS).join(format!("{name}.txt"));
    if !write {
        // The text of an item depends on the compiler.
        for name in &workspace.published {
            let text = fs::read_to_string(listing(name)).unwrap_or_default();
            if let Some(other) = text.lines().next().filter(|first| *first != compiler) {
                println!("the public API is not compared: this is {compiler}, and {name} was listed with {other}");
                return Ok(());
            }
        }
    }
    document()?;
    let mut changes = Vec::new();
    for name in &workspace.published {
        let items = items(&workspace.documentation.join(format!("{}.json", name.replace('-', "_"))))?;
        let file = listing(name);
        if *write {
            let cannot = |error| format!("cannot write {}: {error}", file.display());
            fs::create_dir_all(workspace.root.join(LISTINGS)).map_err(cannot)?;
            fs::write(&file, format!("{compiler}\n{}\n", items.join("\n"))).map_err(cannot)?;
        } else {
            let listed =
                fs::read_to_string(&file).map_err(|error| format!("cannot read {}: {error}", file.display()))?;
            let listed: Vec<_> = listed.lines().skip(1).collect();
            changes.extend(differences(&listed, &items).into_iter().map(|change| format!("{name}: {change}")));
        }
    }
    if changes.is_empty() {
        println!("public API: {} crates", workspace.published.len());
        return Ok(());
    }
    let cure = "if this is meant, run `cargo xtask public-api --write`, and tell users in CHANGELOG.md";
    Err(format!("the public API has changed:\n{}\n{cure}", changes.join("\n")))
}

/// Runs rustdoc with this program's arguments if Cargo has started this program in rustdoc's place.
pub(crate) fn run_rustdoc() -> Option<ExitCode> {
    let rustdoc = env::var_os(RUSTDOC)?;
    let status = Command::new(&rustdoc).args(env::args_os().skip(1)).env("RUSTC_BOOTSTRAP", "1").status();
    Some(match status {
        Ok(status) if status.success() => ExitCode::SUCCESS,
        Ok(_) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("cannot run {}: {error}", rustdoc.display());
            ExitCode::FAILURE
        }
    })
}

fn program(variable: &str, name: &str) -> OsString {
    env::var_os(variable).unwrap_or_else(|| name.into())
}

/// Runs a command and returns what it prints.
fn output(command: &mut Command) -> Result<Vec<u8>, String> {
    let output =
        command.stderr(Stdio::inherit()).output().map_err(|error| format!("cannot run {command:?}: {error}"))?;
    if output.status.success() { Ok(output.stdout) } else { Err(format!("{command:?} failed ({})", output.status)) }
}

/// Returns the compiler's name and version, as in `rustc 1.95.0`.
fn compiler() -> Result<String, String> {
    let version = output(Command::new(program("RUSTC", "rustc")).arg("--version"))?;
    let version = String::from_utf8_lossy(&version);
    Ok(version.split_whitespace().take(2).collect::<Vec<_>>().join(" "))
}

struct Workspace {
    root: PathBuf,
    /// The names of the crates that are published.
    published: BTreeSet<String>,
    /// The directory to which Cargo writes documentation.
    documentation: PathBuf,
}

fn workspace() -> Result<Workspace, String> {
    let metadata =
        output(Command::new(program("CARGO", "cargo")).args(["metadata", "--no-deps", "--format-version=1"]))?;
    let metadata: Value = serde_json::from_slice(&metadata).map_err(|error| format!("cargo metadata: {error}"))?;
    let path =
        |name: &str| metadata[name].as_str().map(PathBuf::from).ok_or_else(|| format!("cargo metadata: no {name}"));
    let packages = metadata["packages"].as_array().into_iter().flatten();
    // The registries to which a crate may be published: null for all of them.
    let published = packages.filter(|package| package["publish"].is_null());
    Ok(Workspace {
        root: path("workspace_root")?,
        published: published.filter_map(|package| package["name"].as_str().map(str::to_owned)).collect(),
        documentation: path("target_directory")?.join("doc"),
    })
}

/// Documents all crates as JSON, with the features and dependencies of `cargo doc --workspace --all-features`.
fn document() -> Result<(), String> {
    let this = env::current_exe().map_err(|error| format!("cannot find this program: {error}"))?;
    let mut cargo = Command::new(program("CARGO", "cargo"));
    cargo.args(["doc", "--quiet", "--workspace", "--lib", "--all-features", "--no-deps", "--locked"]);
    cargo.env(RUSTDOC, program("RUSTDOC", "rustdoc")).env("RUSTDOC", this);
    cargo.env("RUSTDOCFLAGS", "-Z unstable-options --output-format json --cap-lints allow");
    output(&mut cargo).map(drop)
}

/// Returns the public items, one a line, without those that every type has and those that are derived.
fn items(json: &Path) -> Result<Vec<String>, String> {
    let builder = Builder::from_rustdoc_json(json).omit_blanket_impls(true).omit_auto_trait_impls(true);
    let api = builder.omit_auto_derived_impls(true).build();
    let api = api.map_err(|error| format!("cannot list {}: {error}", json.display()))?;
    let is_hidden = |item: &String| UNSTABLE.iter().any(|module| item.contains(module)) || item.contains(DOCUMENTATION);
    let is_listed = |item: &String| !is_hidden(item);
    Ok(api.items().map(ToString::to_string).filter(is_listed).collect())
}

/// Returns the lines of one list that the other lacks, with `-` for removed and `+` for added ones.
fn differences(listed: &[&str], items: &[String]) -> Vec<String> {
    let old: BTreeSet<&str> = listed.iter().copied().collect();
    let new: BTreeSet<&str> = items.iter().map(String::as_str).collect();
    let removed = old.difference(&new).map(|item| format!("- {item}"));
    removed.chain(new.difference(&old).map(|item| format!("+ {item}"))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn differences_name_removed_and_added_items() {
        let items = ["pub fn a::b()", "pub fn a::c(u8)"].map(str::to_owned);
        assert_eq!(differences(&["pub fn a::b()", "pub fn a::c(u8)"], &items), Vec::<String>::new());
        let changed = differences(&["pub fn a::b()", "pub fn a::c()"], &items);
        assert_eq!(changed, ["- pub fn a::c()", "+ pub fn a::c(u8)"]);
    }
}
