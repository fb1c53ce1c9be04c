//! Bound callables: a function, or a whole call, with the cache and metadata that it will use wherever it runs.

mod call;
mod callable;
mod executable;
mod hex;
mod portable;
mod reference;
mod text;
mod transport;

pub(crate) use transport::decode;
pub use {
    call::{BoundCall, Invoke, Parts, answer},
    callable::{Callable, TupleArguments},
    executable::{Executable, executable, layout},
    portable::{Descriptor, FunctionRef},
    transport::{
        AsRemote, Crossing, LentErrorWire, NoTransport, NoWire, RemoteTransport, Transport, TransportProbe, WholeWire,
        Wire, WireProbe,
    },
};

use std::fmt;

use crate::{context::Binding, function::Function};
use reference::Reference;

/// A function with the cache, metadata kinds and tags that were active when it was bound. Calling it uses those,
/// whatever is active where it is called; fleche calls inside it use them too.
///
/// ```
/// use fleche_core::{Bound, Cache};
///
/// fn pipeline(x: i64) -> i64 { x + 1 } // Would call memoized functions.
///
/// let cache = Cache::void();
/// let bound = cache.scope(|| Bound::bind(pipeline));
/// assert_eq!(std::thread::spawn(move || bound.call((10,))).join().unwrap(), 11);
/// ```
///
/// Serialises, and is read in other processes: a `#[fleche]` function as a `Bound<fn(…) -> R>`, every other with
/// [`restore`](Self::restore).
#[derive(Clone)]
pub struct Bound<F> {
    pub(crate) function: F,
    pub(crate) binding: Binding,
    /// Which memoized function it is, where its type does not tell: of a pointer that was read.
    known: Option<&'static Function>,
    /// How it is written.
    refer: Refer,
}

/// What a callable, known to be of this memoized function, is written as.
type Refer = fn(Option<&'static Function>) -> Result<Reference, String>;

impl<F> Bound<F> {
    /// Binds the function to what is active on this thread now. Any function or closure will do, memoized or not. One that
    /// is bound already stays bound as it is.
    pub fn bind<Args>(function: F) -> Self
    where
        F: Callable<Args>,
    {
        let refer = Reference::of_callable::<F::Inner>;
        match function.binding().cloned() {
            Some(binding) => Self { known: function.function(), function, binding, refer },
            None => Self { function, binding: Binding::current(), known: None, refer },
        }
    }

    /// Calls the function with this tuple of arguments; `(a,)` for one.
    pub fn call<Args>(&self, arguments: Args) -> F::Output
    where
        F: Callable<Args>,
    {
        let _bound = self.binding.enter();
        self.function.call(arguments)
    }

    /// What it is bound to.
    pub fn binding(&self) -> &Binding {
        &self.binding
    }
}

impl<F> fmt::Debug for Bound<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let function = self.known.map_or(std::any::type_name::<F>(), Function::name);
        f.debug_struct("Bound").field("function", &function).field("binding", &self.binding).finish_non_exhaustive()
    }
}
