//! `Bound`: a function with the cache and metadata that it uses in every thread and process, and its text form.

use std::fmt;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error as _, ser::Error as _};

use super::{
    Callable,
    function_ref::{WrittenFunction, cannot_leave},
};
use crate::{
    context::{Binding, BindingConfig},
    function::Function,
};

/// A function with the cache, metadata kinds and tags that were active when it was bound. A call uses these, also for
/// memoized calls inside the function, regardless of the context of the calling thread.
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

/// A function that returns the serialized form of a callable. Its argument is the memoized function, if that is known.
type Refer = fn(Option<&'static Function>) -> Result<WrittenFunction, String>;

impl<F> Bound<F> {
    /// Binds the function to the context that is active on this thread. The function may be any function or closure,
    /// memoized or not. A function that is already bound keeps its binding.
    pub fn bind<Args>(function: F) -> Self
    where
        F: Callable<Args>,
    {
        let refer = WrittenFunction::from_callable::<F::Inner>;
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

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct WrittenBound {
    function: WrittenFunction,
    binding: BindingConfig,
}

impl WrittenBound {
    /// Opens the cache. The caller has found the function before.
    fn binding<E: serde::de::Error>(self) -> Result<Binding, E> {
        Binding::open(self.binding).map_err(|error| E::custom(error.report()))
    }
}

impl<F> Bound<F> {
    /// Deserializes a bound function: binds `function`, which must be the same function, to the deserialized cache and
    /// metadata. This is the only way to deserialize functions that are not `#[fleche]`, and closures.
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
    /// Fails if the text is that of another function, if the function has no registered name and another build wrote the
    /// text, or if its cache cannot be opened in this process.
    pub fn restore<'de, D: Deserializer<'de>>(function: F, deserializer: D) -> Result<Self, D::Error>
    where
        F: 'static,
    {
        let written = WrittenBound::deserialize(deserializer)?;
        written.function.check_is::<F>().map_err(D::Error::custom)?;
        Ok(Self { function, binding: written.binding()?, known: None, refer: WrittenFunction::from_callable::<F> })
    }
}

/// Serializes the function's identity and the binding.
///
/// A `#[fleche]` function is identified by its registered name, which every build that registers it understands. Everything
/// else can be read only by the same build: instances of generic functions, functions that share their name, and, with
/// [`Bound::restore`], other functions and closures that capture nothing. Callables that hold values (closures that
/// capture, function pointers other than deserialized ones) cannot be serialized. A function that was bound twice is
/// serialized as if it had been bound once.
impl<F: 'static> Serialize for Bound<F> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let function = (self.refer)(self.known).map_err(S::Error::custom)?;
        let binding = self.binding.config().map_err(|error| S::Error::custom(error.report()))?;
        WrittenBound { function, binding }.serialize(serializer)
    }
}

/// Deserializes a `#[fleche]` function as a pointer: the reader has to know only its signature.
///
/// ```
/// use fleche_core::{Bound, Cache, fleche};
///
/// #[fleche]
/// fn step(x: i64) -> i64 { x + 1 }
///
/// let text = serde_json::to_string(&Cache::void().scope(|| Bound::bind(step)))?;
/// let bound: Bound<fn(i64) -> i64> = serde_json::from_str(&text)?;
/// assert_eq!(bound.call((10,)), 11);
/// let wrong = serde_json::from_str::<Bound<fn(String) -> i64>>(&text).unwrap_err();
/// assert!(wrong.to_string().contains("is a `fn(i64) -> i64`"));
/// # Ok::<(), serde_json::Error>(())
/// ```
///
/// The pointer stands for the memoized function everywhere: its hits never enter a wrapped executor, and it can be sent
/// to other processes. Fails if this program has no such function, if its signature differs, or if the cache cannot be
/// opened in this process.
impl<'de, F: Copy + 'static> Deserialize<'de> for Bound<F> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let written = WrittenBound::deserialize(deserializer)?;
        let known = written.function.find().map_err(D::Error::custom)?;
        let name = known.name();
        let with =
            |why| D::Error::custom(format!("{why}; read it with `Bound::restore(f, …)`, where `f` is that function"));
        let portable = known.portable().ok_or_else(|| with(cannot_leave(name)))?;
        let unsaid = || with(format!("no function pointer type has the signature of `{name}`"));
        let pointer = portable.pointer.ok_or_else(unsaid)?;
        let function = pointer().get::<F>().map_err(|is| {
            D::Error::custom(format!("`{name}` is a `{is}`, but it is read as a `{}`", std::any::type_name::<F>()))
        })?;
        Ok(Self {
            function,
            binding: written.binding()?,
            known: Some(known),
            refer: WrittenFunction::from_callable::<F>,
        })
    }
}
