//! The type-erased form of functions that can leave their process.

use std::any::{Any, type_name};

/// Calls a function with its encoded arguments and returns its encoded result, or the reason why that is impossible.
pub type Remote = fn(&[&[u8]]) -> Result<Vec<u8>, String>;

/// How to call and bind a function that was found by its name or code address.
#[derive(Debug)]
pub struct Portable {
    /// Calls the function.
    pub remote: Remote,
    /// Creates the `bound::Parts` from which bound calls of the function are built.
    pub parts: fn() -> Erased,
    /// Returns a pointer to the function; `None` if no pointer type can express its signature.
    pub pointer: Option<fn() -> Erased>,
    /// The `memo::CheckSubmitted` that checks its submitted arguments; `None` if their types cannot be named.
    pub check: Option<&'static (dyn Any + Send + Sync)>,
    /// The function's `bound::Descriptor`.
    pub descriptor: &'static (dyn Any + Send + Sync),
}

/// A value whose type is erased, except for the description that errors show.
#[derive(Debug)]
pub struct Erased {
    value: Box<dyn Any>,
    called: &'static str,
}

impl Erased {
    /// Describes the value by its type's name.
    pub fn new<T: 'static>(value: T) -> Self {
        Self::called(type_name::<T>(), value)
    }

    /// Describes the value with this text.
    pub(crate) fn called<T: 'static>(called: &'static str, value: T) -> Self {
        Self { value: Box::new(value), called }
    }

    /// Returns the value.
    ///
    /// # Errors
    /// Fails with the description if the value is not a `T`.
    pub(crate) fn get<T: 'static>(self) -> Result<T, &'static str> {
        self.value.downcast().map(|value| *value).map_err(|_| self.called)
    }
}
