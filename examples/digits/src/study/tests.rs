//! The study on small made-up rows, and on the real ones against values computed by another program.

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
fn the_nearest_rows_are_of_other_folds_and_of_equals_the_first() {
    let digits = Digits::of_first_pixels(&[(5, 0), (5, 0), (9, 0), (4, 0), (6, 0), (5, 0), (5, 0)]);
    assert_eq!(nearest(&digits, 0, Metric::L1), [1, 6, 3, 4, 2]);
}

#[test]
fn the_label_with_most_votes_wins() {
    let digits = Digits::of_first_pixels(&[(0, 3), (0, 7), (0, 7)]);
    assert_eq!(vote(&digits, &[0, 1, 2], 3), Some(7));
}

#[test]
fn of_labels_with_equally_many_votes_the_nearest_wins() {
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
fn accuracies_are_those_that_another_program_computed() {
    let data = FileContent::new(SHIPPED);
    let cache = Cache::new(MemoryValues::new(), MemoryCalls::new());
    let _active = cache.enter();
    // (metric, fold, [(k, rows that are right)], rows)
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
    assert_eq!(cache.stats().computed, 1 + 3 + 3 * 3); // The digits once, neighbours once a metric and fold.
}

#[test]
fn every_tested_row_has_enough_neighbours_for_every_k() {
    const { assert!(MOST_VOTERS <= NEIGHBOURS) };
    let digits = Digits::of_first_pixels(&[(1, 1); FOLDS * 10]);
    assert_eq!(tested(&digits, 4).count(), 10);
    assert!(tested(&digits, 4).all(|row| nearest(&digits, row, Metric::L2).len() == NEIGHBOURS));
}
