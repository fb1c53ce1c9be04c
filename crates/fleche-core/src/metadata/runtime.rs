//! `Runtime`: when and for how long a call ran, and what it took.

use std::{cell::Cell, time::Instant};

use serde::{Deserialize, Serialize};

use super::{Collector, MetadataKind, Timestamp};
use crate::{encoding::Encoded, error::Result};

/// Collects when and for how long the body ran: a [`RuntimeReport`] under `runtime`. Collected unless others are asked
/// for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Runtime;

/// What [`Runtime`] reports.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RuntimeReport {
    /// When the body began: of an `async fn`, when it was first polled.
    pub start: Timestamp,
    /// When it returned, or its job was done.
    pub stop: Timestamp,
    /// Seconds in between, by the monotonic clock.
    pub wall_seconds: f64,
    /// Seconds of processor time (user and system) of the thread that ran the body, that of isolated calls included; absent
    /// where the system does not tell, and for `async fn` and jobs, whose work is not that of one thread. Neither threads
    /// that the body starts are included nor other tasks that a pool ran on its thread while it waited.
    pub cpu_seconds: Option<f64>,
    /// The most memory that the process has ever held resident, in bytes; absent where the system does not tell.
    pub process_peak_bytes: Option<u64>,
}

#[typetag::serde(name = "runtime")]
impl MetadataKind for Runtime {
    fn name(&self) -> &'static str {
        "runtime"
    }

    fn begin(&self) -> Box<dyn Collector> {
        Box::new(Running { start: Timestamp::now(), cpu: cpu_seconds(), since: Instant::now() })
    }
}

thread_local! {
    /// Processor time that other threads spent on this thread's behalf while it waited for them.
    static BORROWED: Cell<f64> = const { Cell::new(0.0) };
}

fn cpu_seconds() -> Option<f64> {
    Some(usage::thread_cpu_seconds()? + BORROWED.get())
}

/// Runs the closure on this thread, to account for its processor time elsewhere: what it took goes to [`borrow_cpu`] of
/// another thread, or is taken off this one's.
pub(crate) fn lend_cpu<R>(run: impl FnOnce() -> R) -> (R, Option<f64>) {
    let before = cpu_seconds();
    let result = run();
    (result, before.zip(cpu_seconds()).map(|(before, after)| after - before))
}

/// Counts processor time of another thread as if this one had spent it. A negative number takes some off.
pub(crate) fn borrow_cpu(seconds: Option<f64>) {
    BORROWED.set(BORROWED.get() + seconds.unwrap_or_default());
}

struct Running {
    start: Timestamp,
    cpu: Option<f64>,
    since: Instant,
}

impl Collector for Running {
    fn finish(self: Box<Self>) -> Result<Encoded> {
        // What was added and taken off meanwhile is not exact to the last bit.
        let cpu_seconds = self.cpu.zip(cpu_seconds()).map(|(before, after)| (after - before).max(0.0));
        self.report(cpu_seconds)
    }

    fn finish_elsewhere(self: Box<Self>) -> Result<Encoded> {
        self.report(None)
    }
}

impl Running {
    fn report(&self, cpu_seconds: Option<f64>) -> Result<Encoded> {
        Ok(Encoded::of(&RuntimeReport {
            start: self.start,
            stop: Timestamp::now(),
            wall_seconds: self.since.elapsed().as_secs_f64(),
            cpu_seconds,
            process_peak_bytes: usage::process_peak_bytes(),
        })?)
    }
}

#[cfg(target_os = "linux")]
mod usage {
    use nix::{
        sys::resource::{UsageWho, getrusage},
        time::{ClockId, clock_gettime},
    };

    #[allow(clippy::cast_precision_loss)] // Exact up to 2^53 nanoseconds of processor time: 104 days.
    pub(super) fn thread_cpu_seconds() -> Option<f64> {
        let time = clock_gettime(ClockId::CLOCK_THREAD_CPUTIME_ID).ok()?;
        Some(time.tv_sec() as f64 + time.tv_nsec() as f64 / 1e9)
    }

    pub(super) fn process_peak_bytes() -> Option<u64> {
        // Linux counts in kibibytes: getrusage(2). It tells the same of a thread, and is done sooner than with all of them.
        u64::try_from(getrusage(UsageWho::RUSAGE_THREAD).ok()?.max_rss()).ok().map(|kibibytes| kibibytes * 1024)
    }
}

#[cfg(not(target_os = "linux"))]
mod usage {
    pub(super) fn thread_cpu_seconds() -> Option<f64> {
        None
    }

    pub(super) fn process_peak_bytes() -> Option<u64> {
        None
    }
}
