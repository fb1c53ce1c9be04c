//! The memoized functions of the study: the nearest rows, and the accuracy of the label that most of them have.

use std::fmt;

use fleche_core::{FileContent, fleche};
use serde::{Deserialize, Serialize};

use crate::data::{DataError, Digits, FOLDS};

/// The number of neighbours that are found for each row.
pub const NEIGHBOURS: usize = 30;
/// The largest number of neighbours that vote. All numbers from 1 on are tried.
pub const MOST_VOTERS: usize = 15;

/// A measure of the distance between two images.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Metric {
    /// The sum of the pixels' absolute differences.
    L1,
    /// The square root of the sum of the squared differences.
    L2,
    /// The largest absolute difference.
    Linf,
}

impl Metric {
    /// All metrics.
    pub const ALL: [Self; 3] = [Self::L1, Self::L2, Self::Linf];

    /// Returns an integer that grows with the distance: the distance itself, or its square for [`L2`](Self::L2).
    fn distance(self, one: &[u8], other: &[u8]) -> u32 {
        let differences = one.iter().zip(other).map(|(one, other)| u32::from(one.abs_diff(*other)));
        match self {
            Self::L1 => differences.sum(),
            Self::L2 => differences.map(|difference| difference * difference).sum(),
            Self::Linf => differences.max().unwrap_or(0),
        }
    }
}

impl fmt::Display for Metric {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::L1 => "l1",
            Self::L2 => "l2",
            Self::Linf => "linf",
        })
    }
}

/// Reads the digits in this file. The key of the call contains the content of the file, not its name.
///
/// # Errors
/// Fails with a [`DataError`] if the file cannot be read or does not contain digits.
#[fleche]
pub fn digits(data: &FileContent) -> Result<Digits, DataError> {
    Digits::read(data)
}

/// Returns the nearest [`NEIGHBOURS`] rows of the other folds, nearest first, for each row of this fold.
///
/// The rows of a fold are those with `row % FOLDS == fold`, in ascending order. Of two rows at the same distance, the one
/// with the smaller number is nearer.
///
/// # Errors
/// Fails as [`digits()`] does.
#[fleche]
#[allow(clippy::needless_pass_by_value)] // Submitted calls own their arguments.
pub fn neighbours(data: FileContent, fold: usize, metric: Metric) -> Result<Vec<Vec<u32>>, DataError> {
    let digits = digits(&data)?;
    Ok(tested(&digits, fold).map(|row| nearest(&digits, row, metric)).collect())
}

/// Returns the fraction of this fold's rows whose label wins the vote among their `k` nearest neighbours.
///
/// Of labels with equally many votes, the one with the nearest voter wins.
///
/// # Errors
/// Fails as [`digits()`] does.
#[fleche]
pub fn accuracy(data: FileContent, k: usize, fold: usize, metric: Metric) -> Result<f64, DataError> {
    let digits = digits(&data)?;
    let neighbours = neighbours(data, fold, metric)?;
    let rows = tested(&digits, fold).zip(&neighbours);
    let right = rows.filter(|(row, nearest)| vote(&digits, nearest, k) == Some(digits.label(*row)));
    Ok(part(right.count(), neighbours.len()))
}

/// Returns the rows of this fold.
fn tested(digits: &Digits, fold: usize) -> impl Iterator<Item = usize> {
    (fold..digits.rows()).step_by(FOLDS)
}

fn nearest(digits: &Digits, row: usize, metric: Metric) -> Vec<u32> {
    let image = digits.image(row);
    let others = (0..digits.rows()).filter(|other| other % FOLDS != row % FOLDS);
    let mut others: Vec<_> = others.map(|other| (metric.distance(image, digits.image(other)), other)).collect();
    others.sort_unstable();
    others.truncate(NEIGHBOURS);
    others.into_iter().filter_map(|(_, other)| u32::try_from(other).ok()).collect()
}

/// Returns the label that wins the vote, or `None` if there are no votes.
fn vote(digits: &Digits, nearest: &[u32], k: usize) -> Option<u8> {
    let votes = || nearest.iter().take(k).filter_map(|row| usize::try_from(*row).ok()).map(|row| digits.label(row));
    let count = |label| votes().filter(|vote| *vote == label).count();
    let most = votes().map(count).max()?;
    votes().find(|label| count(*label) == most)
}

#[allow(clippy::cast_precision_loss)] // The conversion is exact up to 2^53 rows.
fn part(right: usize, all: usize) -> f64 {
    right as f64 / all as f64
}

#[cfg(test)]
mod tests {
    use super::{FOLDS, MOST_VOTERS, Metric, NEIGHBOURS, accuracy, nearest, tested, vote};
    use crate::data::{Digits, SHIPPED};
    use fleche_core::{Cache, FileContent};
    use fleche_store_memory::{MemoryCalls, MemoryValues};

    #[test]
    fn distances_are_those_of_the_metrics() {
        let (one, other) = ([0, 3, 16], [4, 0, 15]);
        assert_eq!(Metric::ALL.map(|metric| metric.distance(&one, &other)), [8, 26, 4]);
    }

    #[test]
    fn nearest_rows_are_from_other_folds_with_ties_in_row_order() {
        let digits = Digits::of_first_pixels(&[(5, 0), (5, 0), (9, 0), (4, 0), (6, 0), (5, 0), (5, 0)]);
        assert_eq!(nearest(&digits, 0, Metric::L1), [1, 6, 3, 4, 2]);
    }

    #[test]
    fn label_with_most_votes_wins() {
        let digits = Digits::of_first_pixels(&[(0, 3), (0, 7), (0, 7)]);
        assert_eq!(vote(&digits, &[0, 1, 2], 3), Some(7));
    }

    #[test]
    fn nearest_voter_decides_a_tie() {
        let digits = Digits::of_first_pixels(&[(0, 3), (0, 7), (0, 7), (0, 3)]);
        assert_eq!(vote(&digits, &[1, 0, 3, 2], 4), Some(7));
        assert_eq!(vote(&digits, &[0, 1, 2, 3], 4), Some(3));
    }

    #[test]
    fn only_the_nearest_k_vote() {
        let digits = Digits::of_first_pixels(&[(0, 3), (0, 7), (0, 7)]);
        assert_eq!(vote(&digits, &[0, 1, 2], 1), Some(3));
    }

    #[test]
    fn accuracies_equal_those_of_another_program() {
        let data = FileContent::new(SHIPPED);
        let cache = Cache::new(MemoryValues::new(), MemoryCalls::new());
        let _active = cache.enter();
        // (metric, fold, [(k, number of correct rows)], number of rows)
        for (metric, fold, right, rows) in [
            (Metric::L1, 0, [(1, 351), (6, 354), (15, 346)], 360.0),
            (Metric::L2, 2, [(1, 355), (6, 354), (15, 354)], 359.0),
            (Metric::Linf, 4, [(1, 354), (6, 351), (15, 349)], 359.0),
        ] {
            for (k, right) in right {
                let found = accuracy(data.clone(), k, fold, metric).unwrap();
                assert!((found * rows - f64::from(right)).abs() < 1e-9, "{metric}, fold {fold}, k {k}: {found}");
            }
        }
        assert_eq!(cache.stats().computed, 1 + 3 + 3 * 3); // The digits, the neighbours of three folds, and nine accuracies.
    }

    #[test]
    fn every_tested_row_has_enough_neighbours_for_every_k() {
        const { assert!(MOST_VOTERS <= NEIGHBOURS) };
        let digits = Digits::of_first_pixels(&[(1, 1); FOLDS * 10]);
        assert_eq!(tested(&digits, 4).count(), 10);
        assert!(tested(&digits, 4).all(|row| nearest(&digits, row, Metric::L2).len() == NEIGHBOURS));
    }
}
