//! Lists entries page by page, each from where the last one ended, so that nothing stays open while the caller handles
//! entries.

use crate::{
    digest::{Digest, DigestPrefix},
    error::Result,
};

/// A page, and the start of the next one, or `None` after the last page.
pub type Page<T, P> = (Vec<Result<T>>, Option<P>);

/// Returns the items of all pages. A page is read when iteration reaches it. If that fails, the error is the last item.
pub fn pages<T, P>(mut load_page: impl FnMut(Option<P>) -> Result<Page<T, P>>) -> impl Iterator<Item = Result<T>> {
    let mut at = Some(None);
    let pages = std::iter::from_fn(move || {
        let (items, next) = load_page(at.take()?).unwrap_or_else(|error| (vec![Err(error)], None));
        at = next.map(Some);
        Some(items)
    });
    pages.flatten()
}

/// Returns the first and the last digest with this prefix.
pub fn prefix_bounds(prefix: &DigestPrefix) -> (Digest, Digest) {
    let (mut first, mut last) = ([0; 32], [0xff; 32]);
    for (at, digit) in prefix.as_str().chars().enumerate() {
        // A prefix has only hexadecimal digits.
        let digit = u8::try_from(digit.to_digit(16).unwrap_or(0)).unwrap_or(0);
        let (mask, shifted) = if at % 2 == 0 { (0x0f, digit << 4) } else { (0xf0, digit) };
        for bound in [&mut first, &mut last] {
            bound[at / 2] = bound[at / 2] & mask | shifted;
        }
    }
    (Digest::from_bytes(first), Digest::from_bytes(last))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::Error;

    #[test]
    fn bounds_are_the_first_and_last_digest_with_the_prefix() {
        let all = (Digest::from_bytes([0; 32]), Digest::from_bytes([0xff; 32]));
        assert_eq!(prefix_bounds(&DigestPrefix::all()), all);
        for prefix in ["0", "f", "a7", "a7c", &"5".repeat(63), &"5".repeat(64)] {
            let prefix: DigestPrefix = prefix.parse().unwrap();
            let (first, last) = prefix_bounds(&prefix);
            let hex = |digit: &str| format!("{prefix}{}", digit.repeat(64 - prefix.as_str().len()));
            assert_eq!(first.to_string(), hex("0"));
            assert_eq!(last.to_string(), hex("f"));
        }
    }

    #[test]
    fn pages_are_read_until_the_last_one_or_an_error() {
        let numbers = |limit: u32| {
            move |after: Option<u32>| {
                let first = after.map_or(0, |after| after + 1);
                let next = Some(first).filter(|first| *first < limit);
                Ok((vec![Ok(first)], next))
            }
        };
        assert_eq!(pages(numbers(3)).map(Result::unwrap).collect::<Vec<_>>(), [0, 1, 2, 3]);
        let failing = |after: Option<()>| match after {
            None => Ok((vec![Ok(1)], Some(()))),
            Some(()) => Err(Error::Refused { store: "s".into(), operation: "list" }),
        };
        let listed: Vec<_> = pages(failing).collect();
        assert!(matches!(&listed[..], [Ok(1), Err(_)]));
    }
}
