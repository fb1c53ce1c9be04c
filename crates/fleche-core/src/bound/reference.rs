//! `Reference`: identifies the function of a bound callable in serialized form.

use std::any::{TypeId, type_name};

use serde::{Deserialize, Serialize};

use super::{
    descriptor::{fingerprint, is_zero_sized},
    executable,
    function_ref::{descriptor_of, function_at, not_portable, position},
};
use crate::{
    digest::Digest,
    function::{self, Function},
};

/// Identifies the function of a bound callable.
///
/// Unlike a [`FunctionRef`](super::FunctionRef), it may come from an untrusted source. It leads only to memoized
/// functions, whose calls accept any arguments; a callable that is identified by its type alone is never created from it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub(super) enum Reference {
    /// The registered name, if the function does not share it.
    Name(String),
    /// The position in this executable of a memoized function's descriptor, and the fingerprint of its types. Used for an
    /// instance of a generic function, or if two functions have one name.
    Position { of: String, executable: Digest, at: u64, types: u64 },
    /// The type of any other callable without captured values, to be compared with that of a given callable.
    Type { of: String, executable: Digest, types: u64 },
}

impl Reference {
    /// Refers to a memoized function that can be bound.
    ///
    /// # Errors
    /// Fails with the reason why it cannot be serialized.
    pub(super) fn of_function(function: &'static Function) -> Result<Self, String> {
        let name = function.name();
        if function.is_known_by_name() {
            return Ok(Self::Name(name.to_owned()));
        }
        let (at, types) = position(descriptor_of(function)?, name)?;
        Ok(Self::Position { of: name.to_owned(), executable: this_executable(name)?, at, types })
    }

    /// Refers to a callable of this type, or to the memoized function that a value of the type is known to be.
    ///
    /// # Errors
    /// Fails with the reason why it cannot be serialized.
    pub(super) fn of_callable<F: 'static>(known: Option<&'static Function>) -> Result<Self, String> {
        let memoized = known.or_else(|| function::by_type(TypeId::of::<F>()));
        if let Some(Ok(reference)) = memoized.map(Self::of_function) {
            return Ok(reference);
        }
        let name = type_name::<F>();
        if !is_zero_sized::<F>() {
            return Err(not_portable(name));
        }
        let executable = this_executable(name)?;
        Ok(Self::Type { of: name.to_owned(), executable, types: fingerprint(&[TypeId::of::<F>()]) })
    }

    /// Returns the memoized function.
    ///
    /// # Errors
    /// Fails, with advice in the text, if this program has no such function or is another build.
    pub(super) fn find(&self) -> Result<&'static Function, String> {
        match self {
            Self::Name(name) => function::by_name(name),
            Self::Position { of, executable, at, types } => {
                check(of, executable)?;
                let function = function_at(*at, *types)?;
                if function.name() != of {
                    return Err(format!("position {at:#x} is that of `{}`, not of `{of}`", function.name()));
                }
                Ok(function)
            }
            Self::Type { of, .. } => Err(format!(
                "`{of}` was serialized by its type, which does not lead to its code: read it with `Bound::restore(f, …)`, where \
                 `f` is that function; or make it a `#[fleche]` function, and call it before you bind it if it is \
                 generic"
            )),
        }
    }

    /// Checks that this refers to callables of the type `F`.
    ///
    /// # Errors
    /// Fails if it refers to another callable, with both names in the text.
    pub(super) fn check_is<F: 'static>(&self) -> Result<(), String> {
        let given = || function::by_type(TypeId::of::<F>());
        let same = match self {
            // The name is looked up last, and only to refuse two functions with one name.
            Self::Name(name) => given().is_some_and(|given| given.name() == name) && self.find().map(|_| true)?,
            // Looked up first, because that registers the instance.
            Self::Position { .. } => {
                let found = self.find()?;
                given().is_some_and(|given| std::ptr::eq(given, found))
            }
            Self::Type { of, executable, types } => {
                if of == type_name::<F>() {
                    check(of, executable)?;
                }
                Some(*executable) == super::executable() && *types == fingerprint(&[TypeId::of::<F>()])
            }
        };
        if same { Ok(()) } else { Err(self.mismatch(given().map_or(type_name::<F>(), Function::name))) }
    }

    fn mismatch(&self, asked: &str) -> String {
        let (Self::Name(of) | Self::Position { of, .. } | Self::Type { of, .. }) = self;
        let other = if of == asked { ", which is a different function whose name prints alike" } else { "" };
        format!("the text holds the bound function `{of}`, but `{asked}` is asked for{other}")
    }
}

fn this_executable(name: &str) -> Result<Digest, String> {
    executable().ok_or_else(|| {
        format!(
            "`{name}` has no name that other processes know, and the executable, by which they would find it, cannot be \
             read; write a `#[fleche]` function that is not generic"
        )
    })
}

/// Checks that this executable wrote the reference.
fn check(of: &str, written: &Digest) -> Result<(), String> {
    if executable() == Some(*written) {
        return Ok(());
    }
    Err(format!(
        "another build wrote this, and this build cannot identify `{of}`: only `#[fleche]` functions that are \
         not generic and do not share their name are found by name. Read it with the build that wrote it, or write it \
         again with this one"
    ))
}
