//! Where a cluster's files are, and the environment in which its programs run.

use std::{
    env,
    path::{Path, PathBuf},
    process::Command,
};

/// The environment variable by which Slurm's programs find their configuration.
const CONF_VARIABLE: &str = "SLURM_CONF";
/// The environment variable that contains the cluster's directory.
pub(super) const DIRECTORY_VARIABLE: &str = "FLECHE_SLURM_DIR";
/// The directories that exist before the first daemon starts.
pub(super) const DIRECTORIES: [&str; 4] = ["log", "munge", "run", "state"];

/// Returns whether a directory contains a cluster.
pub(super) fn is_cluster(directory: &Path) -> bool {
    DIRECTORIES.iter().all(|name| directory.join(name).is_dir())
}

/// Returns the path of `slurm.conf`.
pub(super) fn slurm_conf(directory: &Path) -> PathBuf {
    directory.join("slurm.conf")
}

/// Returns the path of the file with a daemon's process. Slurm's own daemons write it themselves when they are started again.
pub(super) fn pid_file(directory: &Path, daemon: &str) -> PathBuf {
    directory.join("run").join(format!("{daemon}.pid"))
}

/// Makes a program part of the cluster, and of no other in which this process may be a job.
pub(super) fn set_environment<'a>(command: &'a mut Command, directory: &Path) -> &'a mut Command {
    for (name, _) in env::vars_os().filter(|(name, _)| name.as_encoded_bytes().starts_with(b"SLURM_")) {
        command.env_remove(name);
    }
    command.env(CONF_VARIABLE, slurm_conf(directory)).env(DIRECTORY_VARIABLE, directory)
}
