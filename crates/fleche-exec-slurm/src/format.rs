//! The formats of the files in a batch: calls and outcomes. A file begins with a header in the canonical encoding, after its length
//! in 8 bytes and before its BLAKE3 digest. Raw bytes follow, whose digests the header holds.

use std::{
    ffi::OsString,
    fs::File,
    io::{self, ErrorKind, Read},
    os::unix::{
        ffi::{OsStrExt, OsStringExt},
        fs::FileExt,
    },
    path::Path,
    time::Duration,
};

use bytes::Bytes;
use fleche_core::{
    Digest, JobError, Result, Stats,
    context::BindingConfig,
    encoding,
    spi::{FunctionRef, KnownFile, PortableCall},
};
use serde::{Deserialize, Serialize, de::DeserializeOwned};

const DIGEST: usize = 32;
/// The version of the formats.
const VERSION: u32 = 1;
/// The maximum length of a header, which a damaged file may exceed.
const MAX_HEADER: usize = 1 << 28;

fn with_header(header: &impl Serialize, parts: &[&[u8]]) -> Result<Vec<u8>> {
    let header = encoding::to_vec(header)?;
    let length = 8 + header.len() + DIGEST + parts.iter().map(|part| part.len()).sum::<usize>();
    let mut bytes = Vec::with_capacity(length);
    bytes.extend((header.len() as u64).to_le_bytes());
    bytes.extend(&header);
    bytes.extend(Digest::hash(&header).as_bytes());
    for part in parts {
        bytes.extend(*part);
    }
    Ok(bytes)
}

/// Returns the header, and where the raw bytes begin.
fn header<H: DeserializeOwned>(mut read: impl Read) -> io::Result<(H, usize)> {
    let mut length = [0; 8];
    read.read_exact(&mut length)?;
    let length = usize::try_from(u64::from_le_bytes(length)).ok().filter(|length| *length <= MAX_HEADER);
    let length = length.ok_or_else(|| damaged("the header is too long"))?;
    let mut header = vec![0; length + DIGEST];
    read.read_exact(&mut header)?;
    let (header, check) = header.split_at(length);
    if Digest::hash(header).as_bytes()[..] != *check {
        return Err(damaged("the header does not match its digest"));
    }
    let header = encoding::from_slice(header).map_err(|error| damaged(&error.to_string()))?;
    Ok((header, 8 + length + DIGEST))
}

fn damaged(why: &str) -> io::Error {
    io::Error::new(ErrorKind::InvalidData, format!("the file is damaged: {why}"))
}

/// The calls of a batch.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct CallsHeader {
    version: u32,
    /// The digest of the program that runs the calls.
    program: Digest,
    elements: Vec<ElementEntry>,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct ElementEntry {
    key: Digest,
    length: u64,
    check: Digest,
}

/// Returns the file of a batch with these job keys and [encoded calls](encode_call).
///
/// # Errors
/// Does not fail for data that can be constructed.
pub(crate) fn calls_file(program: Digest, calls: &[(Digest, Bytes)]) -> Result<Vec<u8>> {
    let entry = |(key, call): &(Digest, Bytes)| ElementEntry {
        key: *key,
        length: call.len() as u64,
        check: Digest::hash(call),
    };
    let header = CallsHeader { version: VERSION, program, elements: calls.iter().map(entry).collect() };
    with_header(&header, &calls.iter().map(|(_, call)| &**call).collect::<Vec<_>>())
}

/// The file of the calls of a batch, opened.
pub(crate) struct CallsFile {
    file: File,
    header: CallsHeader,
    begin: usize,
}

impl CallsFile {
    /// Opens the file and reads its header.
    ///
    /// # Errors
    /// Fails if the file is missing, is damaged, or is of another version.
    pub(crate) fn open(path: &Path) -> io::Result<Self> {
        let file = File::open(path)?;
        let (header, begin) = header::<CallsHeader>(&file)?;
        if header.version != VERSION {
            let why = format!("it has version {}, and this program reads version {VERSION}", header.version);
            return Err(io::Error::new(ErrorKind::Unsupported, why));
        }
        Ok(Self { file, header, begin })
    }

    /// Returns the digest of the program that runs the calls.
    pub(crate) fn program(&self) -> Digest {
        self.header.program
    }

    /// Returns the job keys of the elements.
    pub(crate) fn keys(&self) -> impl ExactSizeIterator<Item = Digest> {
        self.header.elements.iter().map(|entry| entry.key)
    }

    /// Returns the job key and the encoded call of an element.
    ///
    /// # Errors
    /// Fails if there is no such element, or if it is damaged.
    pub(crate) fn call(&self, element: u32) -> io::Result<(Digest, Bytes)> {
        let entries = &self.header.elements;
        let entry = usize::try_from(element).ok().and_then(|at| entries.get(at));
        let entry = entry.ok_or_else(|| damaged("it has no such element"))?;
        let before: u64 = entries.iter().take(element as usize).map(|entry| entry.length).sum();
        let mut call = vec![0; usize::try_from(entry.length).map_err(|_| damaged("an element is too long"))?];
        self.file.read_exact_at(&mut call, self.begin as u64 + before)?;
        if Digest::hash(&call) != entry.check {
            return Err(damaged("an element does not match its digest"));
        }
        Ok((entry.key, call.into()))
    }
}

/// A call as it is stored, without its arguments, which follow.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct StoredCall {
    pub(crate) function: FunctionRef,
    pub(crate) binding: Option<BindingConfig>,
    /// Digests and paths, which need not be UTF-8.
    files: Vec<(Digest, Vec<u8>)>,
    /// A path, which need not be UTF-8.
    working_dir: Option<Vec<u8>>,
    pub(crate) timeout: Option<Duration>,
    lengths: Vec<u64>,
}

/// Encodes a call.
///
/// # Errors
/// Fails if the binding cannot be described.
pub(crate) fn encode_call(
    call: PortableCall,
    binding: Option<BindingConfig>,
    working_dir: Option<&Path>,
    timeout: Option<Duration>,
) -> Result<Bytes> {
    let files = call.files.iter().map(|file| (file.digest, file.path.as_os_str().as_bytes().to_vec())).collect();
    let working_dir = working_dir.map(|path| path.as_os_str().as_bytes().to_vec());
    let function = call.function.clone();
    let arguments = call.into_arguments();
    let lengths = arguments.iter().map(|argument| argument.len() as u64).collect();
    let stored = StoredCall { function, binding, files, working_dir, timeout, lengths };
    Ok(with_header(&stored, &arguments.iter().map(|argument| &**argument).collect::<Vec<_>>())?.into())
}

impl StoredCall {
    /// Decodes a call and its arguments.
    ///
    /// # Errors
    /// Fails if the bytes are no call, for example because this program lacks a store.
    pub(crate) fn decode(bytes: &[u8]) -> io::Result<(Self, Vec<&[u8]>)> {
        let (stored, begin) = header::<Self>(bytes)?;
        let mut rest = &bytes[begin..];
        let mut arguments = Vec::with_capacity(stored.lengths.len());
        for length in &stored.lengths {
            let split = usize::try_from(*length).ok().and_then(|length| rest.split_at_checked(length));
            let (argument, after) = split.ok_or_else(|| damaged("an argument is cut off"))?;
            arguments.push(argument);
            rest = after;
        }
        Ok((stored, arguments))
    }

    /// Makes the files among the arguments known in this process.
    pub(crate) fn register_files(&self) {
        for (digest, path) in &self.files {
            KnownFile { digest: *digest, path: OsString::from_vec(path.clone()).into() }.introduce();
        }
    }

    pub(crate) fn working_dir(&self) -> Option<&Path> {
        self.working_dir.as_deref().map(|path| Path::new(std::ffi::OsStr::from_bytes(path)))
    }
}

/// The outcome of a call, and the counters of its cache.
#[derive(Clone, Debug)]
pub(crate) struct Outcome {
    pub(crate) result: Result<Bytes, JobError>,
    pub(crate) stats: Option<Stats>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct OutcomeHeader {
    version: u32,
    error: Option<JobError>,
    /// The digest of the result.
    check: Digest,
    stats: Option<Stats>,
}

impl Outcome {
    pub(crate) fn of(result: Result<Bytes, JobError>) -> Self {
        Self { result, stats: None }
    }

    /// Encodes the outcome.
    ///
    /// # Errors
    /// Does not fail for data that can be constructed.
    pub(crate) fn to_bytes(&self) -> Result<Vec<u8>> {
        let (result, error) = match &self.result {
            Ok(result) => (&**result, None),
            Err(error) => (&[][..], Some(error.clone())),
        };
        let header = OutcomeHeader { version: VERSION, error, check: Digest::hash(result), stats: self.stats.clone() };
        with_header(&header, &[result])
    }

    /// Decodes an outcome.
    ///
    /// # Errors
    /// Fails if the bytes are damaged.
    pub(crate) fn from_bytes(bytes: Vec<u8>) -> io::Result<Self> {
        let (header, begin) = header::<OutcomeHeader>(&*bytes)?;
        let result = Bytes::from(bytes).slice(begin..);
        if header.version != VERSION || Digest::hash(&result) != header.check {
            return Err(damaged("the result does not match its digest"));
        }
        Ok(Self { result: header.error.map_or(Ok(result), Err), stats: header.stats })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn outcomes_survive_a_round_trip_and_damage_is_found() {
        for result in [Ok(Bytes::from_static(b"result")), Err(JobError::TimedOut), Ok(Bytes::new())] {
            let bytes = Outcome::of(result.clone()).to_bytes().unwrap();
            assert_eq!(Outcome::from_bytes(bytes.clone()).unwrap().result, result);
            for at in 0..bytes.len() {
                let mut broken = bytes.clone();
                broken[at] ^= 1;
                assert!(Outcome::from_bytes(broken).is_err(), "byte {at}");
                assert!(Outcome::from_bytes(bytes[..at].to_vec()).is_err(), "cut at {at}");
            }
        }
    }

    #[test]
    fn single_calls_of_a_batch_are_read() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("calls");
        let calls: Vec<_> = (0..5_u8).map(|at| (Digest::hash(&[at]), Bytes::from(vec![at; usize::from(at)]))).collect();
        let program = Digest::hash(b"program");
        let bytes = calls_file(program, &calls).unwrap();
        std::fs::write(&path, &bytes).unwrap();
        let file = CallsFile::open(&path).unwrap();
        assert_eq!(file.program(), program);
        assert!(file.keys().eq(calls.iter().map(|(key, _)| *key)));
        for (element, call) in (0..).zip(&calls) {
            assert_eq!(file.call(element).unwrap(), *call);
        }
        assert!(file.call(5).is_err());
        let mut broken = bytes.clone();
        *broken.last_mut().unwrap() ^= 1;
        std::fs::write(&path, broken).unwrap();
        let file = CallsFile::open(&path).unwrap();
        assert!(file.call(4).is_err() && file.call(3).is_ok());
    }
}
