//! The context of a thread: the caches, bindings, tags and metadata kinds that it has entered, and the calls that it runs.

pub(crate) mod binding;
mod default;
mod future;
pub(crate) mod stack;
pub(crate) mod task_info;

pub(crate) use binding::InCacheCount;
pub(crate) use default::default_changed;
pub(crate) use future::ContextFuture;
pub use future::{FutureExt, InCache};
pub use stack::{Guard, MetadataScope, Tag, active_cache, collect, tag};
pub(crate) use stack::{active, flights, hot_tier, is_rerun, metadata, rerun, with_empty_context, within};
pub use task_info::assigned_gpus;
pub(crate) use task_info::is_known_miss;
pub use {
    binding::{Binding, BindingConfig},
    default::set_default_cache,
};
