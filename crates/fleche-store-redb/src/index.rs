//! The index of records: its rows, and the selection of rows for a query.

use std::{borrow::Cow, ops::RangeInclusive};

use fleche_core::{
    CallKey, Digest, Query, Record, ValueRef,
    call::{Argument, INLINE_LIMIT},
};

/// The key of a row: an 8-byte selector, then the key of the call. A record has a row for its function and one for each
/// of its arguments. The rows are derived from the record, so rows that damage has added or lost are detected or
/// rewritten together with the record.
pub(crate) type RowKey = [u8; SELECTOR_LEN + KEY_LEN];

const SELECTOR_LEN: usize = 8;
const KEY_LEN: usize = 32;

/// The first bytes of a digest of the property that a query selects by. Collisions are resolved by checking the records.
type Selector = [u8; SELECTOR_LEN];

/// Returns the rows of a record.
pub(crate) fn rows(key: &CallKey, record: &Record) -> Vec<RowKey> {
    let name = &record.function.name;
    let arguments = record.arguments.iter().map(|argument| of_argument(name, argument));
    std::iter::once(of_function(name)).chain(arguments).map(|selector| row(selector, key.digest().as_bytes())).collect()
}

/// Returns the key of the record that a row leads to.
pub(crate) fn call_of(row: &RowKey) -> CallKey {
    Digest::from_bytes(std::array::from_fn(|at| row[SELECTOR_LEN + at])).into()
}

/// The rows that a query for a function selects.
pub(crate) struct Wanted {
    /// The rows of one of the query's arguments, or of the function if it has none.
    pub(crate) rows: RangeInclusive<RowKey>,
    others: Vec<Selector>,
}

impl Wanted {
    pub(crate) fn new(function: &str, query: &Query) -> Self {
        let mut selectors: Vec<_> = query.arguments().iter().map(|argument| of_argument(function, argument)).collect();
        let first = selectors.pop().unwrap_or_else(|| of_function(function));
        Self { rows: row(first, &[0; KEY_LEN])..=row(first, &[u8::MAX; KEY_LEN]), others: selectors }
    }

    /// Returns the rows of the query's other arguments, which a matching record with this row must also have.
    pub(crate) fn others<'a>(&'a self, found: &'a RowKey) -> impl Iterator<Item = RowKey> + 'a {
        let key: [u8; KEY_LEN] = std::array::from_fn(|at| found[SELECTOR_LEN + at]);
        self.others.iter().map(move |selector| row(*selector, &key))
    }
}

fn row(selector: Selector, key: &[u8; KEY_LEN]) -> RowKey {
    let mut row = [0; SELECTOR_LEN + KEY_LEN];
    row[..SELECTOR_LEN].copy_from_slice(&selector);
    row[SELECTOR_LEN..].copy_from_slice(key);
    row
}

fn of_function(name: &str) -> Selector {
    selector(name.as_bytes())
}

/// Computes the selector from the function's name, the argument's name, its form and its reference.
fn of_argument(function: &str, Argument(name, value): &Argument) -> Selector {
    let (form, reference): (u8, Cow<'_, [u8]>) = match value {
        ValueRef::Inline(encoded) => (0, encoded.as_slice().into()),
        ValueRef::Stored(digest) => (1, digest.as_bytes()[..].into()),
    };
    let mut bytes = Vec::with_capacity(function.len() + name.len() + 3 + INLINE_LIMIT);
    bytes.extend_from_slice(function.as_bytes());
    bytes.push(0);
    bytes.extend_from_slice(name.as_bytes());
    bytes.extend_from_slice(&[0, form]);
    bytes.extend_from_slice(&reference);
    selector(&bytes)
}

fn selector(bytes: &[u8]) -> Selector {
    let digest = Digest::of(bytes);
    std::array::from_fn(|at| digest.as_bytes()[at])
}
