//! `Reference`: which function a bound callable is of, written for whoever reads it.

use std::any::{TypeId, type_name};

use serde::{Deserialize, Serialize};

use super::{
    executable,
    portable::{descriptor_of, fingerprint, function_at, is_zero_sized, not_portable, position},
};
use crate::{
    digest::Digest,
    function::{self, Function},
};

/// Which function a bound callable is of.
///
/// Unlike a [`FunctionRef`](super::FunctionRef) it may have been written by anybody. It leads to memoized functions
/// only, whose calls any arguments may be given to; a callable that is known by its type alone is never made from it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub(super) enum Reference {
    /// The registered name, of a function that has it for itself.
    Name(String),
    /// Where the descriptor of a memoized function lies in this executable, and the fingerprint of its types: of an
    /// instance of a generic function, or where two functions claim one name.
    Position { of: String, executable: Digest, at: u64, types: u64 },
    /// The type of any other callable that holds nothing, to be compared with a given one.
    Type { of: String, executable: Digest, types: u64 },
}

impl Reference {
    /// A memoized function that can be bound.
    ///
    /// # Errors
    /// Why it cannot be written.
    pub(super) fn of_function(function: &'static Function) -> Result<Self, String> {
        let name = function.name();
        if function.is_known_by_name() {
            return Ok(Self::Name(name.to_owned()));
        }
        let (at, types) = position(descriptor_of(function)?, name)?;
        Ok(Self::Position { of: name.to_owned(), executable: this_executable(name)?, at, types })
    }

    /// A callable of this type, or the memoized function that a value of it is known to be.
    ///
    /// # Errors
    /// Why it cannot be written.
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

    /// The memoized function that is meant.
    ///
    /// # Errors
    /// Where there is none in this program, or this is another program, and what to do.
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
                "`{of}` was written by its type, which does not tell where it is: read it with `Bound::restore(f, …)`, where \
                 `f` is that function; or make it a `#[fleche]` function, and call that before it is bound where it is \
                 generic"
            )),
        }
    }

    /// Whether callables of this type are what is meant.
    ///
    /// # Errors
    /// Where they are not, and what is.
    pub(super) fn check_is<F: 'static>(&self) -> Result<(), String> {
        let given = || function::by_type(TypeId::of::<F>());
        let same = match self {
            // Found last, and only so that two of one name are refused.
            Self::Name(name) => given().is_some_and(|given| given.name() == name) && self.find().map(|_| true)?,
            // Found first: that registers the instance.
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
        let other = if of == asked { ", which is another one that prints alike" } else { "" };
        format!("this is `{of}` bound, where `{asked}` is asked for{other}")
    }
}

fn this_executable(name: &str) -> Result<Digest, String> {
    executable().ok_or_else(|| {
        format!(
            "`{name}` has no name that other processes know, and the executable, in which they would find it, cannot be \
             read; write a `#[fleche]` function that is not generic"
        )
    })
}

/// Whether what stands in this executable is meant.
fn check(of: &str, written: &Digest) -> Result<(), String> {
    if executable() == Some(*written) {
        return Ok(());
    }
    Err(format!(
        "another build wrote this, and in this one `{of}` cannot be told from others: only `#[fleche]` functions that are \
         not generic and have a name for themselves are found by it. Read it with the build that wrote it, or write it \
         anew with this one"
    ))
}
