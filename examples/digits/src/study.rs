//! The memoized functions of the study: the nearest rows, and how often their labels agree with the row's own.

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
#[path = "study/tests.rs"]
mod tests;
