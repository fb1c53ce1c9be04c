//! `Transport`: the functions that pass a result between threads and between processes.

use std::{error::Error as StdError, marker::PhantomData, ops::Deref};

use serde::{Serialize, de::DeserializeOwned};

use crate::{
    encoding,
    job::{Decode, JobError, Payload, RemoteError, Unpack, unpack_same},
    runtime::panics::contain,
};

/// The functions that pass a result of type `R` from one thread to another, and from one process to another.
#[derive(Debug)]
pub struct Transport<R> {
    pub(crate) pack: fn(R) -> Result<Payload, JobError>,
    pub(crate) unpack: Unpack<R>,
    pub(crate) wire: Wire<R>,
}

impl<R> Transport<R> {
    /// Combines the transport between threads with the one between processes.
    pub fn new((pack, unpack): Crossing<R>, wire: Wire<R>) -> Self {
        Self { pack, unpack, wire }
    }
}

impl<R> Clone for Transport<R> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<R> Copy for Transport<R> {}

/// The functions that pass a result between threads.
pub(crate) type Crossing<R> = (fn(R) -> Result<Payload, JobError>, Unpack<R>);

/// The functions that pass a result as bytes; `None` if it cannot be passed.
pub(crate) type Wire<R> = Option<(fn(&R) -> Result<Vec<u8>, String>, Decode<R>)>;

/// Selects how a type is passed between threads. In order of preference: as it is; as a `Result` whose error becomes
/// text; not at all.
#[derive(Debug)]
pub struct TransportProbe<R>(PhantomData<fn() -> R>);

impl<R> TransportProbe<R> {
    /// Creates a probe for this type.
    #[allow(clippy::new_without_default)] // Only generated code creates probes.
    pub const fn new() -> Self {
        Self(PhantomData)
    }
}

impl<R: Send + 'static> TransportProbe<R> {
    /// Passes the result as it is.
    pub fn fleche_transport(&self) -> Crossing<R> {
        (|result| Ok(Box::new(result)), unpack_same)
    }
}

/// The transport of a `Result` whose error is not `Send` but can be recreated from text, such as `Box<dyn Error>`.
pub trait RemoteTransport<R> {
    /// Passes the error as text.
    fn fleche_transport(&self) -> Crossing<R>;
}

impl<T, E> RemoteTransport<Result<T, E>> for TransportProbe<Result<T, E>>
where
    T: Send + 'static,
    E: From<RemoteError> + Deref<Target: AsRemote>,
{
    fn fleche_transport(&self) -> Crossing<Result<T, E>> {
        (
            |result| Ok(Box::new(result.map_err(|error| error.as_remote()))),
            |payload| unpack_same::<Result<T, RemoteError>>(payload).map(|result| result.map_err(E::from)),
        )
    }
}

/// The fallback for all other types.
pub trait NoTransport<R> {
    /// Refuses every result.
    fn fleche_transport(&self) -> Crossing<R>;
}

impl<R> NoTransport<R> for &TransportProbe<R> {
    fn fleche_transport(&self) -> Crossing<R> {
        (|_| Err(cannot_leave::<R>()), |_| Err(cannot_leave::<R>()))
    }
}

fn cannot_leave<R>() -> JobError {
    JobError::rejected(format!(
        "a `{}` cannot leave its thread; make its error `Send`, or one that is `From<RemoteError>`",
        std::any::type_name::<R>()
    ))
}

/// Selects how a type is passed as bytes. In order of preference: encoded as a whole; as a `Result` whose error becomes
/// text, if the error can be recreated from text; not at all.
#[derive(Debug)]
pub struct WireProbe<R>(PhantomData<fn() -> R>);

impl<R> WireProbe<R> {
    /// Creates a probe for this type.
    #[allow(clippy::new_without_default)] // Only generated code creates probes.
    pub const fn new() -> Self {
        Self(PhantomData)
    }
}

/// The wire form of types that serde can serialize.
pub trait WholeWire<R> {
    /// Encodes the whole result.
    fn fleche_wire(&self) -> Wire<R>;
}

impl<R: Serialize + DeserializeOwned> WholeWire<R> for &WireProbe<R> {
    fn fleche_wire(&self) -> Wire<R> {
        Some((encode::<R>, decode::<R>))
    }
}

/// The wire form of errors that dereference to a `dyn Error`, such as `anyhow::Error` and `Box<dyn Error>`.
pub trait LentErrorWire<R> {
    /// Passes the error as text.
    fn fleche_wire(&self) -> Wire<R>;
}

impl<T, E> LentErrorWire<Result<T, E>> for &&WireProbe<Result<T, E>>
where
    T: Serialize + DeserializeOwned,
    E: From<RemoteError> + Deref<Target: AsRemote>,
{
    fn fleche_wire(&self) -> Wire<Result<T, E>> {
        Some((|result| encode(&result.as_ref().map_err(|error| error.as_remote())), decode_with_text))
    }
}

impl<T, E> WireProbe<Result<T, E>>
where
    T: Serialize + DeserializeOwned,
    E: From<RemoteError> + StdError + 'static,
{
    /// Passes the error as text, for error types that implement `Error` themselves.
    pub fn fleche_wire(&self) -> Wire<Result<T, E>> {
        Some((|result| encode(&result.as_ref().map_err(|error| RemoteError::new(error))), decode_with_text))
    }
}

/// The fallback for all other types.
pub trait NoWire<R> {
    /// Refuses every result.
    fn fleche_wire(&self) -> Wire<R>;
}

impl<R> NoWire<R> for WireProbe<R> {
    fn fleche_wire(&self) -> Wire<R> {
        None
    }
}

/// The forms of `dyn Error`, which can be converted to text together with their sources.
pub trait AsRemote {
    /// Returns the texts of the error and its sources.
    fn as_remote(&self) -> RemoteError;
}

macro_rules! as_remote {
    ($($error:ty),*) => {$(
        impl AsRemote for $error {
            fn as_remote(&self) -> RemoteError {
                RemoteError::new(self)
            }
        }
    )*};
}

as_remote!(dyn StdError, dyn StdError + Send, dyn StdError + Send + Sync);

fn encode<T: Serialize>(result: &T) -> Result<Vec<u8>, String> {
    let encoded =
        contain(|| encoding::to_vec(result)).map_err(|panic| format!("the `Serialize` of the result {panic}"))?;
    encoded.map_err(|error| format!("the result cannot be encoded: {error}"))
}

/// Decodes a result that was passed as bytes.
pub(crate) fn decode<T: DeserializeOwned>(encoded: &[u8]) -> Result<T, JobError> {
    let decoded = contain(|| encoding::from_slice(encoded));
    let decoded = decoded.map_err(|panic| JobError::rejected(format!("the `Deserialize` of the result {panic}")))?;
    decoded.map_err(|error| JobError::rejected(format!("the result cannot be decoded: {error}")))
}

fn decode_with_text<T, E>(encoded: &[u8]) -> Result<Result<T, E>, JobError>
where
    T: DeserializeOwned,
    E: From<RemoteError>,
{
    decode::<Result<T, RemoteError>>(encoded).map(|result| result.map_err(E::from))
}
