//! `Query`: the conditions that select records.

use std::{borrow::Cow, collections::BTreeMap, fmt};

use fleche_encoding::spi::append_text;
use serde::Serialize;

use crate::{
    call::{Argument, Record, Timestamp, ValueRef},
    encoding::{self, Encoded},
    error::Result,
    metadata::{Metadata, TAGS},
};

/// The conditions that select records. A record matches if all conditions hold; without conditions, every record matches.
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
    metadata: Vec<MetadataField>,
    since: Option<Timestamp>,
}

impl Query {
    /// Creates a query that matches every record.
    pub fn new() -> Self {
        Self::default()
    }

    /// Matches only calls of the function with this full name.
    pub fn function(mut self, name: impl Into<Cow<'static, str>>) -> Self {
        self.function = Some(name.into());
        self
    }

    /// Matches only calls of this version of the function.
    pub fn version(mut self, version: u64) -> Self {
        self.version = Some(version);
        self
    }

    /// Matches only calls in which the parameter of this name had this value.
    ///
    /// Records do not hold ignored arguments: a condition on one matches nothing. The value's type must encode as the
    /// parameter's type does. The encoding of a sequence of numbers includes the element type, so `&[1_u8, 2]` finds a
    /// `Vec<u8>`, but `&[1, 2]`, which is of `i32`, does not.
    ///
    /// # Errors
    /// Fails if the value cannot be encoded.
    pub fn argument<T: Serialize + ?Sized>(mut self, name: impl Into<Cow<'static, str>>, value: &T) -> Result<Self> {
        self.arguments.push(Argument(name.into(), ValueRef::new(&encoding::to_vec(value)?)));
        Ok(self)
    }

    /// Matches only records whose report of this kind of metadata is a map in which the field of this name has this
    /// value.
    ///
    /// # Errors
    /// Fails if the value cannot be encoded.
    pub fn metadata<T: Serialize + ?Sized>(
        mut self,
        kind: impl Into<String>,
        name: impl Into<String>,
        value: &T,
    ) -> Result<Self> {
        let value = ValueRef::new(&encoding::to_vec(value)?);
        self.metadata.push(MetadataField { kind: kind.into(), name: name.into(), value });
        Ok(self)
    }

    /// Matches only calls made while the tag of this name had this value.
    pub fn tag(mut self, name: impl Into<String>, value: &str) -> Self {
        self.metadata.push(MetadataField { kind: TAGS.to_owned(), name: name.into(), value: text(value) });
        self
    }

    /// Matches only records written at this time or later.
    pub fn since(mut self, moment: Timestamp) -> Self {
        self.since = Some(moment);
        self
    }

    /// Returns the full name that the function must have, or `None` if any name matches. Stores with an index by name
    /// use it.
    pub fn function_name(&self) -> Option<&str> {
        self.function.as_deref()
    }

    /// Returns the version that the function must have, or `None` if any version matches.
    pub fn version_number(&self) -> Option<u64> {
        self.version
    }

    /// Returns the arguments that the call must have. It may have others too.
    pub fn arguments(&self) -> &[Argument] {
        &self.arguments
    }

    /// Returns the fields that the record's metadata must have. It may have others too.
    pub fn fields(&self) -> &[MetadataField] {
        &self.metadata
    }

    /// Returns the earliest time at which the record may have been written, or `None` if any time matches.
    pub fn earliest(&self) -> Option<Timestamp> {
        self.since
    }

    /// Returns whether the record meets every condition.
    pub fn matches(&self, record: &Record) -> bool {
        self.function.as_ref().is_none_or(|name| *name == record.function.name)
            && self.version.is_none_or(|version| version == record.function.version)
            && self.since.is_none_or(|moment| record.written >= moment)
            && self.arguments.iter().all(|wanted| record.arguments.contains(wanted))
            && self.metadata.iter().all(|wanted| wanted.is_in(&record.metadata))
    }
}

/// Writes the conditions: `calls of solver::energy with cutoff = 4.5, tags project = "x"`. Values with long encodings are written
/// as digests.
impl fmt::Display for Query {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.function.is_some() { "calls of " } else { "all calls" })?;
        f.write_str(self.function.as_deref().unwrap_or_default())?;
        let version = self.version.map(|version| format!("version {version}"));
        let conditions = version.into_iter().chain(self.arguments.iter().map(ToString::to_string));
        let conditions = conditions.chain(self.metadata.iter().map(ToString::to_string));
        for (nth, condition) in conditions.enumerate() {
            write!(f, "{} {condition}", if nth == 0 { " with" } else { "," })?;
        }
        self.since.map_or(Ok(()), |since| write!(f, ", written since {since}"))
    }
}

/// Writes the kind, the name and the value: `tags project = "x"`.
impl fmt::Display for MetadataField {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {} = {}", self.kind, self.name, self.value)
    }
}

/// A metadata field, which a query selects by and a store may index.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MetadataField {
    /// The kind of metadata.
    pub kind: String,
    /// The field's name in the kind's report.
    pub name: String,
    /// The field's value.
    pub value: ValueRef,
}

impl MetadataField {
    /// Returns all fields of all reports that are maps with text keys. Reports of other forms have no fields.
    pub fn from_metadata(metadata: &Metadata) -> Vec<Self> {
        let fields = metadata.iter().flat_map(|(kind, report)| {
            let map: BTreeMap<String, Encoded> = report.decode().unwrap_or_default();
            let field = |(name, value): (String, Encoded)| Self {
                kind: kind.to_owned(),
                name,
                value: ValueRef::new(value.as_bytes()),
            };
            map.into_iter().map(field).collect::<Vec<_>>()
        });
        fields.collect()
    }

    fn is_in(&self, metadata: &Metadata) -> bool {
        let report = metadata.get::<BTreeMap<String, Encoded>>(&self.kind);
        let report = report.ok().flatten();
        report.and_then(|report| Some(ValueRef::new(report.get(&self.name)?.as_bytes()))) == Some(self.value)
    }
}

fn text(value: &str) -> ValueRef {
    let mut encoded = Vec::new();
    append_text(&mut encoded, value);
    ValueRef::new(&encoded)
}
