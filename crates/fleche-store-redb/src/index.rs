//! The index of records by function: what its rows hold, and which of them a query asks for.

use std::{borrow::Cow, ops::Range};

use fleche_core::{
    CallKey, Digest, Query, Record, ValueRef,
    call::{Argument, INLINE_LIMIT},
};

/// The key of a record's row: 8 bytes of the digest of the function's name, then a number that no other record has, big
/// endian. So the rows of a function stand together, in the order in which its records came, and many that are
/// put at once change one page.
pub(crate) type RowKey = [u8; 16];

/// Of calls with more arguments the row says nothing about them.
const MOST_ARGUMENTS: usize = 16;
const KEY_LEN: usize = 32;
const MARK_LEN: usize = 4;

/// What the index is to know of a record.
#[derive(Clone)]
pub(crate) struct Row {
    /// The first half of the row's key.
    pub(crate) function: [u8; 8],
    /// The call's key, then a mark for each argument; an odd byte stands for too many arguments.
    pub(crate) content: Vec<u8>,
}

impl Row {
    pub(crate) fn of(key: &CallKey, record: &Record) -> Self {
        let arguments = &record.arguments;
        let mut content = Vec::with_capacity(KEY_LEN + MARK_LEN * arguments.len().min(MOST_ARGUMENTS));
        content.extend_from_slice(key.digest().as_bytes());
        if arguments.len() <= MOST_ARGUMENTS {
            content.extend(arguments.iter().flat_map(mark));
        } else {
            content.push(0);
        }
        Self { function: function(&record.function.name), content }
    }

    /// The key of this row, with this number.
    pub(crate) fn key(&self, number: u64) -> RowKey {
        row_key(self.function, number)
    }
}

/// The key of the record that a row leads to; `None` if the row is damaged.
pub(crate) fn call_of(content: &[u8]) -> Option<CallKey> {
    content.first_chunk().map(|key| Digest::from_bytes(*key).into())
}

/// The rows that a query for a function asks for.
pub(crate) struct Wanted {
    pub(crate) rows: Range<RowKey>,
    marks: Vec<[u8; MARK_LEN]>,
}

impl Wanted {
    /// Of the rows with numbers before this one.
    pub(crate) fn new(name: &str, query: &Query, before: u64) -> Self {
        let function = function(name);
        let rows = row_key(function, 0)..row_key(function, before);
        Self { rows, marks: query.arguments().iter().map(mark).collect() }
    }

    /// Whether the record of this row may fulfil the query: no mark is missing.
    pub(crate) fn may_match(&self, content: &[u8]) -> bool {
        let (marks, rest) = content.get(KEY_LEN..).unwrap_or_default().as_chunks::<MARK_LEN>();
        !rest.is_empty() || self.marks.iter().all(|wanted| marks.contains(wanted))
    }
}

fn row_key(function: [u8; 8], number: u64) -> RowKey {
    let mut key = [0; 16];
    key[..8].copy_from_slice(&function);
    key[8..].copy_from_slice(&number.to_be_bytes());
    key
}

fn function(name: &str) -> [u8; 8] {
    first(Digest::of(name.as_bytes()))
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
