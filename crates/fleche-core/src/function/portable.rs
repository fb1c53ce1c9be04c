//! What is known of functions that can leave their process, with the types forgotten.

use std::any::{Any, type_name};

/// Calls a function with all its arguments encoded, and gives its encoded result; or says why that cannot be.
pub type Remote = fn(&[&[u8]]) -> Result<Vec<u8>, String>;

/// How a function that can be bound is called, and bound anew, where it was found by its name or position.
#[derive(Debug)]
pub struct Portable {
    /// Calls it.
    pub remote: Remote,
    /// What bound calls of it are made of: a `bound::Parts`.
    pub parts: fn() -> Erased,
    /// A pointer to it; `None` where no pointer's type says its signature.
    pub pointer: Option<fn() -> Erased>,
    /// What checks arguments of it that were submitted: a `memo::CheckSubmitted`; `None` where their types cannot be named.
    pub check: Option<&'static (dyn Any + Send + Sync)>,
    /// Its `bound::Descriptor`.
    pub descriptor: &'static (dyn Any + Send + Sync),
}

/// Something whose type is forgotten, but for what people are told of it.
#[derive(Debug)]
pub struct Erased {
    value: Box<dyn Any>,
    called: &'static str,
}

impl Erased {
    /// Called by its own type.
    pub fn new<T: 'static>(value: T) -> Self {
        Self::called(type_name::<T>(), value)
    }

    /// Called so.
    pub(crate) fn called<T: 'static>(called: &'static str, value: T) -> Self {
        Self { value: Box::new(value), called }
    }

    /// What it is.
    ///
    /// # Errors
    /// What it is called, where it is no `T`.
    pub(crate) fn get<T: 'static>(self) -> Result<T, &'static str> {
        self.value.downcast().map(|value| *value).map_err(|_| self.called)
    }
}
