//! `MapProgress`: a progress bar for `map`.

use std::fmt;

use fleche_core::executor::Map;
use indicatif::ProgressBar;

/// Shows a progress bar for [`ExecutorExt::map`](fleche_core::ExecutorExt::map).
pub trait MapProgress: Sized {
    /// Returns the results, and advances the bar each time a call ends. Hits and failures count, whether or not the
    /// result has been taken yet.
    ///
    /// A bar without a length gets the number of inputs, if their iterator reports an upper bound. After the last
    /// result has been taken, the bar finishes in its style.
    ///
    /// ```
    /// use fleche_core::ExecutorExt;
    /// use fleche_exec::{MapProgress, ThreadPool};
    /// use indicatif::ProgressBar;
    ///
    /// let pool = ThreadPool::new(2)?;
    /// let bar = ProgressBar::no_length();
    /// let squares = pool.map(|x: u64| x * x, (0..100).map(|x| (x,))).progress(bar.clone());
    /// let squares: Vec<u64> = squares.collect::<Result<_, _>>()?;
    /// assert_eq!((bar.position(), bar.length()), (100, Some(100)));
    /// # assert_eq!(squares[9], 81);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    fn progress(self, bar: ProgressBar) -> Progress<Self>;
}

impl<E: ?Sized, F, I: Iterator, R> MapProgress for Map<'_, E, F, I, R> {
    fn progress(self, bar: ProgressBar) -> Progress<Self> {
        if let (None, Some(inputs)) = (bar.length(), self.inputs().size_hint().1) {
            bar.set_length(inputs as u64);
        }
        let moving = bar.clone();
        Progress { results: self.on_each_done(move || moving.inc(1)), bar }
    }
}

/// An iterator over results that advances a progress bar, created by [`MapProgress::progress`].
#[must_use = "inputs are submitted as results are taken"]
pub struct Progress<I> {
    results: I,
    bar: ProgressBar,
}

impl<I: Iterator> Iterator for Progress<I> {
    type Item = I::Item;

    fn next(&mut self) -> Option<I::Item> {
        let result = self.results.next();
        if result.is_none() && !self.bar.is_finished() {
            self.bar.finish_using_style();
        }
        result
    }
}

impl<I> fmt::Debug for Progress<I> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Progress").field("position", &self.bar.position()).finish_non_exhaustive()
    }
}
