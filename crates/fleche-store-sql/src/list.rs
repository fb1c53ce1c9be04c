//! Lists keys page by page, each from where the last one ended, so that nothing stays open between pages.

use fleche_core::{Digest, DigestPrefix, Result, store::Entries};

use crate::{error::DbError, statement::Statement, tables::Tables};

/// The number of keys in a page.
const PAGE: usize = 1000;

/// Returns the digests with this prefix. The statement ends with the name of the column that holds them, which is the
/// table's key.
pub(crate) fn keys<'a>(tables: &'a Tables, select: &'static str, prefix: &DigestPrefix) -> Entries<'a, Digest> {
    let (first, last) = bounds(prefix);
    Box::new(pages(move |after: Option<Digest>| {
        let (from, relation) = after.map_or((first, ">="), |after| (*after.as_bytes(), ">"));
        let column = select.rsplit(' ').next().unwrap_or_default();
        let sql = format!("{select} {relation} $1 AND {column} <= $2 ORDER BY {column} LIMIT {PAGE}");
        // A damaged key does not end the listing.
        let digests = tables.read(&Statement::new(sql).bytes(&from).bytes(&last), |row| Ok(digest(row.bytes(0)?)))?;
        let next = digests.last().and_then(|last| last.as_ref().ok()).copied().filter(|_| digests.len() == PAGE);
        let digests = digests.into_iter().map(|digest| digest.map_err(|error| error.into_error(&tables.name)));
        Ok((digests.collect(), next))
    }))
}

/// A page, and the start of the next one, or `None` after the last page.
pub(crate) type Page<T, P> = (Vec<Result<T>>, Option<P>);

/// Returns the items of all pages. A page is read when iteration reaches it. If that fails, the error is the last item.
pub(crate) fn pages<T, P>(load_page: impl Fn(Option<P>) -> Result<Page<T, P>>) -> impl Iterator<Item = Result<T>> {
    let mut at = Some(None);
    let pages = std::iter::from_fn(move || {
        let (items, next) = load_page(at.take()?).unwrap_or_else(|error| (vec![Err(error)], None));
        at = next.map(Some);
        Some(items)
    });
    pages.flatten()
}

/// Returns the digest that consists of these bytes of a key.
pub(crate) fn digest(bytes: &[u8]) -> Result<Digest, DbError> {
    <[u8; 32]>::try_from(bytes).map(Digest::from_bytes).map_err(|_| DbError::content("a key is not a digest"))
}

/// Returns the first and the last digest with this prefix.
fn bounds(prefix: &DigestPrefix) -> ([u8; 32], [u8; 32]) {
    let (mut first, mut last) = ([0; 32], [0xff; 32]);
    for (at, digit) in prefix.as_str().chars().enumerate() {
        // A prefix has only hexadecimal digits.
        let digit = u8::try_from(digit.to_digit(16).unwrap_or(0)).unwrap_or(0);
        let (mask, shifted) = if at % 2 == 0 { (0x0f, digit << 4) } else { (0xf0, digit) };
        for bound in [&mut first, &mut last] {
            bound[at / 2] = bound[at / 2] & mask | shifted;
        }
    }
    (first, last)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bounds_are_the_first_and_last_digest_with_the_prefix() {
        assert_eq!(bounds(&DigestPrefix::all()), ([0; 32], [0xff; 32]));
        for prefix in ["0", "f", "a7", "a7c", &"5".repeat(63), &"5".repeat(64)] {
            let prefix: DigestPrefix = prefix.parse().unwrap();
            let (first, last) = bounds(&prefix);
            let hex = |digit: &str| format!("{prefix}{}", digit.repeat(64 - prefix.as_str().len()));
            assert_eq!(Digest::from_bytes(first).to_string(), hex("0"));
            assert_eq!(Digest::from_bytes(last).to_string(), hex("f"));
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
            Some(()) => Err(fleche_core::Error::Refused { store: "s".into(), operation: "list" }),
        };
        let listed: Vec<_> = pages(failing).collect();
        assert!(matches!(&listed[..], [Ok(1), Err(_)]));
    }
}
