//! The engine of memoized calls: look up, run the body on a miss, record.

mod async_call;
mod async_single_flight;
mod hot_results;
mod look_up;
mod panics;
mod parameter_probes;
mod result_kind;
mod scalar_key;
mod single_flight;
mod stability_check;
mod stale_record;
mod wait;

mod arguments;
mod codec;
mod events;
mod hit;
mod mutable;
mod recording;

pub use arguments::Arguments;
pub use async_call::{AsyncCall, AsyncChecked};
pub(crate) use codec::Rewritten;
pub use codec::{Codec, Owned, Reader, Recheck, codec, local_codec};
pub use hit::load_boxed;
pub use look_up::*;
pub use mutable::{MutableProbe, NotMutable};
pub use parameter_probes::{CarriedByBoundCalls, IgnoredProbe, StaysHere};
pub use result_kind::{
    AbilityProbe, NoCopy, NoEquality, Recordable, ResultKind, ResultProbe, TypeAbilities, WholeProbe, WholeResult,
    abilities_of,
};
pub use scalar_key::{NotScalar, ScalarKey, ScalarProbe};
pub use stability_check::{CheckSubmitted, Guard};
pub(crate) use stability_check::{check_bound, check_taken_apart, vouches_for_submitted};
pub use wait::set_long_wait;
