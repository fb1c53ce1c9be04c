//! Portable functions: how another process refers to a call's function and finds it.

use std::any::{Any, type_name};

use serde::{Deserialize, Serialize};

use super::{ArgsTuple, Callable, code_address, descriptor::Descriptor};
use crate::{
    function::{self, Function, Remote},
    job::{self, JobError},
};

/// Refers to a call's function in another process of the same binary, or by name in another binary that registers the
/// name.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct FunctionRef(Reference);

#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum Reference {
    /// The registered name.
    Name(String),
    /// The position of the function's descriptor, relative to the start of the program, and the fingerprint of its types.
    Position { at: u64, types: u64 },
}

impl FunctionRef {
    /// Refers to a memoized function, by name if it does not share its name.
    ///
    /// # Errors
    /// Fails with the reason why the function cannot leave the process.
    pub(crate) fn of_function(function: &Function) -> Result<Self, String> {
        if by_name(function) {
            return Ok(Self(Reference::Name(function.name().to_owned())));
        }
        Self::of_descriptor(descriptor_of(function)?, function.name())
    }

    /// Refers to any callable that its type alone identifies: functions, and closures that capture nothing.
    ///
    /// # Errors
    /// Fails with the reason why the callable cannot leave the process, and what to do.
    pub(crate) fn of_callable<F, Args>(function: &F) -> Result<Self, String>
    where
        F: Callable<Args>,
        Args: ArgsTuple,
        F::Output: Serialize,
    {
        let memoized = function.function();
        if let Some(function) = memoized.filter(|function| by_name(function)) {
            return Ok(Self(Reference::Name(function.name().to_owned())));
        }
        let name = type_name::<F::Inner>();
        match (Descriptor::of_callable::<F::Inner, Args>(), memoized) {
            (Some(descriptor), _) => Self::of_descriptor(descriptor, name),
            // A pointer that was read from text is known to be of this function.
            (None, Some(function)) => Self::of_function(function),
            (None, None) => Err(not_portable(name)),
        }
    }

    /// Refers to the function of the descriptor; `name` is used in error messages.
    ///
    /// # Errors
    /// Fails if the descriptor is not in the executable.
    pub(super) fn of_descriptor(descriptor: &'static Descriptor, name: &str) -> Result<Self, String> {
        let (at, types) = position(descriptor, name)?;
        Ok(Self(Reference::Position { at, types }))
    }

    /// Calls the function with these encoded arguments on this thread, and returns its encoded result.
    ///
    /// # Errors
    /// Fails with the panic of the body, or with [`JobError::Rejected`] if this program has no such function, if the
    /// arguments do not match its parameters, or if the result cannot be encoded. Except in the last case, the body has
    /// not run.
    pub fn call(&self, arguments: &[&[u8]]) -> Result<Vec<u8>, JobError> {
        let function = self.find().map_err(JobError::rejected)?;
        job::catch(|| function(arguments))?.map_err(JobError::rejected)
    }

    fn find(&self) -> Result<Remote, String> {
        match &self.0 {
            Reference::Name(name) => {
                let portable = function::by_name(name)?.portable().ok_or_else(|| cannot_leave(name))?;
                Ok(portable.remote)
            }
            Reference::Position { at, types } => Ok(code_address::descriptor_at(*at, *types)?.remote()),
        }
    }
}

/// Returns the descriptor's position in the executable, and the fingerprint of its types.
pub(super) fn position(descriptor: &'static Descriptor, name: &str) -> Result<(u64, u64), String> {
    let at = code_address::address_of(descriptor).ok_or_else(|| {
        format!(
            "`{name}` is not in the read-only data of this program's executable (it may be in a shared library), so no \
             other process can find it by its position; define it in the program, or make it a `#[fleche]` function"
        )
    })?;
    Ok((at, descriptor.types()))
}

/// Returns the memoized function whose descriptor is at this position in the executable.
pub(super) fn function_at(position: u64, types: u64) -> Result<&'static Function, String> {
    let function = code_address::descriptor_at(position, types)?.function();
    function.ok_or_else(|| format!("there is no `#[fleche]` function at position {position:#x}"))
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
