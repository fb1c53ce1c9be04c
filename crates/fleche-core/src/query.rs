//! `Query`: which records to look for.

use std::borrow::Cow;

use serde::Serialize;

use crate::{
    call::{Argument, Record, Timestamp, ValueRef},
    encoding,
    error::Result,
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

    /// Only records written at this moment or later.
    pub fn since(mut self, moment: Timestamp) -> Self {
        self.since = Some(moment);
        self
    }

    /// The full name that the function must have, where one is asked for: what a store with an index by name needs.
    pub fn function_name(&self) -> Option<&str> {
        self.function.as_deref()
    }

    /// Whether the record fulfils every condition.
    pub fn matches(&self, record: &Record) -> bool {
        self.function.as_ref().is_none_or(|name| *name == record.function.name)
            && self.version.is_none_or(|version| version == record.function.version)
            && self.since.is_none_or(|moment| record.written >= moment)
            && self.arguments.iter().all(|wanted| record.arguments.contains(wanted))
    }
}
