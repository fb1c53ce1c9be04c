//! The expansion satisfies a crate that denies everything.
#![forbid(unsafe_code)]
#![deny(warnings, missing_docs, unreachable_pub, unused, single_use_lifetimes, unused_lifetimes)]

use fleche_core::fleche;

/// Adds.
#[fleche(version = 2, hash_code)]
#[must_use]
#[inline]
pub fn add(x: i64, mut y: i64) -> i64 {
    y += x;
    y
}

/// A function whose parameter has its name.
#[fleche]
pub fn shadow(shadow: i64) -> i64 {
    shadow
}

#[fleche]
fn with_lifetime<'a>(text: &'a str, _other: &'a [u8]) -> String {
    text.to_owned()
}

#[fleche]
#[deprecated(note = "old")]
fn old(x: i64) -> i64 {
    if x == 0 {
        return 1;
    }
    x
}

#[fleche]
fn question(text: &str) -> Result<i64, std::num::ParseIntError> {
    let parsed = text.parse::<i64>()?;
    Ok(parsed)
}

/// Runs on a thread of its own.
#[fleche(isolate(keep_on_panic, stack = "1 MiB"))]
#[must_use]
pub fn alone(text: &str, (first, _second): (i64, i64)) -> i64 {
    if text.is_empty() {
        return 0;
    }
    first
}

#[cfg(any())]
#[fleche]
fn absent(x: Missing) -> Missing {
    x
}

#[fleche]
#[cfg(any())]
fn absent_too(x: Missing) -> Missing {
    x
}

fn main() {
    fleche_core::Cache::void().scope(|| {
        assert_eq!(add(1, 2) + shadow(1), 4);
        assert_eq!(with_lifetime("a", &[]), "a");
        #[allow(deprecated)]
        {
            assert_eq!(old(0), 1);
        }
        assert_eq!(question("7"), Ok(7));
        assert_eq!(alone("7", (1, 2)), 1);
    });
}
