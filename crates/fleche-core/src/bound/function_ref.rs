//! References to functions by name or code address: `FunctionRef` for other processes, `WrittenFunction` in text.

use std::any::{Any, TypeId, type_name};

use serde::{Deserialize, Serialize};

use super::{
    ArgsTuple, Callable, code_address,
    descriptor::{Descriptor, fingerprint, is_zero_sized},
    executable::executable_digest,
};
use crate::{
    digest::Digest,
    function::{self, Function, Remote},
    job::{self, JobError},
};

/// A reference to a call's function. Any process of the same binary can resolve it; other binaries can if it is a name
/// that they register.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct FunctionRef(FunctionRefKind);

#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum FunctionRefKind {
    /// The registered name.
    Name(String),
    /// The code address of the function's descriptor, relative to the start of the program, and the fingerprint of its types.
    Position { at: u64, types: u64 },
}

impl FunctionRef {
    /// Refers to a memoized function, by name if it does not share its name.
    ///
    /// # Errors
    /// Fails with the reason why the function cannot leave the process.
    pub(crate) fn from_function(function: &Function) -> Result<Self, String> {
        if by_name(function) {
            return Ok(Self(FunctionRefKind::Name(function.name().to_owned())));
        }
        Self::from_descriptor(descriptor_of(function)?, function.name())
    }

    /// Refers to any callable that its type alone identifies: functions, and closures that capture nothing.
    ///
    /// # Errors
    /// Fails with the reason why the callable cannot leave the process, and what to do.
    pub(crate) fn from_callable<F, Args>(function: &F) -> Result<Self, String>
    where
        F: Callable<Args>,
        Args: ArgsTuple,
        F::Output: Serialize,
    {
        let memoized = function.function();
        if let Some(function) = memoized.filter(|function| by_name(function)) {
            return Ok(Self(FunctionRefKind::Name(function.name().to_owned())));
        }
        let name = type_name::<F::Inner>();
        match (Descriptor::from_callable::<F::Inner, Args>(), memoized) {
            (Some(descriptor), _) => Self::from_descriptor(descriptor, name),
            // A pointer that was read from text is known to be of this function.
            (None, Some(function)) => Self::from_function(function),
            (None, None) => Err(not_portable(name)),
        }
    }

    /// Refers to the function of the descriptor; `name` is used in error messages.
    ///
    /// # Errors
    /// Fails if the descriptor is not in the executable.
    pub(super) fn from_descriptor(descriptor: &'static Descriptor, name: &str) -> Result<Self, String> {
        let (at, types) = position(descriptor, name)?;
        Ok(Self(FunctionRefKind::Position { at, types }))
    }

    /// Calls the function with these encoded arguments on this thread, and returns its encoded result.
    ///
    /// # Errors
    /// Fails with the panic of the body, or with [`JobError::Rejected`] if this program has no such function, if the
    /// arguments do not match its parameters, or if the result cannot be encoded. Except in the last case, the body has
    /// not run.
    pub fn call(&self, arguments: &[&[u8]]) -> Result<Vec<u8>, JobError> {
        let function = self.find().map_err(JobError::rejected)?;
        job::catch_panic(|| function(arguments))?.map_err(JobError::rejected)
    }

    fn find(&self) -> Result<Remote, String> {
        match &self.0 {
            FunctionRefKind::Name(name) => {
                let portable = function::by_name(name)?.portable().ok_or_else(|| cannot_leave(name))?;
                Ok(portable.remote)
            }
            FunctionRefKind::Position { at, types } => Ok(code_address::descriptor_at(*at, *types)?.remote()),
        }
    }
}

/// Returns the descriptor's code address, and the fingerprint of its types.
pub(super) fn position(descriptor: &'static Descriptor, name: &str) -> Result<(u64, u64), String> {
    let at = code_address::address_of(descriptor).ok_or_else(|| {
        format!(
            "`{name}` is not in the read-only data of this program's executable (it may be in a shared library), so no \
             other process can find it by its position; define it in the program, or make it a `#[fleche]` function"
        )
    })?;
    Ok((at, descriptor.types()))
}

/// Returns the memoized function whose descriptor is at this code address.
pub(super) fn function_at(position: u64, types: u64) -> Result<&'static Function, String> {
    let function = code_address::descriptor_at(position, types)?.function();
    function.ok_or_else(|| format!("there is no `#[fleche]` function at the code address {position:#x}"))
}

pub(super) fn descriptor_of(function: &Function) -> Result<&'static Descriptor, String> {
    let portable = function.portable().and_then(|portable| (portable.descriptor as &dyn Any).downcast_ref());
    portable.ok_or_else(|| cannot_leave(function.name()))
}

pub(super) fn cannot_leave(name: &str) -> String {
    format!(
        "`{name}` is `local`, an `async fn`, or ignores an argument that is not `Serialize + DeserializeOwned`: its calls \
         cannot go to another process, or come from one"
    )
}

fn by_name(function: &Function) -> bool {
    function.portable().is_some() && function.is_known_by_name()
}

/// Returns why a callable of this type cannot be sent to another process.
pub(super) fn not_portable(name: &str) -> String {
    let why = if name.starts_with('&') {
        "a reference to a function does not identify the function; pass the function itself"
    } else if name.contains("{{closure}}") {
        "a closure that captures cannot leave its process; pass the captured values as arguments"
    } else if name.contains("fn(") {
        "a function pointer does not identify the function; pass the function itself"
    } else {
        "a callable that holds values cannot leave its process; pass the values as arguments of a function"
    };
    format!("`{name}`: {why}")
}

/// Identifies the function of a bound callable.
///
/// Unlike a [`FunctionRef`], it may come from an untrusted source. It leads only to memoized
/// functions, whose calls accept any arguments; a callable that is identified by its type alone is never created from it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub(super) enum WrittenFunction {
    /// The registered name, if the function does not share it.
    Name(String),
    /// The code address of a memoized function's descriptor, and the fingerprint of its types. Used for an
    /// instance of a generic function, or if two functions have one name.
    Position { of: String, executable: Digest, at: u64, types: u64 },
    /// The type of any other callable without captured values, to be compared with that of a given callable.
    Type { of: String, executable: Digest, types: u64 },
}

impl WrittenFunction {
    /// Refers to a memoized function that can be bound.
    ///
    /// # Errors
    /// Fails with the reason why the reference cannot be serialized.
    pub(super) fn from_function(function: &'static Function) -> Result<Self, String> {
        let name = function.name();
        if function.is_known_by_name() {
            return Ok(Self::Name(name.to_owned()));
        }
        let (at, types) = position(descriptor_of(function)?, name)?;
        Ok(Self::Position { of: name.to_owned(), executable: this_executable(name)?, at, types })
    }

    /// Refers to a callable of this type, or to `known`, if the callable is known to be that memoized function.
    ///
    /// # Errors
    /// Fails with the reason why the reference cannot be serialized.
    pub(super) fn from_callable<F: 'static>(known: Option<&'static Function>) -> Result<Self, String> {
        let memoized = known.or_else(|| function::by_type(TypeId::of::<F>()));
        if let Some(Ok(reference)) = memoized.map(Self::from_function) {
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
    /// Fails if this program has no such function or is another build. The error says what to do.
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
                Some(*executable) == executable_digest() && *types == fingerprint(&[TypeId::of::<F>()])
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
    executable_digest().ok_or_else(|| {
        format!(
            "`{name}` has no name that other processes know, and the executable, by which they would find it, cannot be \
             read; write a `#[fleche]` function that is not generic"
        )
    })
}

/// Checks that this executable wrote the reference.
fn check(of: &str, written: &Digest) -> Result<(), String> {
    if executable_digest() == Some(*written) {
        return Ok(());
    }
    Err(format!(
        "another build wrote this, and this build cannot identify `{of}`: only `#[fleche]` functions that are \
         not generic and do not share their name are found by name. Read it with the build that wrote it, or write it \
         again with this one"
    ))
}
