//! `BoundCall`: a call of a memoized function, with its arguments, cache and metadata, and its text form.

use std::{borrow::Cow, fmt, ops::Deref, path::PathBuf, sync::Arc};

use serde::{
    Deserialize, Deserializer, Serialize, Serializer,
    de::{self, Error as _},
    ser::Error as _,
};

use super::{
    FunctionRef, Transport,
    descriptor::Descriptor,
    function_ref::{WrittenFunction, cannot_leave},
};
use crate::{
    argument::{KnownFile, expecting_files, record_files},
    call::CallKey,
    context::{Binding, BindingConfig},
    digest::Digest,
    encoding::DecodeError,
    engine::{Arguments, Reader, Rewritten, StabilityCheck, check_bound},
    function::{Erased, Function},
    job::JobError,
    runtime::panics::Contained,
    store::portable_path,
};

/// A call of a memoized function, with its arguments and with the cache and metadata that were active when it was bound.
/// It can be sent to any thread and called any number of times.
///
/// The companion's `bind` creates it. The arguments are stored encoded; each call decodes them. It can be serialized;
/// another process needs to know only the type of the result to deserialize it.
pub struct BoundCall<R> {
    pub(crate) function: &'static Function,
    pub(crate) binding: Binding,
    pub(crate) arguments: Result<Arc<Arguments>, String>,
    /// The files among the arguments.
    pub(crate) files: Vec<KnownFile>,
    pub(crate) key: Option<CallKey>,
    pub(crate) parts: Parts<R>,
    /// The descriptor of the body, if only the body is called. The body has no name, so other processes find it by this
    /// descriptor.
    body: Option<&'static Descriptor>,
}

/// The functions that the attribute generates for all calls of a function with this result.
#[derive(Debug)]
pub struct Parts<R> {
    pub(crate) transport: Transport<R>,
    pub(super) invoke: Invoke<R>,
}

/// A function that decodes the arguments and calls the memoized function.
pub(crate) type Invoke<R> = fn(Reader<'_>) -> Result<R, DecodeError>;

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
        Self::from_encoded(function, parts, Binding::current(), arguments, files)
    }

    /// Checks the arguments if a check of this call is due. For generated code: `guard` checks the arguments that are
    /// part of the key.
    #[doc(hidden)]
    #[must_use]
    pub fn checked(self, guard: impl FnOnce(&mut StabilityCheck<'_>)) -> Self {
        if let Ok(arguments) = &self.arguments {
            check_bound(self.function, self.binding.cache(), arguments, guard);
        }
        self
    }

    /// Creates a call with encoded arguments.
    pub(super) fn from_encoded(
        function: &'static Function,
        parts: Parts<R>,
        binding: Binding,
        mut arguments: Arguments,
        files: Vec<KnownFile>,
    ) -> Self {
        let call = arguments.call_of_all(function).map_err(|error| error.report().to_string());
        let key = call.as_ref().ok().map(|call| call.key);
        let arguments = call.map(|_| Arc::new(arguments));
        Self { function, binding, arguments, files, key, parts, body: None }
    }

    /// Creates a call of the function's body, which looks nothing up and records nothing. For generated code. Like
    /// [`new`](Self::new), with the descriptor that leads to the body in another process.
    #[doc(hidden)]
    pub fn from_body(
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
            Some(body) => FunctionRef::from_descriptor(body, self.function.name()),
            None => FunctionRef::from_function(self.function),
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
pub fn answer<R>(arguments: &[&[u8]], parts: Parts<R>) -> Result<Vec<u8>, String> {
    let (encode, _) = parts.transport.wire.ok_or("its result cannot leave the process")?;
    let result = (parts.invoke)(Reader::new(arguments.iter().copied()));
    encode(&Contained::new(result.map_err(|error| format!("an argument: {error}"))?))
}

/// A path that need not be valid UTF-8.
#[derive(Serialize, Deserialize)]
struct PortablePath(#[serde(with = "portable_path")] PathBuf);

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct WrittenCall<'a> {
    function: WrittenFunction,
    /// The name and the encoding of each argument, ignored ones included.
    arguments: Vec<(Cow<'a, str>, Hex<'a>)>,
    /// The files among the arguments: the digest of the content, and the path.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    files: Vec<(Digest, PortablePath)>,
    binding: BindingConfig,
}

/// Serializes the function's identity, the encoded arguments and the binding.
///
/// ```
/// use fleche_core::{BoundCall, Cache, fleche};
///
/// #[fleche]
/// fn count(text: &str, letter: char) -> usize { text.matches(letter).count() }
///
/// let call = Cache::void().scope(|| count::bind("fleche", 'e'));
/// let text = serde_json::to_string(&call)?;
/// let read: BoundCall<usize> = serde_json::from_str(&text)?; // In another process, say.
/// assert_eq!(read.key(), call.key());
/// assert_eq!(read.call()?, 2);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// The function is identified by its registered name, which every build that registers it understands. An instance of a
/// generic function, or a function that shares its name, is identified by its code address, which only the
/// same build understands. The result and the error may be of any type, because they stay where the call runs.
///
/// Fails if an argument could not be encoded.
impl<R> Serialize for BoundCall<R> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let arguments = self.arguments.as_ref().map_err(S::Error::custom)?;
        if self.body.is_some() {
            return Err(S::Error::custom(format!("the body of `{}` has no registered name", self.function.name())));
        }
        WrittenCall {
            function: WrittenFunction::from_function(self.function).map_err(S::Error::custom)?,
            arguments: names(self.function).map(Cow::Borrowed).zip(arguments.iter().map(Hex::from)).collect(),
            files: self.files.iter().map(|file| (file.digest, PortablePath(file.path.clone()))).collect(),
            binding: self.binding.config().map_err(|error| S::Error::custom(error.report()))?,
        }
        .serialize(serializer)
    }
}

/// Deserializes a call, with the result's type as the function declares it. Nothing runs.
///
/// Fails if this program has no such function, if its result has another type or its parameters differ, if an argument
/// cannot be decoded, or if the cache cannot be opened in this process.
impl<'de, R: 'static> Deserialize<'de> for BoundCall<R> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let WrittenCall { function, arguments, files, binding } = WrittenCall::deserialize(deserializer)?;
        let function = function.find().map_err(D::Error::custom)?;
        let parts = parts::<R>(function).map_err(D::Error::custom)?;
        for (digest, PortablePath(path)) in files {
            KnownFile { digest, path }.introduce();
        }
        let (arguments, files) = record_files(|| rewritten(function, &parts, &arguments));
        let arguments = arguments.map_err(D::Error::custom)?;
        let binding = Binding::open(binding).map_err(|error| D::Error::custom(error.report()))?;
        let call = Self::from_encoded(function, parts, binding, arguments, files);
        call.arguments.as_ref().map_err(D::Error::custom)?;
        Ok(call)
    }
}

fn names(function: &Function) -> impl Iterator<Item = &'static str> + use<> {
    function.definition.parameters.iter().map(|parameter| parameter.name)
}

/// Returns the parts of the function's calls, if it returns an `R`.
fn parts<R: 'static>(function: &Function) -> Result<Parts<R>, String> {
    let name = function.name();
    let portable = function.portable().ok_or_else(|| cannot_leave(name))?;
    (portable.parts)().get().map_err(|returned| {
        format!(
            "`{name}` returns a `{returned}`, but its call is read as one that returns a `{}`",
            std::any::type_name::<R>()
        )
    })
}

/// Encodes the arguments again as keys require: the text may hold another encoding of the same values.
fn rewritten<R>(
    function: &Function,
    parts: &Parts<R>,
    arguments: &[(Cow<'_, str>, Hex<'_>)],
) -> Result<Arguments, String> {
    let name = function.name();
    if !names(function).eq(arguments.iter().map(|(name, _)| &**name)) {
        let (wanted, came): (Vec<_>, Vec<_>) =
            (names(function).collect(), arguments.iter().map(|(of, _)| of).collect());
        return Err(format!("`{name}` takes the arguments {wanted:?}, but the text has {came:?}"));
    }
    let mut rewritten = Rewritten::default();
    let reader = Reader::rewriting(arguments.iter().map(|(_, encoded)| &**encoded), &mut rewritten);
    let outcome = (parts.invoke)(reader);
    if rewritten.whole {
        return Ok(rewritten.arguments);
    }
    let argument = arguments.get(rewritten.arguments.iter().count()).map_or("?", |(name, _)| name);
    let why = outcome.err().map(|error| error.to_string()).unwrap_or_default();
    Err(format!("argument `{argument}` of `{name}` cannot be decoded: {why}"))
}

/// Bytes that are serialized as lower-case hexadecimal digits, two for each byte.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Hex<'a>(Cow<'a, [u8]>);

impl<'a> From<&'a [u8]> for Hex<'a> {
    fn from(bytes: &'a [u8]) -> Self {
        Self(Cow::Borrowed(bytes))
    }
}

impl Deref for Hex<'_> {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.0
    }
}

impl Serialize for Hex<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut digits = String::with_capacity(2 * self.0.len());
        let digit = |half: u8| char::from(b"0123456789abcdef"[usize::from(half)]);
        digits.extend(self.0.iter().flat_map(|byte| [digit(byte >> 4), digit(byte & 15)]));
        serializer.serialize_str(&digits)
    }
}

impl<'de> Deserialize<'de> for Hex<'_> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let digits = Cow::<str>::deserialize(deserializer)?;
        let bytes = parse_hex(&digits)
            .ok_or_else(|| de::Error::custom("expected an even number of lower-case hexadecimal digits"))?;
        Ok(Self(Cow::Owned(bytes)))
    }
}

fn parse_hex(digits: &str) -> Option<Vec<u8>> {
    let digit = |digit: u8| match digit {
        b'0'..=b'9' => Some(digit - b'0'),
        b'a'..=b'f' => Some(digit - b'a' + 10),
        _ => None,
    };
    let (pairs, rest) = digits.as_bytes().as_chunks::<2>();
    let bytes = pairs.iter().map(|[high, low]| Some(digit(*high)? << 4 | digit(*low)?)).collect::<Option<_>>()?;
    rest.is_empty().then_some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_byte_round_trips() {
        let bytes: Vec<u8> = (0..=255).collect();
        let written = serde_json::to_string(&Hex::from(&*bytes)).unwrap();
        assert!(written.starts_with("\"000102") && written.ends_with("feff\""), "{written}");
        assert_eq!(*serde_json::from_str::<Hex<'_>>(&written).unwrap(), *bytes);
    }

    #[test]
    fn text_other_than_pairs_of_digits_is_refused() {
        for digits in ["0", "0g", "AB", "é", "+1"] {
            assert_eq!(parse_hex(digits), None, "{digits}");
        }
    }
}
