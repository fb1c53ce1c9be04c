//! The items that expansions of the macros name. Not part of the public API.

pub use inventory;

pub use crate::{
    bound::{
        BoundCall, Descriptor, LentErrorWire, NoTransport, NoWire, Parts, RemoteTransport, Transport, TransportProbe,
        WholeWire, WireProbe, answer,
    },
    cache::{Cache, StalePolicy},
    call::CallKey,
    encoding::DecodeError,
    error::Result,
    executor::isolate_in_process,
    function::{
        Definition, Erased, Function, Loaded, Parameter, Patience, Portable, Registration, instance, stable_type_name,
    },
    isolate::{Isolation, crosses, isolate, threads_have_directories},
    memo::{
        Abilities, Arguments, AsyncCall, AsyncChecked, CarriedByBoundCalls, CheckSubmitted, Found, Guard, IgnoredProbe,
        MutableProbe, NoCopy, NoEquality, NotMutable, NotQuick, Owned, Plan, QuickKey, QuickProbe, Reader, Recheck,
        ResultProbe, StaysHere, WholeResult, abilities_of, codec, contains, evict, key, key_or_panic, load, load_boxed,
        local_codec, look_up, rerun, tell_waits_of,
    },
    query::Query,
};
pub use std::{any::TypeId, borrow::Borrow, future::Future};

/// Returns the type id of a function item.
pub const fn type_of<T: 'static>(_: &T) -> TypeId {
    TypeId::of::<T>()
}
