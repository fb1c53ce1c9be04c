//! The study: which rows are nearest, and how often their labels agree with the row's own.

use std::fmt;

use fleche_core::{FileContent, fleche};
use serde::{Deserialize, Serialize};

use crate::data::{DataError, Digits};

/// Into how many parts the rows are split; each in turn is tested against the others.
pub const FOLDS: usize = 5;
/// How many neighbours of each row are found.
pub const NEIGHBOURS: usize = 30;
/// The largest number of neighbours that vote; all from 1 on are tried.
pub const MOST_VOTERS: usize = 15;

/// How far two images are apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Metric {
    /// The sum of the pixels' differences.
    L1,
    /// The square root of the sum of their squares.
    L2,
    /// The largest of them.
    Linf,
}

impl Metric {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::L1, Self::L2, Self::Linf];

    /// A number that grows with the distance: for [`L2`](Self::L2) its square, an integer as well.
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

/// The digits in this file. What the file holds is part of the key, here and below, not what it is called.
///
/// # Errors
/// [`DataError`] says what is wrong with the file, and where.
#[fleche]
pub fn digits(data: &FileContent) -> Result<Digits, DataError> {
    Digits::read(data)
}

/// For each row of this fold (`row % FOLDS == fold`), in order, the nearest [`NEIGHBOURS`] rows of the other folds, the
/// nearest first. Of two at the same distance the one with the smaller number is nearer.
///
/// # Errors
/// Those of [`digits()`].
#[fleche]
#[allow(clippy::needless_pass_by_value)] // Submitted calls own their arguments.
pub fn neighbours(data: FileContent, fold: usize, metric: Metric) -> Result<Vec<Vec<u32>>, DataError> {
    let digits = digits(&data)?;
    Ok(tested(&digits, fold).map(|row| nearest(&digits, row, metric)).collect())
}

/// The part of this fold's rows whose label wins the vote among their `k` nearest neighbours. Of labels with equally many
/// votes, the one with the nearest voter wins.
///
/// # Errors
/// Those of [`digits()`].
#[fleche]
pub fn accuracy(data: FileContent, k: usize, fold: usize, metric: Metric) -> Result<f64, DataError> {
    let digits = digits(&data)?;
    let neighbours = neighbours(data, fold, metric)?;
    let rows = tested(&digits, fold).zip(&neighbours);
    let right = rows.filter(|(row, nearest)| vote(&digits, nearest, k) == Some(digits.label(*row)));
    Ok(part(right.count(), neighbours.len()))
}

/// The rows of this fold.
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

/// `None` where nobody votes.
fn vote(digits: &Digits, nearest: &[u32], k: usize) -> Option<u8> {
    let votes = || nearest.iter().take(k).filter_map(|row| usize::try_from(*row).ok()).map(|row| digits.label(row));
    let count = |label| votes().filter(|vote| *vote == label).count();
    let most = votes().map(count).max()?;
    votes().find(|label| count(*label) == most)
}

#[allow(clippy::cast_precision_loss)] // Exact up to 2^53 rows.
fn part(right: usize, all: usize) -> f64 {
    right as f64 / all as f64
}

#[cfg(test)]
#[path = "study/tests.rs"]
mod tests;
