//! A call and its record: function identity, argument references, key, record.

mod key;
mod record;
mod record_fields;
mod value_ref;

pub use crate::metadata::Timestamp;
pub use key::{Argument, CallKey, FunctionId};
pub(crate) use key::{Identity, Reference};
pub use record::{Record, RecordSummary};
pub use record_fields::{RecordFields, Writer};
pub use value_ref::{INLINE_LIMIT, InlineBytes, ValueRef};
