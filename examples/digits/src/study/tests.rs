//! Tests of the study on small made-up rows, and on the real ones against values that another program computed.

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
