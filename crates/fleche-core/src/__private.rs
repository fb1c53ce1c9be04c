//! The items that expansions of the macros name. Not part of the public API.

pub use inventory;

pub use crate::{
    bound::{
        BoundCall,
        call::{Parts, answer},
        descriptor::Descriptor,
        transport::{
            LentErrorWire, NoTransport, NoWire, RemoteTransport, Transport, TransportProbe, WholeWire, WireProbe,
        },
    },
    cache::{Cache, StalePolicy},
    call::CallKey,
    encoding::DecodeError,
    engine::{
        Arguments, AsyncCall, AsyncChecked, CarriedByBoundCalls, CheckSubmitted, Found, IgnoredProbe, MutableProbe,
        NoCopy, NoEquality, NotMutable, NotScalar, Owned, Reader, Recheck, ResultKind, ResultProbe, ScalarKey,
        ScalarProbe, StabilityCheck, StaysHere, TypeAbilities, WholeResult, abilities_of, codec, contains, evict, key,
        key_or_panic, load, load_boxed, local_codec, look_up, rerun, set_long_wait,
    },
    error::Result,
    executor::remote::isolate_in_process,
    function::{
        Definition, Erased, Function, Loaded, Parameter, Portable, Registration, WaitPolicy, instance, stable_type_name,
    },
    isolate::{Isolation, assert_send, isolate, threads_have_directories},
    store::query::Query,
};
pub use std::{any::TypeId, borrow::Borrow, future::Future};

/// Returns the type id of a function item.
pub const fn type_of<T: 'static>(_: &T) -> TypeId {
    TypeId::of::<T>()
}
