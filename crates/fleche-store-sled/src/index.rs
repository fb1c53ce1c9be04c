//! The index of records by function: what its rows hold, and which of them a query asks for.

use std::borrow::Cow;

use fleche_core::{
    CallKey, Digest, Query, Record, ValueRef,
    call::{Argument, INLINE_LIMIT},
};

/// Of calls with more arguments the row says nothing about them.
const MOST_ARGUMENTS: usize = 16;
const MARK_LEN: usize = 4;

/// The key of a record's row.
pub(crate) fn row_key(function: &str, key: &CallKey) -> [u8; 40] {
    let mut row = [0; 40];
    row[..8].copy_from_slice(&rows_of(function));
    row[8..].copy_from_slice(key.digest().as_bytes());
    row
}

/// What the keys of the rows of this function begin with.
pub(crate) fn rows_of(function: &str) -> [u8; 8] {
    first(Digest::of(function.as_bytes()))
}

/// The key of the call that a row is of; `None` if the row is damaged.
pub(crate) fn call_of(row_key: &[u8]) -> Option<CallKey> {
    row_key.get(8..)?.first_chunk().map(|key| Digest::from_bytes(*key).into())
}

/// What a row says of the record: a mark for each argument; an odd byte stands for too many.
pub(crate) fn marks(record: &Record) -> Vec<u8> {
    let arguments = &record.arguments;
    if arguments.len() > MOST_ARGUMENTS { vec![0] } else { arguments.iter().flat_map(mark).collect() }
}

/// Whether the record of a row with these marks may fulfil the query: none is missing.
pub(crate) fn may_match(query: &Query, marks: &[u8]) -> bool {
    let (marks, rest) = marks.as_chunks::<MARK_LEN>();
    !rest.is_empty() || query.arguments().iter().all(|wanted| marks.contains(&mark(wanted)))
}

/// Four bytes of the digest of the argument: its name, its form and its reference.
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
