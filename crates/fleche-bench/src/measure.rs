//! Runs measurements in rounds, each of which measures everything that is compared; times calls, and supplies arguments that
//! no call of this process has used, and temporary directories.

use std::{
    path::PathBuf,
    sync::{
        Mutex,
        atomic::{AtomicI64, Ordering::Relaxed},
    },
    time::{Duration, Instant},
};

use fleche_core::spi::LockResultExt;
use tempfile::TempDir;

/// A measurement: a closure that runs one round and returns the time it took.
pub(crate) type Measure<'a> = Box<dyn FnMut() -> Result<Duration, String> + 'a>;

/// Returns the median time of each measurement over this many rounds, after one round that is not counted.
pub(crate) fn medians(rounds: usize, measures: &mut [Measure<'_>]) -> Result<Vec<Duration>, String> {
    let mut times = vec![Vec::with_capacity(rounds); measures.len()];
    for round in 0..=rounds {
        for (measure, times) in measures.iter_mut().zip(&mut times) {
            let time = measure()?;
            if round > 0 {
                times.push(time);
            }
        }
    }
    Ok(times.into_iter().map(median).collect())
}

fn median(mut times: Vec<Duration>) -> Duration {
    times.sort_unstable();
    times.get(times.len() / 2).copied().unwrap_or_default()
}

/// Returns the first of `calls` successive arguments that no call of this process has used.
pub(crate) fn fresh(calls: i64) -> i64 {
    static NEXT: AtomicI64 = AtomicI64::new(0);
    NEXT.fetch_add(calls, Relaxed)
}

/// Measures this many calls that are misses in every cache, of a function that adds one.
pub(crate) fn missed(function: fn(i64) -> i64, calls: i64) -> Duration {
    called(function, fresh(calls), calls)
}

/// Measures this many calls with the arguments from `from` on, of a function that adds one.
pub(crate) fn called(function: fn(i64) -> i64, from: i64, calls: i64) -> Duration {
    let begun = Instant::now();
    for x in from..from + calls {
        assert_eq!(function(x), x + 1);
    }
    begun.elapsed()
}

/// The directory of all temporary directories, which are removed at the end of the run only: a file system may create files
/// slowly for some seconds after others were removed (ext4 skips recently freed inodes), and the next benchmark would
/// measure that.
static ROOT: Mutex<Option<TempDir>> = Mutex::new(None);

/// Creates a new, empty directory.
///
/// # Errors
/// Fails if the directory cannot be created.
pub(crate) fn scratch_directory() -> Result<PathBuf, String> {
    let said = |error: std::io::Error| format!("cannot create a temporary directory: {error}");
    let mut root = ROOT.lock().ignore_poison();
    let root = match &*root {
        Some(root) => root,
        None => root.insert(tempfile::Builder::new().prefix("fleche-bench-").tempdir().map_err(said)?),
    };
    Ok(tempfile::tempdir_in(root.path()).map_err(said)?.keep())
}

/// Removes all directories that [`scratch_directory`] has created.
///
/// # Errors
/// Fails if a file or directory cannot be removed.
pub(crate) fn remove_scratch() -> Result<(), String> {
    let root = ROOT.lock().ignore_poison().take();
    root.map_or(Ok(()), TempDir::close).map_err(|error| format!("cannot remove the benchmarks' files: {error}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn median_leaves_out_the_first_round() {
        let mut times = [100, 3, 1, 2].map(Duration::from_secs).into_iter();
        let mut measures: [Measure<'_>; 1] = [Box::new(|| times.next().ok_or_else(String::new))];
        assert_eq!(medians(3, &mut measures), Ok(vec![Duration::from_secs(2)]));
    }

    #[test]
    fn error_of_a_measurement_is_returned() {
        let mut measures: [Measure<'_>; 1] = [Box::new(|| Err("no disk".to_owned()))];
        assert_eq!(medians(1, &mut measures), Err("no disk".to_owned()));
    }
}
