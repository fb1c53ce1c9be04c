//! The program inside a job: runs one element of a batch, and writes its outcome.

use std::{
    env,
    ffi::OsStr,
    fs,
    io::{self, Write},
    os::unix::ffi::OsStrExt,
    path::{Path, PathBuf},
    process,
    sync::{Arc, mpsc},
    time::Duration,
};

use bytes::Bytes;
use fleche_core::{
    Cache, Digest, JobError, Stats,
    context::Binding,
    executor::with_assigned_gpus,
    spi::{BindingSpi, catch_panic, log, thread_spawner},
};
use nix::{
    sys::signal::{Signal, kill},
    unistd::{Pid, getppid},
};

use crate::{
    directory::{Place, SharedDirectory, touch},
    format::{Outcome, StoredCall},
    options::{HEARTBEAT_VARIABLE, JOB_VARIABLE, SUPERSEDED},
};

fleche_exec::register_worker_entry! { variable: JOB_VARIABLE, run: run }

/// Runs an element and ends the process, if the script of a batch has started this process.
fn run(value: &OsStr) {
    let Some((place, root)) = started_by_script(value) else { return };
    let code = match run_element(&root, &place) {
        Ok(code) => code,
        Err(error) => {
            log::error!(%error, "cannot run an element of a batch");
            1
        }
    };
    let _ = io::stdout().flush();
    process::exit(code)
}

/// Returns the element to run and the shared directory. The script gives its own process id and the directory of the batch.
fn started_by_script(value: &OsStr) -> Option<(Place, PathBuf)> {
    let bytes = value.as_bytes();
    let split = bytes.iter().position(|byte| *byte == b':')?;
    let parent = std::str::from_utf8(&bytes[..split]).ok()?.parse().ok()?;
    if getppid() != Pid::from_raw(parent) {
        return None;
    }
    let batch = Path::new(OsStr::from_bytes(&bytes[split + 1..]));
    let element = number("SLURM_ARRAY_TASK_ID")?;
    let root = batch.parent()?.parent()?.to_owned();
    Some((Place { batch: batch.file_name()?.to_str()?.into(), element }, root))
}

fn number(variable: &str) -> Option<u32> {
    env::var(variable).ok()?.parse().ok()
}

/// Returns the exit code of this process.
fn run_element(root: &Path, place: &Place) -> io::Result<i32> {
    let directory = SharedDirectory::existing(root);
    let started = directory.start(place, number("SLURM_RESTART_COUNT").unwrap_or(0))?;
    let (key, call) = directory.call(place)?;
    // After the file that shows the start, which a process that replaces the key looks for afterwards.
    if directory.read_key(&key)?.as_ref() != Some(place) {
        eprintln!("fleche: another job runs this call, or it was cancelled");
        return Ok(SUPERSEDED);
    }
    let interval = env::var(HEARTBEAT_VARIABLE).ok().and_then(|text| text.parse().ok()).unwrap_or(30_000);
    let _heart = beat(started, Duration::from_millis(interval));
    let program = directory.calls(&place.batch)?.program();
    let (result, stats) = if is_program(&program) {
        call_stored(&call, &directory, place)
    } else {
        (Err(JobError::rejected(format!("the batch was made by another program, with the digest {program}"))), None)
    };
    let outcome = Outcome { result, stats };
    let bytes = outcome.to_bytes().map_err(|error| io::Error::other(error.to_string()))?;
    directory.write_outcome(place, &bytes)?;
    Ok(0)
}

/// Returns whether this process runs the program with the digest, which is the name of its staged file.
fn is_program(digest: &Digest) -> bool {
    let path = fs::read_link("/proc/self/exe");
    path.is_ok_and(|path| path.file_name() == Some(OsStr::new(&digest.to_string())))
}

/// Shows signs of life until the returned sender is dropped.
fn beat(file: PathBuf, interval: Duration) -> mpsc::Sender<()> {
    let (stop, stopped) = mpsc::channel::<()>();
    let beat = move || {
        while stopped.recv_timeout(interval) == Err(mpsc::RecvTimeoutError::Timeout) {
            // A file server that is away for a while is not the end of the call.
            let _ = touch(&file);
        }
    };
    if let Err(error) = thread_spawner::spawn("fleche-heartbeat", beat) {
        log::warn!(%error, "cannot start the thread that shows signs of life");
    }
    stop
}

/// Writes the outcome of a call that takes longer than this, and kills the process. The returned sender ends the watch.
fn limit(timeout: Duration, directory: SharedDirectory, place: Place) -> io::Result<mpsc::Sender<()>> {
    let (stop, stopped) = mpsc::channel::<()>();
    thread_spawner::spawn("fleche-timeout", move || {
        if stopped.recv_timeout(timeout) == Err(mpsc::RecvTimeoutError::Timeout) {
            let outcome = Outcome::of(Err(JobError::TimedOut)).to_bytes().unwrap_or_default();
            if let Err(error) = directory.write_outcome(&place, &outcome) {
                log::error!(%error, "cannot record that the call has timed out");
            }
            // The body may hold any lock that an orderly end would need.
            let _ = kill(Pid::this(), Signal::SIGKILL);
        }
    })?;
    Ok(stop)
}

fn call_stored(bytes: &Bytes, directory: &SharedDirectory, place: &Place) -> (Result<Bytes, JobError>, Option<Stats>) {
    let cannot = |what: &str, error: &dyn std::fmt::Display| {
        (Err(JobError::rejected(format!("the job cannot use the {what} of the call: {error}"))), None)
    };
    let (mut stored, arguments) = match StoredCall::decode(bytes) {
        Ok(decoded) => decoded,
        Err(error) => return cannot("file", &error),
    };
    stored.register_files();
    let binding = match stored.binding.take() {
        None => None,
        Some(config) => match Cache::from_config(&config.cache) {
            Ok(cache) => Some(Binding::from_config(config, cache)),
            Err(error) => return cannot("stores", &error.report()),
        },
    };
    if let Some(path) = stored.working_dir() {
        // The default cache is found once, by a search from the working directory. It must not start in the call's directory.
        let _ = fleche_core::active_cache();
        if let Err(error) = env::set_current_dir(path) {
            return cannot(&format!("`working_dir` {}", path.display()), &error);
        }
    }
    let limit = stored.timeout.map(|timeout| limit(timeout, directory.clone(), place.clone())).transpose();
    let _limit = match limit {
        Ok(limit) => limit,
        Err(error) => return cannot("`timeout`", &error),
    };
    let run = || {
        // The call catches panics of the body. This catches panics of destructors.
        catch_panic(|| {
            let _bound = binding.as_ref().map(Binding::enter);
            stored.function.call(&arguments)
        })
        .flatten()
    };
    let result = with_assigned_gpus(assigned_gpus(), run).map(Bytes::from);
    (result, binding.map(|binding| binding.cache().stats()))
}

/// Returns the GPUs that the scheduler has assigned to this job.
fn assigned_gpus() -> Arc<[u32]> {
    let list = env::var("CUDA_VISIBLE_DEVICES").or_else(|_| env::var("SLURM_JOB_GPUS")).unwrap_or_default();
    list.split(',').filter_map(|id| id.trim().parse().ok()).collect()
}
