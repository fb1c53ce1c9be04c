//! `Bound`: a function with the cache and metadata that it uses wherever it runs.

use std::fmt;

use super::Callable;
use super::reference::Reference;
use crate::{context::Binding, function::Function};

/// A function with the cache, metadata kinds and tags that were active when it was bound. A call uses these, also for
/// memoized calls inside the function, whatever is active on the calling thread.
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
/// It can be serialized, and deserialized in other processes: a `#[fleche]` function as a `Bound<fn(…) -> R>`, every other
/// callable with [`restore`](Self::restore).
#[derive(Clone)]
pub struct Bound<F> {
    pub(crate) function: F,
    pub(crate) binding: Binding,
    /// The memoized function, if the type does not identify it because it is a deserialized pointer.
    pub(super) known: Option<&'static Function>,
    /// Returns the serialized form of the function.
    pub(super) refer: Refer,
}

/// Returns the serialized form of a callable; the argument is the memoized function, if it is known.
type Refer = fn(Option<&'static Function>) -> Result<Reference, String>;

impl<F> Bound<F> {
    /// Binds the function to the context that is active on this thread. The function may be any function or closure,
    /// memoized or not. A function that is already bound keeps its binding.
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

    /// Calls the function with this tuple of arguments; a single argument is passed as `(a,)`.
    pub fn call<Args>(&self, arguments: Args) -> F::Output
    where
        F: Callable<Args>,
    {
        let _bound = self.binding.enter();
        self.function.call(arguments)
    }

    /// Returns the context that the function is bound to.
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

impl<F, Args> Callable<Args> for Bound<F>
where
    F: Callable<Args>,
{
    type Output = F::Output;
    type Inner = F::Inner;

    fn call(&self, arguments: Args) -> Self::Output {
        Bound::call(self, arguments)
    }

    fn binding(&self) -> Option<&Binding> {
        // The binding of the inner function is entered last, so it is active when the function runs.
        self.function.binding().or(Some(&self.binding))
    }

    fn function(&self) -> Option<&'static Function> {
        self.known.or_else(|| self.function.function())
    }
}
