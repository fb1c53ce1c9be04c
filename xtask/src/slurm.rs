//! A scratch cluster of Slurm on this machine, whose nodes are daemons on loopback.
//!
//! A command that is run with a cluster finds it by `SLURM_CONF`, and its files in `FLECHE_SLURM_DIR`. `run/NAME.pid` there
//! contains the process of `slurmctld`, of `slurmd.n1` and so on, and `log` their logs. A test may stop and kill these processes.
//! It starts them again with `slurmctld` or `slurmd -N n1`; they write their pid file themselves, and end with the cluster.

mod cluster;
mod configuration;
mod layout;
mod teardown;

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, ExitCode},
    time::Instant,
};

use crate::scratch::{self, CommandArguments, catch_signals, exit_code, run_to_end};

use cluster::Cluster;
use configuration::Options;

/// The arguments of `cargo xtask slurm`.
#[derive(clap::Args)]
pub(crate) struct Arguments {
    #[command(subcommand)]
    action: Action,
}

#[derive(clap::Subcommand)]
enum Action {
    /// Start a cluster, and print the variables that its clients need.
    Up {
        #[command(flatten)]
        options: Options,
        /// The directory of the cluster, which must be new or empty.
        directory: PathBuf,
    },
    /// End a cluster's jobs and daemons, and remove its directory.
    Down {
        /// The directory of the cluster.
        directory: PathBuf,
    },
    /// Run a command with a cluster, which is taken down when the command ends.
    Run {
        #[command(flatten)]
        options: Options,
        #[command(flatten)]
        command: CommandArguments,
    },
}

/// Starts a cluster, takes it down, or runs a command with one.
///
/// # Errors
/// Fails if the cluster cannot be started or taken down. A command's exit code is passed on.
pub(crate) fn run(arguments: &Arguments) -> Result<ExitCode, String> {
    catch_signals()?;
    match &arguments.action {
        Action::Up { options, directory } => up(options, directory),
        Action::Down { directory } => teardown::take_down(&absolute(directory)?).map(|()| ExitCode::SUCCESS),
        Action::Run { options, command } => run_command(options, command),
    }
}

fn up(options: &Options, directory: &Path) -> Result<ExitCode, String> {
    fs::create_dir_all(directory).map_err(|error| format!("cannot create {}: {error}", directory.display()))?;
    let directory = absolute(directory)?;
    let mut entries =
        fs::read_dir(&directory).map_err(|error| format!("cannot read {}: {error}", directory.display()))?;
    if entries.next().is_some() {
        return Err(format!("{} is not empty: give a new directory", directory.display()));
    }
    let cluster = start(options, &directory)?;
    for (name, value) in layout::set_environment(&mut Command::new("sh"), &directory).get_envs() {
        if let Some(value) = value {
            println!("export {}={}", name.display(), value.display());
        }
    }
    cluster.keep();
    Ok(ExitCode::SUCCESS)
}

fn run_command(options: &Options, command: &CommandArguments) -> Result<ExitCode, String> {
    // The cluster removes the directory, and this guard what it leaves if it cannot be started.
    let directory = scratch::directory("slurm")?;
    let cluster = start(options, directory.path())?;
    let mut command = command.command();
    let ended = run_to_end(layout::set_environment(&mut command, directory.path()));
    let begun = Instant::now();
    drop(cluster);
    eprintln!("slurm: took the cluster down in {:.2} s", begun.elapsed().as_secs_f64());
    ended.map(exit_code)
}

fn start(options: &Options, directory: &Path) -> Result<Cluster, String> {
    let begun = Instant::now();
    let cluster = Cluster::start(options, directory)?;
    let (nodes, at) = (options.nodes, directory.display());
    eprintln!("slurm: {nodes} idle nodes in {:.2} s, in {at}", begun.elapsed().as_secs_f64());
    Ok(cluster)
}

fn absolute(directory: &Path) -> Result<PathBuf, String> {
    directory.canonicalize().map_err(|error| format!("cannot find {}: {error}", directory.display()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser;

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        arguments: Arguments,
    }

    fn parse(words: &[&str]) -> Option<Action> {
        Line::try_parse_from(["slurm"].iter().chain(words)).ok().map(|line| line.arguments.action)
    }

    #[test]
    fn options_of_the_command_are_not_the_cluster_s() {
        let Some(Action::Run { options, command }) =
            parse(&["run", "--nodes", "1", "--", "squeue", "--memory", "--", "-h"])
        else {
            panic!("not understood")
        };
        assert!(!options.memory);
        let command = command.command();
        let words: Vec<_> = command.get_args().collect();
        assert_eq!(
            (command.get_program().to_str(), words),
            (Some("squeue"), vec!["--memory".as_ref(), "--".as_ref(), "-h".as_ref()])
        );
    }

    #[test]
    fn action_and_its_directory_or_command_are_required() {
        assert!(parse(&[]).is_none() && parse(&["up"]).is_none() && parse(&["down"]).is_none());
        assert!(parse(&["run", "--memory", "--"]).is_none());
        assert!(matches!(parse(&["up", "--preempt", "a"]), Some(Action::Up { options, .. }) if options.preempt));
    }

    #[test]
    fn directory_that_is_no_cluster_is_neither_taken_down_nor_filled() {
        let directory = tempfile::tempdir().unwrap();
        fs::write(directory.path().join("kept"), "").unwrap();
        let down = Arguments { action: Action::Down { directory: directory.path().to_owned() } };
        assert!(run(&down).unwrap_err().ends_with("is not the directory of a scratch cluster"));
        let Some(Action::Up { options, directory: path }) = parse(&["up", directory.path().to_str().unwrap()]) else {
            panic!("not understood")
        };
        assert!(up(&options, &path).unwrap_err().ends_with("is not empty: give a new directory"));
        assert!(directory.path().join("kept").exists());
    }
}
