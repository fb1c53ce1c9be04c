//! Reads a damaged table from both ends of every gap between damaged places.

use std::{collections::VecDeque, ops::RangeInclusive};

/// The maximum number of damaged places before the remaining gaps are given up. Damaged pages may form a cycle.
const MAX_GAPS: usize = 4096;

/// The direction in which a range of keys is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    /// From the first key.
    Up,
    /// From the last key.
    Down,
}

/// Reads a table around its damaged places: each range from both ends up to the damage, and the rest in halves, until the
/// halves have at most `min_width` keys, so narrow that damage covers them. Tables with longer keys use a prefix.
///
/// `read` reads the keys in a range. It returns `None` at the end of the range, and otherwise the last key that it read
/// before it met damage, or the key that it began with. It may read a key several times.
///
/// # Errors
/// Fails with the errors of `read`.
pub fn read_around_damage<E>(
    keys: RangeInclusive<u128>,
    min_width: u128,
    mut read: impl FnMut(RangeInclusive<u128>, Direction) -> Result<Option<u128>, E>,
) -> Result<(), E> {
    let mut gaps = VecDeque::from([keys]);
    for _ in 0..MAX_GAPS {
        let Some((mut first, mut last)) = gaps.pop_front().map(RangeInclusive::into_inner) else { break };
        match read(first..=last, Direction::Up)? {
            None => continue,
            Some(reached) => first = reached,
        }
        match read(first..=last, Direction::Down)? {
            None => continue,
            Some(reached) => last = reached,
        }
        if last.saturating_sub(first) > min_width {
            let middle = first + (last - first) / 2;
            gaps.extend([first..=middle, middle + 1..=last]);
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::{collections::BTreeSet, convert::Infallible};

    use super::*;

    /// Returns the keys that are read from the table `1..=200`, in which these are damaged.
    fn found(is_damaged: impl Fn(u128) -> bool) -> BTreeSet<u128> {
        let mut found = BTreeSet::new();
        let read = |range: RangeInclusive<u128>, direction| {
            let (first, last) = (*range.start().max(&1), *range.end().min(&200));
            let mut keys: Vec<_> = (first..=last).collect();
            let mut reached = *range.start();
            if direction == Direction::Down {
                keys.reverse();
                reached = *range.end();
            }
            for key in keys {
                if is_damaged(key) {
                    return Ok::<_, Infallible>(Some(reached));
                }
                reached = key;
                found.insert(key);
            }
            Ok(None)
        };
        let Ok(()) = read_around_damage(0..=u128::MAX, 1, read);
        found
    }

    #[test]
    fn keys_between_damaged_places_are_read() {
        let is_damaged = |key: u128| (20..=31).contains(&key) || key == 50 || (150..=180).contains(&key);
        assert!(found(is_damaged).into_iter().eq((1..=200).filter(|key| !is_damaged(*key))));
    }

    #[test]
    fn reading_ends_if_all_keys_are_damaged() {
        assert!(found(|_| true).is_empty());
    }
}
