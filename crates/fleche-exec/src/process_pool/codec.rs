//! Encodes calls and bindings for the channel.

use std::{
    ffi::OsString,
    os::unix::ffi::{OsStrExt, OsStringExt},
    sync::Mutex,
};

use bytes::Bytes;
use fleche_core::{
    CallKey, Digest, Result,
    context::{Binding, BindingConfig},
    encoding,
    spi::{BindingSpi, KnownFile, LockResultExt, PortableCall, WeakBinding},
    store::Reach,
};
use fleche_remote::spi::{ServedStore, ServedStores};
use serde::{Deserialize, Serialize};

/// The positions of the parts of a task's frame: the function comes first, the arguments last.
pub(super) const FUNCTION: usize = 0;
/// The binding; empty for none.
pub(super) const BINDING: usize = 1;
/// The settings that the worker applies for the body; empty for none.
pub(super) const TASK_ENV: usize = 2;
/// The key of the call if the call has already been looked up and was a miss; otherwise empty.
pub(super) const MISSED: usize = 3;
/// The files among the arguments; empty for none.
pub(super) const FILES: usize = 4;
pub(super) const ARGUMENTS: usize = 5;

/// A binding, with the numbers that the pool's process gave its stores.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct SentBinding {
    pub(super) config: BindingConfig,
    pub(super) values: ServedStore,
    pub(super) calls: ServedStore,
}

/// Encodes calls.
#[derive(Debug, Default)]
pub(super) struct CallEncoder {
    pub(super) served: ServedStores,
    /// The last binding: most tasks have the same one.
    last: Mutex<Option<(WeakBinding, Encoded)>>,
}

#[derive(Clone, Debug)]
struct Encoded {
    bytes: Bytes,
    /// Whether all records of the cache pass through this process, which then knows which records are missing.
    is_ours: bool,
}

impl CallEncoder {
    /// Returns the parts of a task's frame. The part [`TASK_ENV`] is still empty.
    pub(super) fn encode_call(&self, call: PortableCall) -> Result<Vec<Bytes>> {
        let function = encoding::to_vec(&call.function)?;
        let (mut binding, mut missed) = (Bytes::new(), Bytes::new());
        if let Some(bound) = &call.binding {
            let encoded = self.binding(bound)?;
            binding = encoded.bytes;
            if let Some(key) = call.missed.filter(|_| encoded.is_ours) {
                missed = Bytes::copy_from_slice(key.digest().as_bytes());
            }
        }
        let files = files(&call.files)?;
        let arguments = call.into_arguments();
        let mut parts = Vec::with_capacity(ARGUMENTS + arguments.len());
        parts.extend([function.into(), binding, Bytes::new(), missed, files]);
        parts.extend(arguments);
        Ok(parts)
    }

    fn binding(&self, binding: &Binding) -> Result<Encoded> {
        let mut last = self.last.lock().ignore_poison();
        if let Some((_, encoded)) = last.as_ref().filter(|(known, _)| known.is(binding)) {
            return Ok(encoded.clone());
        }
        let cache = binding.cache();
        let config = binding.config()?;
        let is_ours = config.cache.calls.reach() != Reach::Shared;
        let (values, calls) = self.served.serve(cache);
        let encoded = Encoded { bytes: encoding::to_vec(&SentBinding { config, values, calls })?.into(), is_ours };
        *last = Some((binding.downgrade(), encoded.clone()));
        Ok(encoded)
    }
}

/// Digests and paths, which need not be UTF-8.
type SentFiles = Vec<(Digest, Vec<u8>)>;

fn files(files: &[KnownFile]) -> Result<Bytes> {
    if files.is_empty() {
        return Ok(Bytes::new());
    }
    let sent: SentFiles = files.iter().map(|file| (file.digest, file.path.as_os_str().as_bytes().to_vec())).collect();
    Ok(encoding::to_vec(&sent)?.into())
}

/// Makes the files in the part [`FILES`] known in this process.
pub(super) fn register_files(part: &[u8]) -> Result<()> {
    if !part.is_empty() {
        for (digest, path) in encoding::from_slice::<SentFiles>(part)? {
            KnownFile { digest, path: OsString::from_vec(path).into() }.introduce();
        }
    }
    Ok(())
}

/// Returns the key of a call in the part [`MISSED`], or in any other part that holds a key or nothing.
pub(super) fn missed(part: &[u8]) -> Option<CallKey> {
    <[u8; 32]>::try_from(part).ok().map(|digest| Digest::from_bytes(digest).into())
}
