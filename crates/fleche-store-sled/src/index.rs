//! The index of records by function: its rows, and the selection of rows for a query.

use std::borrow::Cow;

use fleche_core::{
    CallKey, Digest, Query, Record, ValueRef,
    call::{Argument, INLINE_LIMIT},
};

/// The maximum number of arguments that a row describes. Rows of calls with more arguments describe none.
const MOST_ARGUMENTS: usize = 16;
const MARK_LEN: usize = 4;

/// Returns the key of a record's row.
pub(crate) fn row_key(function: &str, key: &CallKey) -> [u8; 40] {
    let mut row = [0; 40];
    row[..8].copy_from_slice(&rows_of(function));
    row[8..].copy_from_slice(key.digest().as_bytes());
    row
}

/// Returns the prefix of the row keys of this function.
pub(crate) fn rows_of(function: &str) -> [u8; 8] {
    first(Digest::of(function.as_bytes()))
}

/// Returns the key of the call that a row describes, or `None` if the row is damaged.
pub(crate) fn call_of(row_key: &[u8]) -> Option<CallKey> {
    row_key.get(8..)?.first_chunk().map(|key| Digest::from_bytes(*key).into())
}

/// Returns the content of a record's row: a mark for each argument, or a single byte if there are too many.
pub(crate) fn marks(record: &Record) -> Vec<u8> {
    let arguments = &record.arguments;
    if arguments.len() > MOST_ARGUMENTS { vec![0] } else { arguments.iter().flat_map(mark).collect() }
}

/// Returns whether the record of a row with these marks may match the query: no argument's mark is missing.
pub(crate) fn may_match(query: &Query, marks: &[u8]) -> bool {
    let (marks, rest) = marks.as_chunks::<MARK_LEN>();
    !rest.is_empty() || query.arguments().iter().all(|wanted| marks.contains(&mark(wanted)))
}

/// Returns four bytes of the digest of the argument: its name, its form and its reference.
fn mark(Argument(name, value): &Argument) -> [u8; MARK_LEN] {
    let mut bytes = Vec::with_capacity(name.len() + 2 + INLINE_LIMIT);
    bytes.extend_from_slice(name.as_bytes());
    let (form, reference): (u8, Cow<'_, [u8]>) = match value {
        ValueRef::Inline(encoded) => (0, encoded.as_slice().into()),
        ValueRef::Stored(digest) => (1, digest.as_bytes()[..].into()),
    };
    bytes.extend_from_slice(&[0, form]);
    bytes.extend_from_slice(&reference);
    first(Digest::of(&bytes))
}

fn first<const N: usize>(digest: Digest) -> [u8; N] {
    std::array::from_fn(|at| digest.as_bytes()[at])
}
