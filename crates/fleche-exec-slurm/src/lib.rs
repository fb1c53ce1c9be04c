//! An executor that runs calls as jobs of a Slurm cluster.

#[cfg(target_os = "linux")]
mod binary;
#[cfg(target_os = "linux")]
mod commands;
#[cfg(target_os = "linux")]
mod config;
#[cfg(target_os = "linux")]
mod directory;
#[cfg(target_os = "linux")]
mod executor;
#[cfg(target_os = "linux")]
mod format;
#[cfg(target_os = "linux")]
mod options;
#[cfg(target_os = "linux")]
mod parse;
#[cfg(target_os = "linux")]
mod register;
#[cfg(target_os = "linux")]
mod runner;
#[cfg(target_os = "linux")]
mod tracker;
#[cfg(target_os = "linux")]
mod truth;

#[cfg(target_os = "linux")]
pub use config::SlurmConfig;
#[cfg(target_os = "linux")]
pub use executor::Slurm;
#[cfg(target_os = "linux")]
pub use tracker::SlurmStats;
