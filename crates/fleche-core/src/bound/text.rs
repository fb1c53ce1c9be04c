//! Bound functions as text: what is written of them, and how they are read.

use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error as _, ser::Error as _};

use super::{Bound, portable::cannot_leave, reference::Reference};
use crate::context::{Binding, BindingConfig};

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Written {
    function: Reference,
    binding: BindingConfig,
}

impl Written {
    /// Opens the cache, once it is known that something can use it.
    fn binding<E: serde::de::Error>(self) -> Result<Binding, E> {
        Binding::open(self.binding).map_err(E::custom)
    }
}

impl<F> Bound<F> {
    /// Reads what serialising a bound function has written, and binds this function so, which must be the same one. The
    /// only way back for functions that are not `#[fleche]`, and closures.
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
    /// Where what is read is of another function; where it has no registered name, and another build wrote it; or where
    /// its cache cannot be opened here.
    pub fn restore<'de, D: Deserializer<'de>>(function: F, deserializer: D) -> Result<Self, D::Error>
    where
        F: 'static,
    {
        let written = Written::deserialize(deserializer)?;
        written.function.check_is::<F>().map_err(D::Error::custom)?;
        Ok(Self { function, binding: written.binding()?, known: None, refer: Reference::of_callable::<F> })
    }
}

/// Which function it is, and what it is bound to.
///
/// A `#[fleche]` function is written by its registered name, which any build finds that registers it. Everything else is
/// found by the same build only: instances of generic functions, functions that share their name, and, with
/// [`Bound::restore`], other functions and closures that capture nothing. What holds values (closures that capture,
/// function pointers that were made by hand) is an error. A function that was bound twice is written as the one that was
/// bound once.
impl<F: 'static> Serialize for Bound<F> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let function = (self.refer)(self.known).map_err(S::Error::custom)?;
        let binding = self.binding.config().map_err(S::Error::custom)?;
        Written { function, binding }.serialize(serializer)
    }
}

/// A `#[fleche]` function as a pointer: whoever reads it has to know its signature, and nothing else.
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
/// It is the function wherever it goes: hits of it never enter a wrapped executor, and it travels to other processes.
/// An error where this program has no such function, where its signature is another one, or where the cache cannot be
/// opened here.
impl<'de, F: Copy + 'static> Deserialize<'de> for Bound<F> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let written = Written::deserialize(deserializer)?;
        let known = written.function.find().map_err(D::Error::custom)?;
        let name = known.name();
        let with =
            |why| D::Error::custom(format!("{why}; read it with `Bound::restore(f, …)`, where `f` is that function"));
        let portable = known.portable().ok_or_else(|| with(cannot_leave(name)))?;
        let unsaid = || with(format!("no function pointer's type says the signature of `{name}`"));
        let pointer = portable.pointer.ok_or_else(unsaid)?;
        let function = pointer().get::<F>().map_err(|is| {
            D::Error::custom(format!(
                "`{name}` is a `{is}`, and not a `{}`, as which it is read",
                std::any::type_name::<F>()
            ))
        })?;
        Ok(Self { function, binding: written.binding()?, known: Some(known), refer: Reference::of_callable::<F> })
    }
}
