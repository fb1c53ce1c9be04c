//! Bound calls as text: how they are serialized and deserialized.

use std::{borrow::Cow, path::PathBuf};

use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error as _, ser::Error as _};

use super::BoundCall;
use crate::{
    argument::{KnownFile, record_files},
    bound::{Parts, function_ref::cannot_leave, hex::Hex, reference::Reference},
    context::{Binding, BindingConfig},
    digest::Digest,
    engine::{Arguments, Reader, Rewritten},
    function::Function,
    store::portable_path,
};

/// A path that need not be valid UTF-8.
#[derive(Serialize, Deserialize)]
struct PortablePath(#[serde(with = "portable_path")] PathBuf);

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Written<'a> {
    function: Reference,
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
/// generic function, or a function that shares its name, is identified by its position in the executable, which only the
/// same build understands. The result and the error may be of any type, because they stay where the call runs.
///
/// Fails if an argument could not be encoded.
impl<R> Serialize for BoundCall<R> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let arguments = self.arguments.as_ref().map_err(S::Error::custom)?;
        if self.body.is_some() {
            return Err(S::Error::custom(format!("the body of `{}` has no registered name", self.function.name())));
        }
        Written {
            function: Reference::of_function(self.function).map_err(S::Error::custom)?,
            arguments: names(self.function).map(Cow::Borrowed).zip(arguments.iter().map(Hex::from)).collect(),
            files: self.files.iter().map(|file| (file.digest, PortablePath(file.path.clone()))).collect(),
            binding: self.binding.config().map_err(S::Error::custom)?,
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
        let Written { function, arguments, files, binding } = Written::deserialize(deserializer)?;
        let function = function.find().map_err(D::Error::custom)?;
        let parts = parts::<R>(function).map_err(D::Error::custom)?;
        for (digest, PortablePath(path)) in files {
            KnownFile { digest, path }.introduce();
        }
        let (arguments, files) = record_files(|| rewritten(function, &parts, &arguments));
        let arguments = arguments.map_err(D::Error::custom)?;
        let binding = Binding::open(binding).map_err(D::Error::custom)?;
        let call = Self::of_encoded(function, parts, binding, arguments, files);
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
