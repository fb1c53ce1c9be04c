//! What the macros' expansions name. Not for people.

pub use inventory;

pub use crate::{
    bound::{BoundCall, NoTransport, RemoteTransport, TransportProbe},
    cache::Cache,
    call::CallKey,
    encoding::DecodeError,
    error::Result,
    function::{Definition, Function, Parameter, Registration, instance},
    isolate::{Isolation, crosses, isolate},
    memo::{
        Arguments, Found, NoEquality, Owned, Plan, Reader, Recheck, ResultProbe, WholeResult, codec, contains,
        equality_of, evict, key, key_or_panic, load, load_boxed, local_codec, look_up, rerun,
    },
    query::Query,
};
pub use std::{any::TypeId, borrow::Borrow};

/// The identity of a function item.
pub fn type_of<T: 'static>(_: &T) -> TypeId {
    TypeId::of::<T>()
}
