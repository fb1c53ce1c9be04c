//! Bound functions and calls, which carry their cache and have a text form.

pub(crate) mod call;
mod callable;
mod code_address;
pub(crate) mod descriptor;
pub(crate) mod executable;
mod function;
pub(crate) mod function_ref;
pub(crate) mod transport;

pub use call::BoundCall;
pub use callable::{ArgsTuple, Callable};
pub use function::Bound;
pub(crate) use function_ref::FunctionRef;
pub(crate) use transport::{Transport, decode};
