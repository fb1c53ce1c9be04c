//! Bound functions as text: how they are serialized and deserialized.

use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error as _, ser::Error as _};

use super::{Bound, function_ref::cannot_leave, reference::Reference};
use crate::context::{Binding, BindingConfig};

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Written {
    function: Reference,
    binding: BindingConfig,
}

impl Written {
    /// Opens the cache. Called only once the function is known.
    fn binding<E: serde::de::Error>(self) -> Result<Binding, E> {
        Binding::open(self.binding).map_err(E::custom)
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
        let written = Written::deserialize(deserializer)?;
        written.function.check_is::<F>().map_err(D::Error::custom)?;
        Ok(Self { function, binding: written.binding()?, known: None, refer: Reference::of_callable::<F> })
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
        let binding = self.binding.config().map_err(S::Error::custom)?;
        Written { function, binding }.serialize(serializer)
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
        let written = Written::deserialize(deserializer)?;
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
        Ok(Self { function, binding: written.binding()?, known: Some(known), refer: Reference::of_callable::<F> })
    }
}
