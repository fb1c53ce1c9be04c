//! What a thread has entered: caches, bindings, tags, metadata kinds, and the calls that it runs within.

pub mod future;
mod stack;
mod unused_guard;

mod assigned;
mod binding;
mod default;
mod missed;

pub use assigned::{assigned_gpus, with_assigned_gpus};
pub(crate) use binding::Moves;
pub(crate) use default::default_changed;
pub use future::{FutureExt, InCache};
pub(crate) use missed::is_known_miss;
pub use missed::with_known_miss;
pub use stack::*;
pub use {
    binding::{Binding, BindingConfig, WeakBinding},
    default::set_default_cache,
};
