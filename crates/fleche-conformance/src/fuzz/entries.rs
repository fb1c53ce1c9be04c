//! The small set of entries on which sequences of operations work.

use std::time::Duration;

use fleche_core::{
    CallKey, Digest, DigestPrefix, FunctionId, Query, Record, ValueRef, call::RecordFields, encoding::Encoded,
    metadata::TAGS,
};

use crate::test_data::{argument, key, moment, noise, record};

/// The number of values, which is small so that operations often meet the same one.
pub(super) const VALUES: u8 = 16;
/// The number of keys of calls.
pub(super) const KEYS: u8 = 8;
/// The number of different records of one call.
pub(super) const VERSIONS: u8 = 3;

/// Returns the bytes of a value, whose size ranges from none to more than a small buffer.
pub(super) fn value(nth: u8) -> Vec<u8> {
    let sizes = [0, 1, 64, 65, 1_000, 4_096, 20_000, 70_000];
    let nth = usize::from(nth);
    // The sizes grow in each round, so that no two values are equal.
    noise(nth as u64, sizes[nth % sizes.len()] + nth / sizes.len() * 30)
}

/// Returns a value in another form, as a layer may store it. The form is the value with a suffix.
pub(super) fn in_other_form(value: &[u8]) -> Vec<u8> {
    [value, OTHER_FORM].concat()
}

/// Returns the value whose other form this is, or `None` if the bytes are not in that form.
pub(super) fn from_other_form(bytes: &[u8]) -> Option<&[u8]> {
    bytes.strip_suffix(OTHER_FORM)
}

const OTHER_FORM: &[u8] = b" in another form";

/// Returns the n-th key. The calls have two functions, two versions and two values of one argument.
pub(super) fn call(nth: u8) -> CallKey {
    key(&call_record(nth, 0))
}

/// Returns a record of the n-th call. Records with different values of `writing` differ in time, tag and size.
pub(super) fn call_record(nth: u8, writing: u8) -> Record {
    let function = if nth.is_multiple_of(2) { "fuzz::even" } else { "fuzz::odd" };
    let number = u64::from(nth) * 8 + u64::from(writing);
    let mut fields: RecordFields = (*record(function, number, &noise(number, 50 << (2 * writing)))).clone();
    fields.function = FunctionId { version: 1 + u64::from(nth / 2 % 2), ..fields.function };
    fields.arguments = vec![argument("x", u64::from(nth / 4)), argument("nth", nth.into())];
    fields.result = ValueRef::new(&noise(number, 40));
    fields.written = moment(u64::from(writing) * 1_000);
    let tags = std::collections::BTreeMap::from([("project", tag(writing))]);
    if let Ok(tags) = Encoded::encode(&tags) {
        fields.metadata.insert(TAGS, tags);
    }
    Record::new(fields)
}

fn tag(writing: u8) -> &'static str {
    if writing.is_multiple_of(2) { "alloy" } else { "glass" }
}

/// The conditions of a query; `None` stands for no condition.
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

/// Returns the prefix of this number of digits, or the whole digest if the number is larger.
pub(super) fn prefix(digest: &Digest, digits: u8) -> Result<DigestPrefix, String> {
    let text = digest.to_string();
    let cut = text.len().min(digits.into());
    text[..cut].parse().map_err(|error| format!("{error}"))
}

/// The age that an entry must exceed to be removed.
#[derive(Clone, Copy, Debug)]
pub(super) enum Age {
    /// No minimum.
    Any,
    /// Zero: the entry was put before this moment, at the resolution of the store's clock.
    Zero,
    /// An hour, which no entry of a sequence exceeds.
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
