//! Takes a scratch cluster down: its jobs, its daemons and its directory.

use std::{fs, path::Path, process::Command, time::Duration};

use nix::sys::signal::Signal;

use super::layout::{DIRECTORY_VARIABLE, is_cluster, pid_file, set_environment};
use crate::scratch::{find_program, output_within, processes, user_name};

/// The program that runs a job on a node. It does not end with its node's `slurmd`.
const JOB_RUNNER: &str = "slurmstepd";
/// The time limit for the cancelled jobs, which Slurm kills after 2 seconds.
const JOBS: Duration = Duration::from_secs(6);
const CLIENT: Duration = Duration::from_secs(5);

/// Ends all jobs and daemons of a cluster, and removes its directory.
///
/// # Errors
/// Fails if the directory contains no cluster, or cannot be removed.
pub(super) fn take_down(directory: &Path) -> Result<(), String> {
    if !is_cluster(directory) {
        return Err(format!("{} is not the directory of a scratch cluster", directory.display()));
    }
    end_processes(directory);
    fs::remove_dir_all(directory).map_err(|error| format!("cannot remove {}: {error}", directory.display()))
}

/// Ends all jobs and daemons of a cluster.
fn end_processes(directory: &Path) {
    let daemons = running_daemons(directory);
    // Tests may have stopped some of them.
    for (_, id) in &daemons {
        processes::signal(*id, Signal::SIGCONT);
    }
    if daemons.iter().any(|(name, _)| name == "slurmctld") {
        cancel_jobs(directory);
    }
    for (name, id) in daemons {
        // Jobs whose node was killed, or which the controller has forgotten, are ended before munge is.
        if name == "munged" {
            processes::kill_all(&jobs(directory));
        }
        processes::end(id, Signal::SIGTERM);
    }
    processes::kill_all(&jobs(directory));
}

/// Cancels all jobs, and waits until the nodes have ended them.
fn cancel_jobs(directory: &Path) {
    let (Some(scancel), Ok(user)) = (find_program("scancel"), user_name()) else { return };
    let mut command = Command::new(scancel);
    set_environment(&mut command, directory).args(["--quiet", "--user", &user]);
    if output_within(CLIENT, &mut command).is_ok() {
        processes::wait_until(JOBS, || jobs(directory).is_empty());
    }
}

/// Returns the daemons of a cluster that are running, by their pid files, in the order in which they are ended.
pub(super) fn running_daemons(directory: &Path) -> Vec<(String, u32)> {
    let files = fs::read_dir(directory.join("run")).into_iter().flatten().filter_map(Result::ok);
    let names = files.filter_map(|file| Some(file.file_name().to_str()?.strip_suffix(".pid")?.to_owned()));
    let daemons = names.filter_map(|name| {
        let id: u32 = fs::read_to_string(pid_file(directory, &name)).ok()?.trim().parse().ok()?;
        belongs_to(id, &name, directory).then_some((name, id))
    });
    let mut daemons: Vec<_> = daemons.collect();
    daemons.sort_by_key(|(name, _)| {
        let order = ["slurmd", "slurmctld", "slurmdbd", "mariadbd", "munged"];
        order.iter().position(|program| program_name(name) == *program)
    });
    daemons
}

/// Returns the program of a daemon: `slurmd` for `slurmd.n1`.
fn program_name(daemon: &str) -> &str {
    daemon.split('.').next().unwrap_or(daemon)
}

/// Returns whether a process is this daemon of this cluster, and not another one that has been given its number.
fn belongs_to(process: u32, daemon: &str, directory: &Path) -> bool {
    processes::is_running(process)
        && processes::program_of(process) == program_name(daemon)
        && (processes::has_path_in_arguments(process, directory) || is_of_cluster(process, directory))
}

fn is_of_cluster(process: u32, directory: &Path) -> bool {
    processes::has_variable(process, DIRECTORY_VARIABLE, directory.as_os_str().as_encoded_bytes())
}

/// Returns the processes of a cluster's jobs, first those that run them.
fn jobs(directory: &Path) -> Vec<u32> {
    let running: Vec<_> = processes::all().filter(|id| processes::is_running(*id)).collect();
    // The title of this program has replaced its environment. It keeps its node's log open.
    let runs_jobs =
        |id: &u32| processes::program_of(*id) == JOB_RUNNER && processes::has_opened_file_in(*id, directory);
    let mut jobs: Vec<_> = running.iter().copied().filter(runs_jobs).collect();
    // A job that was submitted without its submitter's environment is found by its parent, and one without parent by that.
    let descendants: Vec<_> = jobs.iter().flat_map(|runner| processes::descendants_of(*runner)).collect();
    jobs.extend(descendants);
    let has_job = |id: &u32| is_of_cluster(*id, directory) && processes::has_variable_named(*id, "SLURM_JOB_ID");
    jobs.extend(running.into_iter().filter(has_job));
    jobs
}
