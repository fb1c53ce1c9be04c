//! The encoded arguments of one call.

mod kept;

use std::{borrow::Cow, cell::RefCell, mem, sync::Arc};

use bytes::Bytes;

use super::{Codec, Reader, quick::QuickKey};
use crate::{
    call::{Argument, CallKey, INLINE_LIMIT},
    encoding::{EncodeError, kept::Kept},
    error::{Error, Result},
    function::Function,
    panics::{Contained, Panic, contain},
};
use kept::{borrowed_reference, reference};

/// The encodings of a call's arguments, one after the other.
#[derive(Debug, Default)]
pub struct Arguments {
    bytes: Vec<u8>,
    /// Where each argument ends in `bytes`.
    ends: Vec<usize>,
    failed: Option<EncodeError>,
    /// The words that stand for them, where they are simple.
    quick: Option<Box<QuickKey>>,
    /// Those of which only the digest stands in `bytes`, each with its place.
    kept: Vec<(usize, Contained<Arc<dyn Kept>>)>,
    /// Whether there must be none of those.
    in_full: bool,
    /// Whether a hit is served only after they have passed a check.
    is_due: bool,
}

/// A call as stores know it.
#[derive(Debug)]
pub(crate) struct Call {
    pub(crate) key: CallKey,
    /// `None` if all are inline: then they are made when the record is, since a hit has no use for them.
    references: Option<Vec<Argument>>,
}

/// Buffers up to this size, in bytes, are kept for the next call.
const KEPT_BUFFER: usize = 1 << 20;
/// And up to this size where the last call has used a quarter of it: new memory of many megabytes costs as much as to hash
/// them, and who calls with large arguments once does it again. The next call that is small gives it back.
const KEPT_LARGE: usize = 1 << 24;

thread_local! {
    /// The buffers of an earlier call, or of the one that is looked up now.
    static SPARE: RefCell<Arguments> = const { RefCell::new(Arguments::NONE) };
}

impl Arguments {
    const NONE: Self = Self {
        bytes: Vec::new(),
        ends: Vec::new(),
        failed: None,
        quick: None,
        kept: Vec::new(),
        in_full: false,
        is_due: false,
    };

    /// None yet, in the buffers of an earlier call of this thread.
    pub fn new() -> Self {
        let mut new = Self::NONE;
        new.swap_buffers();
        new.bytes.clear();
        new.ends.clear();
        new
    }

    /// Swaps the buffers with those of an earlier call. A thread that ends has none, nor has a call that encoding an argument
    /// of another makes.
    #[inline]
    fn swap_buffers(&mut self) {
        let _ = SPARE.try_with(|spare| {
            if let Ok(mut spare) = spare.try_borrow_mut() {
                mem::swap(&mut self.bytes, &mut spare.bytes);
                mem::swap(&mut self.ends, &mut spare.ends);
            }
        });
    }

    /// What `look` finds with none yet, which it adds to; where it finds nothing, the arguments, or `None` on a thread
    /// that is ending.
    #[inline]
    pub(super) fn with<R>(look: impl FnOnce(&mut Self) -> Option<R>) -> Result<R, Option<Self>> {
        let found = SPARE.try_with(|spare| match spare.try_borrow_mut() {
            // The buffers stay where they are.
            Ok(mut arguments) => {
                arguments.clear();
                let found = look(&mut arguments);
                if found.is_some() {
                    arguments.let_go();
                }
                found.ok_or_else(|| Some(mem::replace(&mut *arguments, Self::NONE)))
            }
            Err(_) => Self::amid(look),
        });
        found.unwrap_or(Err(None))
    }

    /// As [`with`](Self::with), for a call that encoding an argument of another makes, which has the buffers.
    #[cold]
    fn amid<R>(look: impl FnOnce(&mut Self) -> Option<R>) -> Result<R, Option<Self>> {
        let mut arguments = Self::NONE;
        look(&mut arguments).ok_or(Some(arguments))
    }

    /// The same arguments, with the words that stand for them.
    pub(super) fn with_quick(mut self, quick: QuickKey) -> Self {
        self.quick = Some(Box::new(quick));
        self
    }

    /// The words that stand for them, where they are simple and it was found out.
    pub(super) fn quick(&self) -> Option<&QuickKey> {
        self.quick.as_deref()
    }

    #[inline]
    fn clear(&mut self) {
        self.bytes.clear();
        self.ends.clear();
        self.quick = None;
        // Seldom there, and then it takes a call to drop it.
        if self.failed.is_some() {
            self.failed = None;
        }
        self.let_go();
        self.in_full = false;
        self.is_due = false;
    }

    /// A hit is served only after they have passed a check.
    #[cold]
    pub(super) fn be_checked(&mut self) {
        self.is_due = true;
    }

    /// Returns whether a hit is served only after they have passed a check.
    pub(super) fn is_due(&self) -> bool {
        self.is_due
    }

    /// Keeps nobody's values any longer.
    #[inline]
    fn let_go(&mut self) {
        if !self.kept.is_empty() {
            self.kept.clear();
        }
    }

    /// Adds what `encode` adds. A panic in a `Serialize` is a failure of the argument.
    #[inline]
    pub(crate) fn fill(&mut self, encode: impl FnOnce(&mut Self)) {
        if let Err(panic) = contain(|| encode(self)) {
            self.failed = Some(panicked(&panic));
        }
    }

    /// Encodes the next argument. The first failure is kept, and told when the arguments are used.
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

    /// Notes that the next argument cannot be encoded.
    pub(super) fn fail(&mut self, why: EncodeError) {
        self.failed.get_or_insert(why);
    }

    /// All encodings, or what stands for them, one after the other; `None` where one has failed. Different arguments of one
    /// function differ in it.
    pub(super) fn encoded(&self) -> Option<&[u8]> {
        self.failed.is_none().then_some(&*self.bytes)
    }

    /// How many bytes they are.
    pub(super) fn len(&self) -> usize {
        self.bytes.len()
    }

    /// Each argument's encoding, or what [stands](Self::encoding) for it.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &[u8]> {
        let mut start = 0;
        self.ends.iter().map(move |end| &self.bytes[mem::replace(&mut start, *end)..*end])
    }

    /// Key and references, where the arguments are those of the function that are part of the key.
    pub(crate) fn call(&mut self, function: &'static Function) -> Result<Call> {
        if self.kept.is_empty() && self.iter().all(|encoded| encoded.len() <= INLINE_LIMIT) {
            return Ok(Call { key: self.key(function)?, references: None });
        }
        self.check(function, keyed(function))?;
        Call::new(function, self.references(function))
    }

    /// The references, where the arguments are those of the function that are part of the key.
    fn references(&self, function: &'static Function) -> Vec<Argument> {
        let mut references = Vec::with_capacity(self.ends.len());
        for (name, encoded) in keyed(function).zip(self.iter()) {
            references.push(Argument(Cow::Borrowed(name), reference(encoded)));
        }
        references
    }

    /// Key and references, where the arguments are all of the function's, ignored ones included.
    pub(crate) fn call_of_all(&mut self, function: &'static Function) -> Result<Call> {
        self.check(function, function.definition.parameters.iter().map(|parameter| parameter.name))?;
        let parameters = function.definition.parameters.iter().zip(self.iter());
        let arguments = parameters
            .filter(|(parameter, _)| !parameter.ignored)
            .map(|(parameter, encoded)| Argument(Cow::Borrowed(parameter.name), reference(encoded)))
            .collect();
        Call::new(function, arguments)
    }

    /// The key alone, where the arguments are those of the function that are part of it.
    pub(super) fn key(&mut self, function: &'static Function) -> Result<CallKey> {
        let names = keyed(function);
        self.check(function, names.clone())?;
        let arguments = names.zip(self.iter()).map(|(name, encoded)| (name, borrowed_reference(encoded)));
        Ok(CallKey::of_identity(function.identity()?, self.ends.len(), arguments))
    }

    /// Whether all were encoded.
    fn check(&mut self, function: &'static Function, mut names: impl Iterator<Item = &'static str>) -> Result<()> {
        match self.failed.take() {
            None => Ok(()),
            Some(source) => {
                let name = names.nth(self.ends.len()).unwrap_or("?");
                Err(Error::Argument { function: function.name().to_owned(), name, source })
            }
        }
    }

    /// The arguments, where all could be encoded.
    pub(crate) fn whole(mut self) -> Result<Self, EncodeError> {
        self.failed.take().map_or(Ok(self), Err)
    }

    /// Each argument's encoding, without a copy where nobody else holds them.
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

    /// Reads the arguments back, in order.
    pub fn reader(&self) -> Reader<'_> {
        Reader::new(self.iter())
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

#[cold]
fn panicked(panic: &Panic) -> EncodeError {
    EncodeError::Custom(format!("its `Serialize` {panic}").into())
}

/// The names of the parameters that are part of the key.
fn keyed(function: &'static Function) -> impl Iterator<Item = &'static str> + Clone {
    function.definition.parameters.iter().filter(|parameter| !parameter.ignored).map(|parameter| parameter.name)
}

impl Call {
    fn new(function: &'static Function, arguments: Vec<Argument>) -> Result<Self> {
        let references = arguments.iter().map(|Argument(name, value)| (&**name, value.into()));
        let key = CallKey::of_identity(function.identity()?, arguments.len(), references);
        Ok(Self { key, references: Some(arguments) })
    }

    /// Returns the references to the arguments, if any of these is not inline.
    pub(super) fn references(&self) -> &[Argument] {
        self.references.as_deref().unwrap_or_default()
    }

    /// Returns the references to the arguments, for the record.
    pub(super) fn take_references(&mut self, function: &'static Function, arguments: &Arguments) -> Vec<Argument> {
        self.references.take().unwrap_or_else(|| arguments.references(function))
    }
}
