//! Verified reads: an entry that is damaged is moved out of the way and reported once.

use super::{Entry, Kind, StoreName};
use crate::error::Result;

/// The maximum number of entries that a quarantine keeps. Beyond it, the oldest one is dropped.
pub const MAX_QUARANTINED: usize = 64;
/// The maximum length of an entry that a quarantine keeps, in bytes.
const MAX_QUARANTINED_LEN: usize = 1 << 24;
/// The number of times that an entry is read if it seems damaged and other writers keep replacing it.
const MAX_READS: usize = 3;

/// What a read found: the verified content, nothing, or the reason why the entry is damaged, and its bytes.
pub type Verified<T, B> = Result<Option<T>, (String, B)>;

/// Reads an entry and verifies it. Returns `None` if there is none.
///
/// If the entry is damaged, `quarantine` moves these bytes away and returns whether they were still stored. If they were
/// not, another writer has replaced the entry, and it is read again. `fate` says where the moved entry is, as in "it was
/// moved to the table `damaged`".
///
/// # Errors
/// Fails with the errors of `read`, and with [`Error::Damaged`](crate::Error::Damaged) if the entry is damaged, whether or
/// not it could be moved.
pub fn read_verified<T, B>(
    name: &StoreName,
    entry: Entry,
    fate: &str,
    mut read: impl FnMut() -> Result<Verified<T, B>>,
    mut quarantine: impl FnMut(&B) -> Result<bool>,
) -> Result<Option<T>> {
    for _ in 0..MAX_READS {
        let (why, bytes) = match read()? {
            Ok(found) => return Ok(found),
            Err(damaged) => damaged,
        };
        match quarantine(&bytes) {
            Ok(false) => {}
            Ok(true) => return Err(name.damaged(entry, &why, fate)),
            // `Debug` includes the causes.
            Err(error) => {
                let fate = format!("it stays in place, since it cannot be moved: {error:?}");
                return Err(name.damaged(entry, &why, &fate));
            }
        }
    }
    Ok(None)
}

/// Returns the form in which a quarantine keeps an entry: `v` or `r`, its digest or the digest of its call, and its bytes.
/// Returns `None` if the entry is too long to be kept.
pub fn quarantined(entry: Entry, bytes: &[u8]) -> Option<Vec<u8>> {
    let tag = match entry.kind {
        Kind::Value => b'v',
        Kind::Record => b'r',
    };
    (bytes.len() <= MAX_QUARANTINED_LEN).then(|| [&[tag], &entry.digest.as_bytes()[..], bytes].concat())
}

#[cfg(test)]
mod tests {
    use std::{cell::RefCell, io};

    use super::*;
    use crate::{digest::Digest, error::Error};

    /// Reads from a list of contents, each of which is damaged if it is negative. `quarantined` is the result of each
    /// quarantine.
    fn read(contents: &[Option<i32>], quarantined: fn() -> Result<bool>) -> (Result<Option<i32>>, usize) {
        let left = RefCell::new(contents.iter());
        let found = read_verified(
            &StoreName::new("box", "x"),
            Entry::value(&Digest::hash(b"x")),
            "it is in the attic",
            || match left.borrow_mut().next().copied().flatten() {
                Some(content) if content < 0 => Ok(Err(("it is negative".to_owned(), content))),
                content => Ok(Ok(content)),
            },
            |_| quarantined(),
        );
        (found, left.into_inner().len())
    }

    #[test]
    fn intact_and_absent_entries_are_returned() {
        assert_eq!(read(&[Some(1)], || Ok(true)).0.unwrap(), Some(1));
        assert_eq!(read(&[None], || Ok(true)).0.unwrap(), None);
    }

    #[test]
    fn damaged_entry_is_reported_with_its_fate() {
        let message = read(&[Some(-1)], || Ok(true)).0.unwrap_err().to_string();
        assert!(message.contains("it is negative; it is in the attic"), "{message}");
        let denied = || Err(Error::io("write", "y")(io::Error::other("the disk is full")));
        let message = read(&[Some(-1)], denied).0.unwrap_err().to_string();
        assert!(message.contains("it stays in place") && message.contains("the disk is full"), "{message}");
    }

    #[test]
    fn replaced_entry_is_read_again_at_most_three_times() {
        assert_eq!(read(&[Some(-1), Some(2)], || Ok(false)).0.unwrap(), Some(2));
        let (found, left) = read(&[Some(-1); 5], || Ok(false));
        assert_eq!((found.unwrap(), left), (None, 2));
    }

    #[test]
    fn quarantined_form_has_tag_and_digest_and_ends_at_the_limit() {
        let id = Digest::hash(b"x");
        assert_eq!(quarantined(Entry::value(&id), b"ab").unwrap(), [&b"v"[..], id.as_bytes(), b"ab"].concat());
        assert_eq!(quarantined(Entry::record(&id.into()), b"").unwrap(), [&b"r"[..], id.as_bytes()].concat());
        assert_eq!(quarantined(Entry::value(&id), &vec![0; MAX_QUARANTINED_LEN + 1]), None);
    }
}
