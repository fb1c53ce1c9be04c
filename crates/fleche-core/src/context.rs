//! What a thread has entered: caches, bindings, tags, metadata kinds, and the calls that it runs within.

mod assigned;
mod binding;
mod default;
pub mod future;
mod missed;
mod stack;
mod unused_guard;

pub use assigned::{assigned_gpus, with_assigned_gpus};
pub(crate) use binding::Moves;
pub(crate) use default::default_changed;
pub use future::{FutureExt, InCache};
pub(crate) use missed::is_known_miss;
pub use missed::with_known_miss;
pub use stack::{Guard, MetadataScope, Tag, active_cache, collect, enclosing_calls, tag, with_empty_context};
pub(crate) use stack::{active, flights, hot_tier, is_rerun, metadata, rerun, within};
pub use {
    binding::{Binding, BindingConfig, WeakBinding},
    default::set_default_cache,
};
