//! The engine of memoized calls: look up, run the body on a miss, record.

mod arguments;
mod async_call;
mod async_single_flight;
mod codec;
mod events;
mod hit;
mod hot_results;
mod look_up;
mod off_thread;
mod parameter_probes;
mod recording;
mod result_kind;
mod scalar_key;
mod single_flight;
mod stability_check;
mod stale_record;
mod wait;

pub(crate) use arguments::Rewritten;
pub use arguments::{Arguments, Reader, key, key_or_panic};
pub use async_call::{AsyncCall, AsyncChecked};
pub use codec::{Owned, Recheck, codec, local_codec};
pub use hit::load_boxed;
pub use look_up::{Found, contains, evict, load, look_up, rerun};
pub use parameter_probes::{CarriedByBoundCalls, IgnoredProbe, MutableProbe, NotMutable, StaysHere};
pub use result_kind::{NoCopy, NoEquality, ResultKind, ResultProbe, TypeAbilities, WholeResult, abilities_of};
pub use scalar_key::{NotScalar, ScalarKey, ScalarProbe};
pub use stability_check::{CheckSubmitted, StabilityCheck};
pub(crate) use stability_check::{check_bound, check_taken_apart, vouches_for_submitted};
pub use wait::set_long_wait;
