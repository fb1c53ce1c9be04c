//! The context of a thread: the caches, bindings, tags and metadata kinds that it has entered, and the calls that it runs.

mod binding;
mod default;
mod future;
mod stack;
mod task_info;

pub(crate) use binding::Moves;
pub(crate) use default::default_changed;
pub(crate) use future::ContextFuture;
pub use future::{FutureExt, InCache};
pub use stack::{Guard, MetadataScope, Tag, active_cache, collect, enclosing_calls, tag, with_empty_context};
pub(crate) use stack::{active, flights, hot_tier, is_rerun, metadata, rerun, within};
pub(crate) use task_info::is_known_miss;
pub use task_info::{assigned_gpus, with_assigned_gpus, with_known_miss};
pub use {
    binding::{Binding, BindingConfig, WeakBinding},
    default::set_default_cache,
};
