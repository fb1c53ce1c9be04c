//! The encoded arguments of one call, and the reader that decodes them.

use std::{
    borrow::{Borrow, Cow},
    cell::RefCell,
    mem,
    sync::Arc,
};

use bytes::Bytes;
use fleche_encoding::{DecodeError, Digest, EncodeError, spi::CachedDigest};
use serde::de;

use super::{
    codec::{Codec, FullCodec, Owned, deserialize_panicked, serialize_panicked},
    scalar_key::ScalarKey,
};
use crate::{
    call::{Argument, CallKey, INLINE_LIMIT, Reference, ValueRef},
    error::{Error, Result},
    function::Function,
    runtime::panics::{Contained, contain},
};

/// The encodings of a call's arguments, one after the other.
#[derive(Debug, Default)]
pub struct Arguments {
    bytes: Vec<u8>,
    /// The end of each argument in `bytes`.
    ends: Vec<usize>,
    failed: Option<EncodeError>,
    /// The scalar key, if all arguments are of simple types and the key was computed.
    scalar_key: Option<Box<ScalarKey>>,
    /// The arguments whose digests replace their encodings in `bytes`, each with its position.
    kept: Vec<(usize, Contained<Arc<dyn CachedDigest>>)>,
    /// Whether all arguments must be encoded in full.
    in_full: bool,
    /// Whether the arguments must pass a check before a hit is served.
    is_due: bool,
}

/// The key and references of a call, as stores know it.
#[derive(Debug)]
pub(crate) struct Call {
    pub(crate) key: CallKey,
    /// The references to the arguments. `None` if all are inline: these are created with the record, since a hit does not need
    /// them.
    references: Option<Vec<Argument>>,
}

/// The maximum capacity, in bytes, of a buffer that is kept for the next call.
const KEPT_BUFFER: usize = 1 << 20;
/// The maximum capacity, in bytes, of a kept buffer of which the last call has used at least a quarter. Allocating many
/// megabytes costs as much as hashing them, and calls with large arguments often follow each other. The next small call
/// frees the buffer.
const KEPT_LARGE: usize = 1 << 24;

/// The byte before the 32 bytes of a digest that replaces an encoding. No encoding begins with it: it is the "break" that
/// ends items of indefinite length (RFC 8949 §3.2.1), which this format does not use.
const DIGEST: u8 = 0xff;

thread_local! {
    /// The buffers of an earlier call, or of the call that is being looked up.
    static SPARE: RefCell<Arguments> = const { RefCell::new(Arguments::NONE) };
}

impl Arguments {
    const NONE: Self = Self {
        bytes: Vec::new(),
        ends: Vec::new(),
        failed: None,
        scalar_key: None,
        kept: Vec::new(),
        in_full: false,
        is_due: false,
    };

    /// Creates an empty list in the buffers of an earlier call of this thread.
    pub fn new() -> Self {
        let mut new = Self::NONE;
        new.swap_buffers();
        new.bytes.clear();
        new.ends.clear();
        new
    }

    /// Swaps the buffers with those of an earlier call. Does nothing on a thread that is ending, or while the buffers are in use:
    /// encoding an argument may make another call.
    #[inline]
    fn swap_buffers(&mut self) {
        let _ = SPARE.try_with(|spare| {
            if let Ok(mut spare) = spare.try_borrow_mut() {
                mem::swap(&mut self.bytes, &mut spare.bytes);
                mem::swap(&mut self.ends, &mut spare.ends);
            }
        });
    }

    /// Passes empty arguments to `look`, which fills them, and returns its result. If `look` finds nothing, the error holds the
    /// arguments, or `None` on a thread that is ending.
    #[inline]
    pub(super) fn with<R>(look: impl FnOnce(&mut Self) -> Option<R>) -> Result<R, Option<Self>> {
        let found = SPARE.try_with(|spare| match spare.try_borrow_mut() {
            // On a hit the buffers are not moved.
            Ok(mut arguments) => {
                arguments.clear();
                let found = look(&mut arguments);
                if found.is_some() {
                    arguments.release_kept();
                }
                found.ok_or_else(|| Some(mem::replace(&mut *arguments, Self::NONE)))
            }
            Err(_) => Self::with_own_buffers(look),
        });
        found.unwrap_or(Err(None))
    }

    /// Like [`with`](Self::with), for a call that is made while an argument of another call is encoded in the buffers.
    #[cold]
    fn with_own_buffers<R>(look: impl FnOnce(&mut Self) -> Option<R>) -> Result<R, Option<Self>> {
        let mut arguments = Self::NONE;
        look(&mut arguments).ok_or(Some(arguments))
    }

    /// Returns the same arguments with their scalar key.
    pub(super) fn with_scalar_key(mut self, scalar_key: ScalarKey) -> Self {
        self.scalar_key = Some(Box::new(scalar_key));
        self
    }

    /// Returns the scalar key, if all arguments are of simple types and it was computed.
    pub(super) fn scalar_key(&self) -> Option<&ScalarKey> {
        self.scalar_key.as_deref()
    }

    #[inline]
    fn clear(&mut self) {
        self.bytes.clear();
        self.ends.clear();
        self.scalar_key = None;
        // Rarely set: the check avoids a call to drop it.
        if self.failed.is_some() {
            self.failed = None;
        }
        self.release_kept();
        self.in_full = false;
        self.is_due = false;
    }

    /// Requires the arguments to pass a check before a hit is served.
    #[cold]
    pub(super) fn be_checked(&mut self) {
        self.is_due = true;
    }

    /// Returns whether the arguments must pass a check before a hit is served.
    pub(super) fn is_due(&self) -> bool {
        self.is_due
    }

    /// Releases the shared values that the arguments keep.
    #[inline]
    fn release_kept(&mut self) {
        if !self.kept.is_empty() {
            self.kept.clear();
        }
    }

    /// Runs `encode`, which adds arguments. A panic in a `Serialize` counts as a failure to encode.
    #[inline]
    pub(crate) fn fill(&mut self, encode: impl FnOnce(&mut Self)) {
        if let Err(panic) = contain(|| encode(self)) {
            self.failed = Some(serialize_panicked(&panic));
        }
    }

    /// Encodes the next argument. The first failure is kept and reported when the arguments are used.
    #[inline]
    pub fn add<A: ?Sized>(&mut self, codec: Codec<A>, value: &A) {
        if self.failed.is_none() {
            let mut kept = None;
            let encoded = (codec.encode)(&mut self.bytes, &mut kept, value);
            match encoded.and_then(|()| kept.map_or(Ok(()), |kept| self.keep(kept))) {
                Ok(()) => self.ends.push(self.bytes.len()),
                Err(error) => self.failed = Some(error),
            }
        }
    }

    /// Records that the next argument cannot be encoded.
    pub(super) fn fail(&mut self, why: EncodeError) {
        self.failed.get_or_insert(why);
    }

    /// Returns all encodings, or the digests that replace them, one after the other. Returns `None` if one has failed. Different
    /// arguments of one function have different bytes here.
    pub(super) fn encoded(&self) -> Option<&[u8]> {
        self.failed.is_none().then_some(&*self.bytes)
    }

    /// Returns the number of bytes.
    pub(super) fn len(&self) -> usize {
        self.bytes.len()
    }

    /// Returns each argument's encoding, or the digest that [replaces](Self::encoding) it.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &[u8]> {
        let mut start = 0;
        self.ends.iter().map(move |end| &self.bytes[mem::replace(&mut start, *end)..*end])
    }

    /// Returns the key and references, given the arguments that are part of the key.
    pub(crate) fn call(&mut self, function: &'static Function) -> Result<Call> {
        if self.kept.is_empty() && self.iter().all(|encoded| encoded.len() <= INLINE_LIMIT) {
            return Ok(Call { key: self.key(function)?, references: None });
        }
        self.check(function, key_parameters(function))?;
        Call::new(function, self.references(function))
    }

    /// Returns the references, given the arguments that are part of the key.
    fn references(&self, function: &'static Function) -> Vec<Argument> {
        let mut references = Vec::with_capacity(self.ends.len());
        for (name, encoded) in key_parameters(function).zip(self.iter()) {
            references.push(Argument(Cow::Borrowed(name), reference(encoded)));
        }
        references
    }

    /// Returns the key and references, given all arguments of the function, including ignored ones.
    pub(crate) fn call_of_all(&mut self, function: &'static Function) -> Result<Call> {
        self.check(function, function.definition.parameters.iter().map(|parameter| parameter.name))?;
        let parameters = function.definition.parameters.iter().zip(self.iter());
        let arguments = parameters
            .filter(|(parameter, _)| !parameter.ignored)
            .map(|(parameter, encoded)| Argument(Cow::Borrowed(parameter.name), reference(encoded)))
            .collect();
        Call::new(function, arguments)
    }

    /// Returns the key alone, given the arguments that are part of it.
    pub(super) fn key(&mut self, function: &'static Function) -> Result<CallKey> {
        let names = key_parameters(function);
        self.check(function, names.clone())?;
        let arguments = names.zip(self.iter()).map(|(name, encoded)| (name, borrowed_reference(encoded)));
        Ok(CallKey::from_identity(function.identity()?, self.ends.len(), arguments))
    }

    /// Fails if an argument was not encoded.
    fn check(&mut self, function: &'static Function, mut names: impl Iterator<Item = &'static str>) -> Result<()> {
        match self.failed.take() {
            None => Ok(()),
            Some(source) => {
                let name = names.nth(self.ends.len()).unwrap_or("?");
                Err(Error::Argument { function: function.name().to_owned(), name, source })
            }
        }
    }

    /// Returns the arguments, or the error of the first one that could not be encoded.
    pub(crate) fn whole(mut self) -> Result<Self, EncodeError> {
        self.failed.take().map_or(Ok(self), Err)
    }

    /// Returns each argument's encoding, without copying if this is the only reference.
    pub(crate) fn into_parts(this: Arc<Self>) -> Vec<Bytes> {
        match Arc::try_unwrap(this) {
            Ok(mut arguments) => {
                let bytes = Bytes::from(mem::take(&mut arguments.bytes));
                let starts = std::iter::once(0).chain(arguments.ends.iter().copied());
                starts.zip(&arguments.ends).map(|(start, end)| bytes.slice(start..*end)).collect()
            }
            Err(shared) => shared.iter().map(Bytes::copy_from_slice).collect(),
        }
    }
}

/// Arguments that remember their digests. The digest replaces the encoding until the encoding is needed.
impl Arguments {
    /// Creates an empty list in which every argument will be encoded in full, for calls that leave this thread.
    pub(crate) fn in_full() -> Self {
        let mut arguments = Self::new();
        arguments.in_full = true;
        arguments
    }

    /// Adds the digest of the next argument, or its encoding if it has no digest or is needed in full.
    #[cold]
    fn keep(&mut self, kept: Arc<dyn CachedDigest>) -> Result<(), EncodeError> {
        let hash = if self.in_full { None } else { kept.hash()? };
        let Some(hash) = hash else { return kept.encode(&mut self.bytes) };
        self.bytes.push(DIGEST);
        self.bytes.extend_from_slice(&hash);
        self.kept.push((self.ends.len(), Contained::new(kept)));
        Ok(())
    }

    /// Returns the same arguments in full, or `None` if these already are.
    ///
    /// # Errors
    /// Fails with the position of an argument that cannot be encoded, and the reason.
    pub(super) fn filled(&self) -> Result<Option<Self>, (usize, EncodeError)> {
        if self.kept.is_empty() {
            return Ok(None);
        }
        let mut full = Self::NONE;
        for (at, standing) in self.iter().enumerate() {
            let encoded = self.encoding(at, standing).map_err(|error| (at, error))?;
            full.bytes.extend_from_slice(&encoded);
            full.ends.push(full.bytes.len());
        }
        Ok(Some(full))
    }

    /// Returns the encoding of the argument at this position, given its encoding or the digest that replaces it.
    ///
    /// # Errors
    /// Fails if the argument can no longer be encoded.
    pub(super) fn encoding<'a>(&self, at: usize, standing: &'a [u8]) -> Result<Cow<'a, [u8]>, EncodeError> {
        match self.kept.iter().find(|(place, _)| *place == at) {
            None => Ok(Cow::Borrowed(standing)),
            Some((_, kept)) => {
                let mut encoded = Vec::new();
                contain(|| kept.encode(&mut encoded)).unwrap_or_else(|panic| Err(serialize_panicked(&panic)))?;
                Ok(Cow::Owned(encoded))
            }
        }
    }
}

impl Drop for Arguments {
    fn drop(&mut self) {
        let capacity = self.bytes.capacity();
        if capacity <= KEPT_BUFFER || capacity <= KEPT_LARGE && self.bytes.len() >= capacity / 4 {
            self.swap_buffers();
        }
    }
}

/// Returns the names of the parameters that are part of the key.
fn key_parameters(function: &'static Function) -> impl Iterator<Item = &'static str> + Clone {
    function.definition.parameters.iter().filter(|parameter| !parameter.ignored).map(|parameter| parameter.name)
}

impl Call {
    fn new(function: &'static Function, arguments: Vec<Argument>) -> Result<Self> {
        let references = arguments.iter().map(|Argument(name, value)| (&**name, value.into()));
        let key = CallKey::from_identity(function.identity()?, arguments.len(), references);
        Ok(Self { key, references: Some(arguments) })
    }

    /// Returns the references to the arguments, or nothing if all are inline.
    pub(super) fn references(&self) -> &[Argument] {
        self.references.as_deref().unwrap_or_default()
    }

    /// Returns the references to the arguments, for the record.
    pub(super) fn take_references(&mut self, function: &'static Function, arguments: &Arguments) -> Vec<Argument> {
        self.references.take().unwrap_or_else(|| arguments.references(function))
    }
}

/// Returns the key of a call.
///
/// # Errors
/// Fails with [`Error::Argument`] if an argument cannot be encoded.
pub fn key(function: &'static Function, encode: impl FnOnce(&mut Arguments)) -> Result<CallKey> {
    let mut arguments = Arguments::new();
    arguments.fill(encode);
    arguments.key(function)
}

/// Returns the key of a call, for the companion's `key`.
///
/// # Panics
/// Panics if an argument cannot be encoded: the call has no key then.
pub fn key_or_panic(function: &'static Function, encode: impl FnOnce(&mut Arguments)) -> CallKey {
    key(function, encode).unwrap_or_else(|error| panic!("{}", error.report()))
}

/// Returns the reference to a value, given its encoding or the digest that replaces it.
fn reference(standing: &[u8]) -> ValueRef {
    digest(standing).map_or_else(|| ValueRef::new(standing), ValueRef::Stored)
}

/// Like [`reference()`], without copying an inline value.
fn borrowed_reference(standing: &[u8]) -> Reference<'_> {
    match digest(standing) {
        Some(digest) => Reference::Stored(digest),
        None if standing.len() <= INLINE_LIMIT => Reference::Inline(standing),
        None => Reference::Stored(Digest::hash(standing)),
    }
}

/// Returns the digest, if one replaces the encoding.
#[inline]
fn digest(standing: &[u8]) -> Option<Digest> {
    let digest = standing.strip_prefix(&[DIGEST])?;
    digest.try_into().ok().map(Digest::from_bytes)
}

/// Decodes arguments, in order.
#[derive(Debug)]
pub struct Reader<'a> {
    encoded: Vec<&'a [u8]>,
    at: usize,
    /// The arguments encoded again; set if the function is not called.
    rewritten: Option<&'a mut Rewritten>,
}

/// Arguments that were decoded and encoded again.
#[derive(Debug)]
pub(crate) struct Rewritten {
    pub(crate) arguments: Arguments,
    /// Whether exactly the expected number of arguments was read.
    pub(crate) whole: bool,
}

impl Default for Rewritten {
    fn default() -> Self {
        Self { arguments: Arguments::in_full(), whole: false }
    }
}

impl<'a> Reader<'a> {
    pub(crate) fn new(encoded: impl Iterator<Item = &'a [u8]>) -> Self {
        Self { encoded: encoded.collect(), at: 0, rewritten: None }
    }

    /// Creates a reader that only decodes the arguments and encodes them again, without a call of the function. The given
    /// encodings may differ from those in keys.
    pub(crate) fn rewriting(encoded: impl Iterator<Item = &'a [u8]>, rewritten: &'a mut Rewritten) -> Self {
        Self { rewritten: Some(rewritten), ..Self::new(encoded) }
    }

    /// Decodes the next argument.
    ///
    /// # Errors
    /// Fails if the encoding does not decode into this type.
    pub fn read<A: Owned + ?Sized>(&mut self, codec: &FullCodec<A>) -> Result<A::Owned, DecodeError> {
        let encoded = self.encoded.get(self.at).copied().unwrap_or_default();
        self.at += 1;
        let decoded = contain(|| (codec.decode)(encoded)).unwrap_or_else(|panic| Err(deserialize_panicked(&panic)))?;
        if let Some(rewritten) = &mut self.rewritten {
            rewritten.arguments.fill(|arguments| arguments.add(codec.codec, decoded.borrow()));
        }
        Ok(decoded)
    }

    /// Ends the reading after the last argument. On `Ok` the caller calls the function.
    ///
    /// # Errors
    /// Fails if there are more arguments, or if this reader only encodes them again.
    pub fn end(self) -> Result<(), DecodeError> {
        if self.at < self.encoded.len() {
            let (came, wanted) = (self.encoded.len(), self.at);
            return Err(de::Error::custom(format!("it takes {wanted} arguments, but {came} were given")));
        }
        match self.rewritten {
            None => Ok(()),
            Some(rewritten) => {
                rewritten.whole = true;
                Err(de::Error::custom("the arguments are only encoded again, and the function is not called"))
            }
        }
    }
}

impl Arguments {
    /// Returns a reader that decodes the arguments, in order.
    pub fn reader(&self) -> Reader<'_> {
        Reader::new(self.iter())
    }
}
