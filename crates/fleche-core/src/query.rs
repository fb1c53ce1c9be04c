//! `Query`: which records to look for.

use std::{borrow::Cow, collections::BTreeMap};

use serde::Serialize;

use crate::{
    call::{Argument, Record, Timestamp, ValueRef},
    encoding::{self, Encoded, item},
    error::Result,
    metadata::{Metadata, TAGS},
};

/// Which records to look for: all conditions given must hold; without any, every record matches.
///
/// ```
/// # fn main() -> fleche_core::Result<()> {
/// use fleche_core::Query;
///
/// let query = Query::new().function("solver::energy").argument("cutoff", &4.5)?;
/// # assert_eq!(query.function_name(), Some("solver::energy"));
/// # Ok(()) }
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Query {
    function: Option<Cow<'static, str>>,
    version: Option<u64>,
    arguments: Vec<Argument>,
    metadata: Vec<Field>,
    since: Option<Timestamp>,
}

impl Query {
    /// Every record.
    pub fn new() -> Self {
        Self::default()
    }

    /// Only calls of the function with this full name.
    pub fn function(mut self, name: impl Into<Cow<'static, str>>) -> Self {
        self.function = Some(name.into());
        self
    }

    /// Only calls of this version of the function.
    pub fn version(mut self, version: u64) -> Self {
        self.version = Some(version);
        self
    }

    /// Only calls in which the parameter of this name had this value. Ignored arguments are not in records: a
    /// condition on one matches nothing. The value's type must encode as the parameter's does: sequences of numbers tell their element
    /// type, so `&[1_u8, 2]` finds a `Vec<u8>` and `&[1, 2]`, which is of `i32`, does not.
    ///
    /// # Errors
    /// Where the value cannot be encoded.
    pub fn argument<T: Serialize + ?Sized>(mut self, name: impl Into<Cow<'static, str>>, value: &T) -> Result<Self> {
        self.arguments.push(Argument(name.into(), ValueRef::of(&encoding::to_vec(value)?)));
        Ok(self)
    }

    /// Only records whose report of this kind of metadata is a map in which the field of this name has this value.
    ///
    /// # Errors
    /// Where the value cannot be encoded.
    pub fn metadata<T: Serialize + ?Sized>(
        mut self,
        kind: impl Into<String>,
        name: impl Into<String>,
        value: &T,
    ) -> Result<Self> {
        let value = ValueRef::of(&encoding::to_vec(value)?);
        self.metadata.push(Field { kind: kind.into(), name: name.into(), value });
        Ok(self)
    }

    /// Only records of calls made while the tag of this name had this value.
    pub fn tag(mut self, name: impl Into<String>, value: &str) -> Self {
        self.metadata.push(Field { kind: TAGS.to_owned(), name: name.into(), value: text(value) });
        self
    }

    /// Only records written at this moment or later.
    pub fn since(mut self, moment: Timestamp) -> Self {
        self.since = Some(moment);
        self
    }

    /// The full name that the function must have, where one is asked for: what a store with an index by name needs.
    pub fn function_name(&self) -> Option<&str> {
        self.function.as_deref()
    }

    /// The version that the function must have, where one is asked for.
    pub fn version_number(&self) -> Option<u64> {
        self.version
    }

    /// The arguments that the call must have, among others.
    pub fn arguments(&self) -> &[Argument] {
        &self.arguments
    }

    /// The fields that the record's metadata must have, among others.
    pub fn fields(&self) -> &[Field] {
        &self.metadata
    }

    /// The moment at or after which the record must have been written, where one is given.
    pub fn earliest(&self) -> Option<Timestamp> {
        self.since
    }

    /// Whether the record fulfils every condition.
    pub fn matches(&self, record: &Record) -> bool {
        self.function.as_ref().is_none_or(|name| *name == record.function.name)
            && self.version.is_none_or(|version| version == record.function.version)
            && self.since.is_none_or(|moment| record.written >= moment)
            && self.arguments.iter().all(|wanted| record.arguments.contains(wanted))
            && self.metadata.iter().all(|wanted| wanted.is_in(&record.metadata))
    }
}

/// A field of metadata: what a query asks for, and what a store may index.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Field {
    /// The kind of metadata.
    pub kind: String,
    /// The field's name in the kind's report.
    pub name: String,
    /// Its value.
    pub value: ValueRef,
}

impl Field {
    /// All fields of all reports that are maps with text for keys. Reports of other forms have none.
    pub fn of(metadata: &Metadata) -> Vec<Self> {
        let fields = metadata.iter().flat_map(|(kind, report)| {
            let map: BTreeMap<String, Encoded> = report.decode().unwrap_or_default();
            let field = |(name, value): (String, Encoded)| Self {
                kind: kind.to_owned(),
                name,
                value: ValueRef::of(value.as_bytes()),
            };
            map.into_iter().map(field).collect::<Vec<_>>()
        });
        fields.collect()
    }

    fn is_in(&self, metadata: &Metadata) -> bool {
        let report = metadata.get::<BTreeMap<String, Encoded>>(&self.kind);
        let report = report.ok().flatten();
        report.and_then(|report| Some(ValueRef::of(report.get(&self.name)?.as_bytes()))) == Some(self.value)
    }
}

fn text(value: &str) -> ValueRef {
    let mut encoded = Vec::new();
    item::text(&mut encoded, value);
    ValueRef::of(&encoded)
}
