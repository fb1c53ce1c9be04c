//! `Transport`: how a result crosses from one thread, or process, to another.

use std::{error::Error as StdError, marker::PhantomData, ops::Deref};

use serde::{Serialize, de::DeserializeOwned};

use crate::{
    encoding,
    job::{Decode, JobError, Payload, RemoteError, Unpack, unpack_same},
    panics::contain,
};

/// How a result of type `R` crosses from one thread to another, and from one process to another.
#[derive(Debug)]
pub struct Transport<R> {
    pub(crate) pack: fn(R) -> Result<Payload, JobError>,
    pub(crate) unpack: Unpack<R>,
    pub(crate) wire: Wire<R>,
}

impl<R> Transport<R> {
    /// Both ways together.
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

/// How a result crosses from thread to thread.
pub type Crossing<R> = (fn(R) -> Result<Payload, JobError>, Unpack<R>);

/// How a result crosses as bytes; `None` where it cannot.
pub type Wire<R> = Option<(fn(&R) -> Result<Vec<u8>, String>, Decode<R>)>;

/// Finds out how a type crosses between threads. In order: as it is; a `Result` with its error as text; not at all.
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
    pub fn fleche_transport(&self) -> Crossing<R> {
        (|result| Ok(Box::new(result)), unpack_same)
    }
}

/// For a `Result` whose error cannot leave its thread, but can be made of text: `Box<dyn Error>` is such an error.
pub trait RemoteTransport<R> {
    /// With the error as text.
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

/// For everything else.
pub trait NoTransport<R> {
    /// Refuses.
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

/// Finds out how a type crosses as bytes. In order: as serde has it; a `Result` with its error as text, where that can be
/// made of text; not at all.
#[derive(Debug)]
pub struct WireProbe<R>(PhantomData<fn() -> R>);

impl<R> WireProbe<R> {
    /// A probe for this type.
    #[allow(clippy::new_without_default)] // Named where it is used, by generated code.
    pub const fn new() -> Self {
        Self(PhantomData)
    }
}

/// As serde has it.
pub trait WholeWire<R> {
    /// As serde has it.
    fn fleche_wire(&self) -> Wire<R>;
}

impl<R: Serialize + DeserializeOwned> WholeWire<R> for &WireProbe<R> {
    fn fleche_wire(&self) -> Wire<R> {
        Some((encode::<R>, decode::<R>))
    }
}

/// For errors that lend a `dyn Error`: `anyhow::Error` and `Box<dyn Error>` are such errors.
pub trait LentErrorWire<R> {
    /// With the error as text.
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
    /// For errors of one's own: with the error as text.
    pub fn fleche_wire(&self) -> Wire<Result<T, E>> {
        Some((|result| encode(&result.as_ref().map_err(|error| RemoteError::new(error))), decode_with_text))
    }
}

/// For everything else.
pub trait NoWire<R> {
    /// Refuses.
    fn fleche_wire(&self) -> Wire<R>;
}

impl<R> NoWire<R> for WireProbe<R> {
    fn fleche_wire(&self) -> Wire<R> {
        None
    }
}

/// What can be turned into text with its sources: the forms of `dyn Error`.
pub trait AsRemote {
    /// The texts.
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

/// Reads a result that came as bytes.
pub(crate) fn decode<T: DeserializeOwned>(encoded: &[u8]) -> Result<T, JobError> {
    let decoded = contain(|| encoding::from_slice(encoded));
    let decoded = decoded.map_err(|panic| JobError::rejected(format!("the `Deserialize` of the result {panic}")))?;
    decoded.map_err(|error| JobError::rejected(format!("the result does not decode: {error}")))
}

fn decode_with_text<T, E>(encoded: &[u8]) -> Result<Result<T, E>, JobError>
where
    T: DeserializeOwned,
    E: From<RemoteError>,
{
    decode::<Result<T, RemoteError>>(encoded).map(|result| result.map_err(E::from))
}
