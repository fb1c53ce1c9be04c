//! Bound functions and calls, which carry their cache and have a text form.

mod call;
mod callable;
mod code_address;
mod descriptor;
mod executable;
mod function;
mod function_ref;
mod transport;

pub use call::{BoundCall, Invoke, Parts, answer};
pub use callable::{ArgsTuple, Callable};
pub use descriptor::Descriptor;
pub use executable::{Executable, executable, layout};
pub use function::Bound;
pub use function_ref::FunctionRef;
pub(crate) use transport::decode;
pub use transport::{
    AsRemote, Crossing, LentErrorWire, NoTransport, NoWire, RemoteTransport, Transport, TransportProbe, WholeWire,
    Wire, WireProbe,
};
