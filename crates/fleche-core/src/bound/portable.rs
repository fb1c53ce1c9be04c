//! Portable functions: what a call's function is called where it will run, and how it is found there.

mod descriptor;
mod image;

pub use descriptor::Descriptor;
pub(super) use {
    descriptor::{fingerprint, is_zero_sized},
    image::Image,
};

use std::any::{Any, type_name};

use serde::{Deserialize, Serialize};

use super::{Callable, TupleArguments};
use crate::{
    function::{self, Function, Remote},
    job::{self, JobError},
};

/// Which function a call is of, for another process of the same binary; by name also for another binary that registers
/// the name.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct FunctionRef(Reference);

#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum Reference {
    /// The name that the attribute registers.
    Name(String),
    /// Where the function's descriptor lies in the program, from its beginning, and the fingerprint of its types.
    Position { at: u64, types: u64 },
}

impl FunctionRef {
    /// A memoized function, by name where it has one for itself.
    ///
    /// # Errors
    /// Why it cannot leave the process.
    pub(crate) fn of_function(function: &Function) -> Result<Self, String> {
        if by_name(function) {
            return Ok(Self(Reference::Name(function.name().to_owned())));
        }
        Self::of_descriptor(descriptor_of(function)?, function.name())
    }

    /// Any callable that is known by its type alone: functions, and closures that capture nothing.
    ///
    /// # Errors
    /// Why it cannot leave the process, and what to do.
    pub(crate) fn of_callable<F, Args>(function: &F) -> Result<Self, String>
    where
        F: Callable<Args>,
        Args: TupleArguments,
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

    /// What the descriptor is of; `name` is for people.
    ///
    /// # Errors
    /// Where it does not lie in the executable.
    pub(super) fn of_descriptor(descriptor: &'static Descriptor, name: &str) -> Result<Self, String> {
        let (at, types) = position(descriptor, name)?;
        Ok(Self(Reference::Position { at, types }))
    }

    /// Calls the function with these encoded arguments, on this thread, and gives its encoded result.
    ///
    /// # Errors
    /// The panic of the body; or [`JobError::Rejected`] where there is no such function here, where the arguments are
    /// not its, or where the result cannot be encoded. No body has run then, but for the last.
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
            Reference::Position { at, types } => Ok(image::descriptor_at(*at, *types)?.remote()),
        }
    }
}

/// Where the descriptor lies in the executable, and the fingerprint of its types.
pub(super) fn position(descriptor: &'static Descriptor, name: &str) -> Result<(u64, u64), String> {
    let at = image::position_of(descriptor).ok_or_else(|| {
        format!(
            "`{name}` does not lie in the read-only data of this program's executable, but in a shared library, say, so no \
             other process can find it by its position; define it in the program, or make it a `#[fleche]` function"
        )
    })?;
    Ok((at, descriptor.types()))
}

/// The memoized function whose descriptor lies at this position in the executable.
pub(super) fn function_at(position: u64, types: u64) -> Result<&'static Function, String> {
    let function = image::descriptor_at(position, types)?.function();
    function.ok_or_else(|| format!("at position {position:#x} there is no `#[fleche]` function"))
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

/// Why a callable of this type has no form that another process could read.
pub(super) fn not_portable(name: &str) -> String {
    let why = if name.starts_with('&') {
        "a reference to a function does not tell which function it is; pass the function itself"
    } else if name.contains("{{closure}}") {
        "a closure that captures cannot leave its process; pass the captured values as arguments"
    } else if name.contains("fn(") {
        "a function pointer does not tell which function it is; pass the function itself"
    } else {
        "a callable that holds values cannot leave its process; pass the values as arguments of a function"
    };
    format!("`{name}`: {why}")
}
