//! `Runtime`: the time and the resources that a call took.

use std::{cell::Cell, time::Instant};

use serde::{Deserialize, Serialize};

use super::{Collector, MetadataKind, Timestamp};
use crate::{encoding::Encoded, error::Result};

/// Collects when and for how long the body ran, as a [`RuntimeReport`] under `runtime`. This kind is the default.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Runtime;

/// The report of [`Runtime`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RuntimeReport {
    /// The time at which the body began; for an `async fn`, the time at which it was first polled.
    pub start: Timestamp,
    /// The time at which the body returned, or its job was done.
    pub stop: Timestamp,
    /// The seconds from `start` to `stop`, by the monotonic clock.
    pub wall_seconds: f64,
    /// The processor time (user and system) in seconds of the thread that ran the body, including that of isolated calls.
    /// Absent if the system does not report it, and for `async fn` and jobs, whose work does not belong to one thread.
    /// Excludes threads that the body started and other tasks that a pool ran on this thread while it waited.
    pub cpu_seconds: Option<f64>,
    /// The peak resident memory of the process since it started, in bytes; absent if the system does not report it.
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
    /// The processor time that other threads spent for this thread while it waited for them.
    static TRANSFERRED_CPU: Cell<f64> = const { Cell::new(0.0) };
}

fn cpu_seconds() -> Option<f64> {
    Some(usage::thread_cpu_seconds()? + TRANSFERRED_CPU.get())
}

/// Runs the closure and returns the processor time that it took, to be counted elsewhere: the caller passes it to
/// [`borrow_cpu`] on another thread, or subtracts it on this one.
pub(crate) fn lend_cpu<R>(run: impl FnOnce() -> R) -> (R, Option<f64>) {
    let before = cpu_seconds();
    let result = run();
    (result, before.zip(cpu_seconds()).map(|(before, after)| after - before))
}

/// Counts processor time of another thread as if this thread had spent it. A negative number is subtracted.
pub(crate) fn borrow_cpu(seconds: Option<f64>) {
    TRANSFERRED_CPU.set(TRANSFERRED_CPU.get() + seconds.unwrap_or_default());
}

struct Running {
    start: Timestamp,
    cpu: Option<f64>,
    since: Instant,
}

impl Collector for Running {
    fn finish(self: Box<Self>) -> Result<Encoded> {
        // Borrowed time is added and subtracted as floating-point numbers, so the difference may be slightly negative.
        let cpu_seconds = self.cpu.zip(cpu_seconds()).map(|(before, after)| (after - before).max(0.0));
        self.report(cpu_seconds)
    }

    fn finish_elsewhere(self: Box<Self>) -> Result<Encoded> {
        self.report(None)
    }
}

impl Running {
    fn report(&self, cpu_seconds: Option<f64>) -> Result<Encoded> {
        Ok(Encoded::encode(&RuntimeReport {
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
        // Linux counts in kibibytes: getrusage(2). The value for a thread is the same, and is read faster than that of
        // all threads.
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
