//! `cargo xtask dev-builds`: measures hits of large values in development builds with different profiles in `Cargo.toml`.

use std::{
    fmt::Write as _,
    fs,
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

use crate::report::{PERFORMANCE, update_document, workspace_file};

/// The arguments of `cargo xtask dev-builds`.
#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// Write the table to `docs/performance.md`
    #[arg(long)]
    write: bool,
}

/// The profiles, each with its heading in the table and its text in `Cargo.toml`.
const PROFILES: [(&str, &str); 4] = [
    ("no settings", ""),
    (
        "`fleche-core` and `fleche-encoding` at 3",
        "[profile.dev.package.fleche-core]\nopt-level = 3\n[profile.dev.package.fleche-encoding]\nopt-level = 3\n",
    ),
    ("all dependencies at 3", "[profile.dev.package.\"*\"]\nopt-level = 3\n"),
    ("and the program at 1", "[profile.dev]\nopt-level = 1\n[profile.dev.package.\"*\"]\nopt-level = 3\n"),
];

const PROGRAM: &str = include_str!("dev_builds/program.rs");

/// Builds and runs the program with each profile, and prints the table of times.
///
/// # Errors
/// Fails if the program cannot be built or fails, or if the table cannot be written.
pub(crate) fn run(Arguments { write }: &Arguments) -> Result<(), String> {
    let mut columns = Vec::new();
    for (heading, profile) in PROFILES {
        eprintln!("{heading} …");
        columns.push(times(profile)?);
    }
    let mut table = String::from("| a hit of 8 MB in files |");
    for (heading, _) in PROFILES {
        write!(table, " {heading} |").expect("writing to a string cannot fail");
    }
    table.push_str("\n|---|");
    table.push_str(&"---:|".repeat(PROFILES.len()));
    table.push('\n');
    for (row, (name, _)) in columns[0].iter().enumerate() {
        write!(table, "| {name} |").expect("writing to a string cannot fail");
        for column in &columns {
            write!(table, " {:.1} ms |", column[row].1.as_secs_f64() * 1000.0)
                .expect("writing to a string cannot fail");
        }
        table.push('\n');
    }
    print!("{table}");
    if *write { update_document(PERFORMANCE, "dev", &table) } else { Ok(()) }
}

/// Builds the program as a separate project with this profile, runs it, and returns the name and the time of each
/// measurement.
fn times(profile: &str) -> Result<Vec<(String, Duration)>, String> {
    let project = workspace_file("target").join("dev-builds");
    let failed = |path: &Path| {
        let path = path.display().to_string();
        move |error: std::io::Error| format!("cannot write {path}: {error}")
    };
    let source = project.join("src");
    fs::create_dir_all(&source).map_err(failed(&source))?;
    let files: [(PathBuf, Vec<u8>); 3] = [
        (source.join("main.rs"), PROGRAM.into()),
        (project.join("Cargo.toml"), manifest(profile).into()),
        (project.join("Cargo.lock"), fs::read(workspace_file("Cargo.lock")).map_err(|error| error.to_string())?),
    ];
    for (path, content) in files {
        fs::write(&path, content).map_err(failed(&path))?;
    }
    let store = tempfile::tempdir().map_err(|error| format!("cannot create a temporary directory: {error}"))?;
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let output = Command::new(cargo)
        .args(["run", "--quiet", "--"])
        .arg(store.path())
        .current_dir(&project)
        .env("CARGO_TARGET_DIR", project.join("target"))
        .output()
        .map_err(|error| format!("cannot run cargo: {error}"))?;
    if !output.status.success() {
        return Err(format!("the program failed ({}): {}", output.status, String::from_utf8_lossy(&output.stderr)));
    }
    String::from_utf8_lossy(&output.stdout)
        .lines()
        .map(|line| {
            let (name, micros) = line.split_once('\t').ok_or_else(|| format!("no tab in `{line}`"))?;
            let micros = micros.parse().map_err(|error| format!("`{line}`: {error}"))?;
            Ok((name.to_owned(), Duration::from_micros(micros)))
        })
        .collect()
}

fn manifest(profile: &str) -> String {
    let path = |name: &str| workspace_file("crates").join(name).display().to_string();
    format!(
        "[package]\nname = \"dev-builds\"\nedition = \"2024\"\n\n[workspace]\n\n[dependencies]\nfleche-core = {{ path = {:?} }}\n\
         fleche-store-file = {{ path = {:?} }}\nserde = {{ version = \"1\", features = [\"derive\"] }}\n\n{profile}",
        path("fleche-core"),
        path("fleche-store-file"),
    )
}
