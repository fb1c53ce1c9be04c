//! Portable functions: what a call's function is called where it will run, and how it is found there.

mod descriptor;
mod image;

pub use descriptor::Descriptor;

use std::any::type_name;

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
    /// A memoized function, by name where it has one for itself; `bare`, its body, which has none.
    ///
    /// # Errors
    /// Why it cannot leave the process.
    pub(crate) fn of_function(
        function: &Function,
        descriptor: Option<&'static Descriptor>,
        bare: bool,
    ) -> Result<Self, String> {
        if by_name(function) && !bare {
            return Ok(Self(Reference::Name(function.name().to_owned())));
        }
        let descriptor = descriptor.ok_or_else(|| {
            format!(
                "`{0}` cannot be found by its name in another process: it is `local`, or another function claims the \
                 name too. Give it one of its own: `#[fleche(name = \"…\")]`",
                function.name()
            )
        })?;
        Self::of_descriptor(descriptor, function.name())
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
        if let Some(function) = function.function().filter(|function| by_name(function)) {
            return Ok(Self(Reference::Name(function.name().to_owned())));
        }
        let name = type_name::<F::Inner>();
        let descriptor = Descriptor::of_callable::<F::Inner, Args>().ok_or_else(|| not_portable(name))?;
        Self::of_descriptor(descriptor, name)
    }

    fn of_descriptor(descriptor: &'static Descriptor, name: &str) -> Result<Self, String> {
        let at = image::position_of(descriptor).ok_or_else(|| {
            format!(
                "`{name}` is not part of this program's executable (but of a shared library, say), so another process \
                 cannot find it; define it in the program, or make it a `#[fleche]` function"
            )
        })?;
        Ok(Self(Reference::Position { at, types: descriptor.types() }))
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
            Reference::Name(name) => function::remote_by_name(name),
            Reference::Position { at, types } => Ok(image::descriptor_at(*at, *types)?.remote()),
        }
    }
}

fn by_name(function: &Function) -> bool {
    function.remote().is_some() && function.has_its_name_alone()
}

fn not_portable(name: &str) -> String {
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
