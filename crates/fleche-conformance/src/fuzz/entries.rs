//! The few entries that sequences of operations are about.

use std::time::Duration;

use fleche_core::{
    CallKey, Digest, DigestPrefix, FunctionId, Query, Record, ValueRef, call::RecordFields, encoding::Encoded,
    metadata::TAGS,
};

use crate::item::{argument, key, moment, noise, record};

/// So many values: few, so that operations meet.
pub(super) const VALUES: u8 = 16;
/// So many keys of calls.
pub(super) const KEYS: u8 = 8;
/// So many records that one call may have, one after the other.
pub(super) const VERSIONS: u8 = 3;

/// The bytes of a value: none, one, some, several pages, or more than a small buffer.
pub(super) fn value(nth: u8) -> Vec<u8> {
    let sizes = [0, 1, 64, 65, 1_000, 4_096, 20_000, 70_000];
    let nth = usize::from(nth);
    // Longer each time around, so that no two are the same.
    noise(nth as u64, sizes[nth % sizes.len()] + nth / sizes.len() * 30)
}

/// A value in another form, as a layer may keep it: longer, and to be known by its end.
pub(super) fn in_other_form(value: &[u8]) -> Vec<u8> {
    [value, OTHER_FORM].concat()
}

/// The value of which this is the other form.
pub(super) fn from_other_form(bytes: &[u8]) -> Option<&[u8]> {
    bytes.strip_suffix(OTHER_FORM)
}

const OTHER_FORM: &[u8] = b" in another form";

/// The n-th key's call: two functions, two versions, two values of one argument.
pub(super) fn call(nth: u8) -> CallKey {
    key(&call_record(nth, 0))
}

/// A record of the n-th call: its writings differ in time, tag and size.
pub(super) fn call_record(nth: u8, writing: u8) -> Record {
    let function = if nth.is_multiple_of(2) { "fuzz::even" } else { "fuzz::odd" };
    let number = u64::from(nth) * 8 + u64::from(writing);
    let mut fields: RecordFields = (*record(function, number, &noise(number, 50 << (2 * writing)))).clone();
    fields.function = FunctionId { version: 1 + u64::from(nth / 2 % 2), ..fields.function };
    fields.arguments = vec![argument("x", u64::from(nth / 4)), argument("nth", nth.into())];
    fields.result = ValueRef::of(&noise(number, 40));
    fields.written = moment(u64::from(writing) * 1_000);
    let tags = std::collections::BTreeMap::from([("project", tag(writing))]);
    if let Ok(tags) = Encoded::of(&tags) {
        fields.metadata.insert(TAGS, tags);
    }
    Record::new(fields)
}

fn tag(writing: u8) -> &'static str {
    if writing.is_multiple_of(2) { "alloy" } else { "glass" }
}

/// A question; what is `None` is not asked.
#[derive(Clone, Debug)]
pub(super) struct Question {
    pub(super) function: Option<bool>,
    pub(super) version: Option<u8>,
    pub(super) argument: Option<u8>,
    pub(super) tag: Option<u8>,
    pub(super) since: Option<u8>,
}

impl Question {
    pub(super) fn query(&self) -> Result<Query, String> {
        let mut query = Query::new();
        if let Some(even) = self.function {
            query = query.function(if even { "fuzz::even" } else { "fuzz::odd" });
        }
        if let Some(version) = self.version {
            query = query.version(version.into());
        }
        if let Some(x) = self.argument {
            query = query.argument("x", &u64::from(x)).map_err(|error| error.to_string())?;
        }
        if let Some(writing) = self.tag {
            query = query.tag("project", tag(writing));
        }
        if let Some(writing) = self.since {
            query = query.since(moment(u64::from(writing) * 1_000));
        }
        Ok(query)
    }
}

/// The first digits of a digest; all of them for large numbers.
pub(super) fn prefix(digest: &Digest, digits: u8) -> Result<DigestPrefix, String> {
    let text = digest.to_string();
    let cut = text.len().min(digits.into());
    text[..cut].parse().map_err(|error| format!("{error}"))
}

/// What entries may be asked to be older than.
#[derive(Clone, Copy, Debug)]
pub(super) enum Age {
    /// They need not be old.
    Any,
    /// Older than nothing: put before this moment, as far as the store's clock can tell.
    Zero,
    /// Older than everything that a sequence puts.
    Hour,
}

impl Age {
    pub(super) fn limit(self) -> Option<Duration> {
        match self {
            Self::Any => None,
            Self::Zero => Some(Duration::ZERO),
            Self::Hour => Some(Duration::from_hours(1)),
        }
    }
}
