//! `BoundCall`: a call of a memoized function, complete with arguments, cache and metadata.

use std::{error::Error as StdError, fmt, marker::PhantomData, ops::Deref, sync::Arc};

use crate::{
    call::CallKey,
    context::Binding,
    encoding::DecodeError,
    function::Function,
    job::{JobError, Payload, RemoteError, Unpack, unpack_same},
    memo::{Arguments, Reader},
};

/// A call of a memoized function, complete with its arguments and with the cache and metadata that were active when it
/// was bound. May go to any thread, and be called any number of times.
///
/// Made by the companion's `bind`. The arguments are held encoded; each call decodes them.
pub struct BoundCall<R> {
    pub(crate) function: &'static Function,
    pub(crate) binding: Binding,
    pub(crate) arguments: Result<Arc<Arguments>, String>,
    pub(crate) key: Option<CallKey>,
    pub(crate) transport: Transport<R>,
    invoke: Invoke<R>,
}

/// Decodes the arguments and calls the function.
pub(crate) type Invoke<R> = fn(Reader<'_>) -> Result<R, DecodeError>;

impl<R> BoundCall<R> {
    /// For generated code: `encode` adds every argument, ignored ones included.
    #[doc(hidden)]
    pub fn new(
        function: &'static Function,
        transport: Transport<R>,
        invoke: Invoke<R>,
        encode: impl FnOnce(&mut Arguments),
    ) -> Self {
        let mut arguments = Arguments::new();
        encode(&mut arguments);
        let call = arguments.call_of_all(function).map_err(|error| error.to_string());
        let key = call.as_ref().ok().map(|call| call.key);
        let arguments = call.map(|_| Arc::new(arguments));
        Self { function, binding: Binding::current(), arguments, key, transport, invoke }
    }

    /// Runs the call here, under what it is bound to.
    ///
    /// # Errors
    /// [`JobError::Rejected`] where an argument could not be encoded, or does not decode.
    pub fn call(&self) -> Result<R, JobError> {
        let arguments = self.arguments.as_ref().map_err(JobError::rejected)?;
        let _bound = self.binding.enter();
        (self.invoke)(arguments.reader())
            .map_err(|error| JobError::rejected(format!("an argument of `{}`: {error}", self.function.name())))
    }

    /// The call's key; `None` where an argument could not be encoded.
    pub fn key(&self) -> Option<CallKey> {
        self.key
    }

    /// What it is bound to.
    pub fn binding(&self) -> &Binding {
        &self.binding
    }
}

impl<R> Clone for BoundCall<R> {
    fn clone(&self) -> Self {
        Self { binding: self.binding.clone(), arguments: self.arguments.clone(), ..*self }
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

/// How a result of type `R` crosses from one thread to another.
#[derive(Debug)]
pub struct Transport<R> {
    pub(crate) pack: fn(R) -> Result<Payload, JobError>,
    pub(crate) unpack: Unpack<R>,
}

impl<R> Clone for Transport<R> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<R> Copy for Transport<R> {}

/// Finds out how a type crosses. In order: as it is; a `Result` with its error as text; not at all.
#[derive(Debug)]
pub struct TransportProbe<R>(PhantomData<fn() -> R>);

impl<R> TransportProbe<R> {
    /// A probe for this type.
    #[allow(clippy::new_without_default)] // Named where it is used, by generated code.
    pub const fn new() -> Self {
        Self(PhantomData)
    }
}

impl<R: Send + 'static> TransportProbe<R> {
    /// As it is.
    pub fn fleche_transport(&self) -> Transport<R> {
        Transport { pack: |result| Ok(Box::new(result)), unpack: unpack_same }
    }
}

/// For a `Result` whose error cannot leave its thread, but can be made of text: `Box<dyn Error>` is such an error.
pub trait RemoteTransport<R> {
    /// With the error as text.
    fn fleche_transport(&self) -> Transport<R>;
}

impl<T, E> RemoteTransport<Result<T, E>> for TransportProbe<Result<T, E>>
where
    T: Send + 'static,
    E: From<RemoteError> + Deref<Target = dyn StdError>,
{
    fn fleche_transport(&self) -> Transport<Result<T, E>> {
        Transport {
            pack: |result| Ok(Box::new(result.map_err(|error| RemoteError::new(&*error)))),
            unpack: |payload| unpack_same::<Result<T, RemoteError>>(payload).map(|result| result.map_err(E::from)),
        }
    }
}

/// For everything else.
pub trait NoTransport<R> {
    /// Refuses.
    fn fleche_transport(&self) -> Transport<R>;
}

impl<R> NoTransport<R> for &TransportProbe<R> {
    fn fleche_transport(&self) -> Transport<R> {
        Transport { pack: |_| Err(cannot_leave::<R>()), unpack: |_| Err(cannot_leave::<R>()) }
    }
}

fn cannot_leave<R>() -> JobError {
    JobError::rejected(format!(
        "a `{}` cannot leave its thread; make its error `Send`, or one that is `From<RemoteError>`",
        std::any::type_name::<R>()
    ))
}
