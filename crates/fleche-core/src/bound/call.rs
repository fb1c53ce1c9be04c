//! `BoundCall`: a call of a memoized function, with its arguments, cache and metadata.

mod text;

use std::{fmt, sync::Arc};

use super::{Descriptor, FunctionRef, Transport};
use crate::{
    argument::{KnownFile, expecting_files, record_files},
    call::CallKey,
    context::Binding,
    encoding::DecodeError,
    engine::{Arguments, Guard, Reader, check_bound},
    function::{Erased, Function},
    job::JobError,
    runtime::panics::Contained,
};

/// A call of a memoized function, with its arguments and with the cache and metadata that were active when it was bound.
/// It can be sent to any thread and called any number of times.
///
/// The companion's `bind` creates it. The arguments are stored encoded; each call decodes them. It can be serialized, and
/// deserialized in other processes with the type of its result alone.
pub struct BoundCall<R> {
    pub(crate) function: &'static Function,
    pub(crate) binding: Binding,
    pub(crate) arguments: Result<Arc<Arguments>, String>,
    /// The files among the arguments.
    pub(crate) files: Vec<KnownFile>,
    pub(crate) key: Option<CallKey>,
    pub(crate) parts: Parts<R>,
    /// Set if only the body is called: the body has no name, so another process finds it by this descriptor.
    body: Option<&'static Descriptor>,
}

/// What the attribute provides for every call of a function with this result.
#[derive(Debug)]
pub struct Parts<R> {
    pub(crate) transport: Transport<R>,
    pub(super) invoke: Invoke<R>,
}

/// Decodes the arguments and calls the function.
pub type Invoke<R> = fn(Reader<'_>) -> Result<R, DecodeError>;

impl<R> Parts<R> {
    /// Creates the parts. For generated code.
    pub const fn new(transport: Transport<R>, invoke: Invoke<R>) -> Self {
        Self { transport, invoke }
    }

    /// Erases the type of the result, and keeps its name for error messages.
    pub fn erased(self) -> Erased
    where
        R: 'static,
    {
        Erased::called(std::any::type_name::<R>(), self)
    }
}

impl<R> Clone for Parts<R> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<R> Copy for Parts<R> {}

impl<R> BoundCall<R> {
    /// Creates a call. For generated code: `encode` adds every argument, ignored ones included.
    #[doc(hidden)]
    pub fn new(function: &'static Function, parts: Parts<R>, encode: impl FnOnce(&mut Arguments)) -> Self {
        let mut arguments = Arguments::in_full();
        let ((), files) = record_files(|| arguments.fill(encode));
        Self::of_encoded(function, parts, Binding::current(), arguments, files)
    }

    /// Checks the arguments if a check of this call is due. For generated code: `guard` checks the arguments that are
    /// part of the key.
    #[doc(hidden)]
    #[must_use]
    pub fn checked(self, guard: impl FnOnce(&mut Guard<'_>)) -> Self {
        if let Ok(arguments) = &self.arguments {
            check_bound(self.function, self.binding.cache(), arguments, guard);
        }
        self
    }

    /// Creates a call with encoded arguments.
    pub(super) fn of_encoded(
        function: &'static Function,
        parts: Parts<R>,
        binding: Binding,
        mut arguments: Arguments,
        files: Vec<KnownFile>,
    ) -> Self {
        let call = arguments.call_of_all(function).map_err(|error| error.to_string());
        let key = call.as_ref().ok().map(|call| call.key);
        let arguments = call.map(|_| Arc::new(arguments));
        Self { function, binding, arguments, files, key, parts, body: None }
    }

    /// Creates a call of the function's body, which looks nothing up and records nothing. For generated code. Like
    /// [`new`](Self::new), with the descriptor that leads to the body in another process.
    #[doc(hidden)]
    pub fn of_body(
        function: &'static Function,
        parts: Parts<R>,
        body: &'static Descriptor,
        encode: impl FnOnce(&mut Arguments),
    ) -> Self {
        Self { body: Some(body), ..Self::new(function, parts, encode) }
    }

    /// Runs the call on this thread, in the context that it is bound to.
    ///
    /// # Errors
    /// Fails with [`JobError::Rejected`] if an argument could not be encoded or cannot be decoded.
    pub fn call(&self) -> Result<R, JobError> {
        let arguments = self.arguments.as_ref().map_err(JobError::rejected)?;
        let _bound = self.binding.enter();
        expecting_files(&self.files, || (self.parts.invoke)(arguments.reader()))
            .map_err(|error| JobError::rejected(format!("an argument of `{}`: {error}", self.function.name())))
    }

    /// Returns the reference by which another process finds the function.
    pub(crate) fn reference(&self) -> Result<FunctionRef, String> {
        if self.parts.transport.wire.is_none() {
            return Err(format!(
                "a `{}` cannot leave its process; make it `Serialize + DeserializeOwned`, or its error one that is \
                 `From<RemoteError>`",
                std::any::type_name::<R>()
            ));
        }
        match self.body {
            Some(body) => FunctionRef::of_descriptor(body, self.function.name()),
            None => FunctionRef::of_function(self.function),
        }
    }

    /// Returns the call's key, or `None` if an argument could not be encoded.
    pub fn key(&self) -> Option<CallKey> {
        self.key
    }

    /// Returns the context that the call is bound to.
    pub fn binding(&self) -> &Binding {
        &self.binding
    }
}

impl<R> Clone for BoundCall<R> {
    fn clone(&self) -> Self {
        Self { binding: self.binding.clone(), arguments: self.arguments.clone(), files: self.files.clone(), ..*self }
    }
}

impl<R> fmt::Debug for BoundCall<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BoundCall")
            .field("function", &self.function.name())
            .field("key", &self.key)
            .field("binding", &self.binding)
            .finish_non_exhaustive()
    }
}

/// Calls a function with encoded arguments, and encodes its result. For generated code.
///
/// # Errors
/// Fails if an argument cannot be decoded, or the result cannot be encoded.
#[doc(hidden)]
pub fn answer<R>(arguments: &[&[u8]], parts: Parts<R>) -> Result<Vec<u8>, String> {
    let (encode, _) = parts.transport.wire.ok_or("its result cannot leave the process")?;
    let result = (parts.invoke)(Reader::new(arguments.iter().copied()));
    encode(&Contained::new(result.map_err(|error| format!("an argument: {error}"))?))
}
