//! An executor that runs calls as jobs of a Slurm cluster: one job, or one element of an array, for each call.
//!
//! [`Slurm`] is the executor, and [`SlurmConfig`] its configuration, which `fleche.toml` can hold. The README has an example.
//!
//! # The shared directory
//!
//! Submitters and jobs share the `directory` of the configuration. Only this user may write to it.
//!
//! ```text
//! binaries/<digest>               the program, under the digest of its content
//! keys/<2 digits>/<62 digits>     the element that may run the call with this job key: "<batch> <element>"
//! batches/<batch>/calls           the encoded calls
//!                /script, /job    what Slurm runs, and the id that Slurm gave to the array
//!                /submitter       the waiter that submits the batch
//!                /waiters/<mark>/ for each process that waits: its identity, and "<i>.<run>" for each run that has ended
//!                /log/<i>.out     stdout of element i; stderr is in <i>.err
//!                /state/<i>.started.<run>, <i>.exit.<run>, <i>.outcome
//! ```
//!
//! A key file is created with `link` and replaced with `rename`. A job that its key does not name ends without running the call. So
//! however late the scheduler starts a job that was given up, and whichever process was killed at which moment, one job runs the
//! call. The job itself makes the call as any program does, so a claim of the store protects what this does not cover.

#![cfg(target_os = "linux")]

mod binary;
mod commands;
mod config;
mod directory;
mod executor;
mod format;
mod options;
mod parse;
mod register;
mod runner;
mod tracker;
mod truth;

pub use config::SlurmConfig;
pub use executor::Slurm;
pub use tracker::SlurmStats;

/// Compiles the README's example.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
