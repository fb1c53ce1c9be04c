//! Counts in messages: "1 hit", "2 hits".

use std::fmt;

/// Returns the count with its noun, for people to read: `one` for a count of 1, else `many`.
pub fn counted(count: impl TryInto<u64>, one: &'static str, many: &'static str) -> impl fmt::Display {
    // Counts beyond the range of `u64` do not occur.
    let count = count.try_into().unwrap_or(u64::MAX);
    let noun = if count == 1 { one } else { many };
    fmt::from_fn(move |f| write!(f, "{count} {noun}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_count_of_one_has_the_singular() {
        let entries = [0_usize, 1, 2].map(|count| counted(count, "entry", "entries").to_string());
        assert_eq!(entries, ["0 entries", "1 entry", "2 entries"]);
    }
}
