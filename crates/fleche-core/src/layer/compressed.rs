//! `Compressed`: a layer that compresses the values of another store into Zstandard frames.

use std::{
    io::{self, Read, Write},
    path::Path,
    sync::Arc,
};

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use crate::{
    digest::Digest,
    error::{Error, Result},
    store::{Check, Reach, ValueStore, ValueStoreConfig, kit},
};

/// A layer that compresses each value into one [Zstandard](https://www.rfc-editor.org/rfc/rfc8878) frame in another
/// store. The value keeps its digest as its id, and every read is verified against it.
///
/// Values that the inner store held before stay readable. Without this layer, the inner store reports compressed values
/// as damaged. Memory for the decompressed value is allocated before its digest is verified only if the value is small
/// compared to the frame.
#[derive(Clone, Debug)]
pub struct Compressed<S> {
    store: S,
    level: i32,
}

/// The configuration of a [`Compressed`]: `{"type":"compressed","store":…,"level":3}`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CompressedConfig<C> {
    /// The inner store.
    pub store: C,
    /// The Zstandard level, from 1 (fastest) to 22 (smallest). Default: 3.
    #[serde(default = "default_level")]
    pub level: i32,
}

fn default_level() -> i32 {
    zstd::DEFAULT_COMPRESSION_LEVEL
}

/// The first bytes of every frame.
const MAGIC: [u8; 4] = zstd::zstd_safe::MAGICNUMBER.to_le_bytes();
/// The ratio of the lengths of a value and its frame above which the digest is verified before memory is allocated for
/// the value.
const PLAUSIBLE: usize = 64;

impl<S> Compressed<S> {
    /// Creates a layer on this store with Zstandard's default level.
    pub fn new(store: S) -> Self {
        Self { store, level: default_level() }
    }

    /// Sets the level, from 1 (fastest) to 22 (smallest).
    ///
    /// # Errors
    /// Fails with [`Error::Config`] for any other level.
    pub fn level(self, level: i32) -> Result<Self> {
        if !(1..=22).contains(&level) {
            let why = format!("the level is {level}; levels go from 1 to 22, and 3 is the default");
            return Err(Error::Config { place: "a layer of type `compressed`".to_owned(), why });
        }
        Ok(Self { level, ..self })
    }
}

/// Returns the value in this stored form, without verifying it unless it is implausibly long.
fn unpacked(id: &Digest, form: Bytes) -> Result<Bytes, String> {
    if !form.starts_with(&MAGIC) {
        return Ok(form);
    }
    let plausible = form.len().saturating_mul(PLAUSIBLE);
    let mut value = Vec::new();
    frame(&form)
        .and_then(|frame| frame.take(plausible as u64 + 1).read_to_end(&mut value))
        .map_err(|error| error.to_string())?;
    if value.len() > plausible {
        drop(std::mem::take(&mut value));
        if digest_of(&form).map_err(|error| error.to_string())? != *id {
            return Err(format!("its {} bytes decompress to a value with another digest", form.len()));
        }
        frame(&form).and_then(|mut frame| frame.read_to_end(&mut value)).map_err(|error| error.to_string())?;
    }
    Ok(value.into())
}

fn frame(form: &[u8]) -> io::Result<impl Read> {
    Ok(zstd::Decoder::with_buffer(form)?.single_frame())
}

/// Returns the digest of a frame's content, which is decompressed piecewise.
fn digest_of(form: &[u8]) -> io::Result<Digest> {
    let mut hasher = blake3::Hasher::new();
    io::copy(&mut frame(form)?, &mut hasher)?;
    Ok(Digest::from_bytes(*hasher.finalize().as_bytes()))
}

impl<S: ValueStore> kit::ValueStoreWrapper for Compressed<S> {
    type Inner = S;

    fn inner(&self) -> &S {
        &self.store
    }

    fn read(&self, id: &Digest, check: Check<'_>) -> Result<Option<Bytes>> {
        self.store.read(id, &|form| check(unpacked(id, form)?))
    }

    fn put(&self, id: &Digest, encoded: &[u8]) -> Result<()> {
        let mut frame = zstd::Encoder::new(Vec::new(), self.level).map_err(failed)?;
        frame.include_checksum(true).map_err(failed)?;
        frame.write_all(encoded).map_err(failed)?;
        self.store.put(id, &frame.finish().map_err(failed)?)
    }

    fn config(&self) -> Box<dyn ValueStoreConfig> {
        Box::new(CompressedConfig { store: self.store.config(), level: self.level })
    }
}

fn failed(error: io::Error) -> Error {
    Error::backend("Zstandard")(error)
}

#[typetag::serde(name = "compressed")]
impl ValueStoreConfig for CompressedConfig<Box<dyn ValueStoreConfig>> {
    fn open(&self) -> Result<Arc<dyn ValueStore>> {
        Ok(Arc::new(Compressed::new(self.store.open()?).level(self.level)?))
    }

    fn reach(&self) -> Reach {
        self.store.reach()
    }

    fn resolve(&mut self, directory: &Path) {
        self.store.resolve(directory);
    }
}
