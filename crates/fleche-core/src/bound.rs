//! Bound callables: a function, or a whole call, with the cache and metadata that it will use wherever it runs.

mod call;
mod callable;
mod portable;
mod transport;

pub(crate) use transport::decode;
pub use {
    call::{BoundCall, Invoke, answer},
    callable::{Callable, TupleArguments},
    portable::{Descriptor, FunctionRef},
    transport::{
        AsRemote, Crossing, LentErrorWire, NoTransport, NoWire, RemoteTransport, Transport, TransportProbe, WholeWire,
        Wire, WireProbe,
    },
};

use std::{any::TypeId, borrow::Cow, fmt};

use serde::{Deserialize, Deserializer, Serialize, Serializer, de, ser::SerializeStruct};

use crate::{context::Binding, function};

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
#[derive(Clone)]
pub struct Bound<F> {
    pub(crate) function: F,
    pub(crate) binding: Binding,
}

impl<F> Bound<F> {
    /// Binds the function to what is active on this thread now. Any function or closure will do, memoized or not.
    pub fn bind<Args>(function: F) -> Self
    where
        F: Callable<Args>,
    {
        Self { function, binding: Binding::current() }
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

    /// Reads what serialising a bound function has written, and binds this function so, which must be the same one.
    ///
    /// ```
    /// use fleche_core::{Bound, Cache};
    ///
    /// fn pipeline(x: i64) -> i64 { x + 1 }
    ///
    /// let text = serde_json::to_string(&Cache::void().scope(|| Bound::bind(pipeline)))?;
    /// let bound = Bound::restore(pipeline, &mut serde_json::Deserializer::from_str(&text))?;
    /// assert_eq!(bound.call((10,)), 11);
    /// # Ok::<(), serde_json::Error>(())
    /// ```
    ///
    /// # Errors
    /// Where what is read is of another function, or its cache cannot be opened here.
    pub fn restore<'de, D: Deserializer<'de>>(function: F, deserializer: D) -> Result<Self, D::Error>
    where
        F: 'static,
    {
        #[derive(Deserialize)]
        #[serde(deny_unknown_fields)]
        struct Written {
            function: String,
            binding: Binding,
        }
        let Written { function: written, binding } = Written::deserialize(deserializer)?;
        let name = name_of::<F>();
        if written != name {
            return Err(de::Error::custom(format!("this is `{written}` bound, where `{name}` is asked for")));
        }
        Ok(Self { function, binding })
    }
}

/// The function's name and what it is bound to; [`Bound::restore`] reads it. Values that a closure has captured are not
/// written: the closure that is given there has its own.
impl<F: 'static> Serialize for Bound<F> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut bound = serializer.serialize_struct("Bound", 2)?;
        bound.serialize_field("function", &name_of::<F>())?;
        bound.serialize_field("binding", &self.binding)?;
        bound.end()
    }
}

/// The registered name of a memoized function, the type's name of any other.
fn name_of<F: 'static>() -> Cow<'static, str> {
    let memoized = function::by_type(TypeId::of::<F>());
    memoized.map_or(Cow::Borrowed(std::any::type_name::<F>()), |function| Cow::Borrowed(function.name()))
}

impl<F> fmt::Debug for Bound<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let function = std::any::type_name::<F>();
        f.debug_struct("Bound").field("function", &function).field("binding", &self.binding).finish()
    }
}
