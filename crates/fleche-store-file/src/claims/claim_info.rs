//! `ClaimInfo`: the information about a claim holder that other processes can read.

use std::time::{Duration, SystemTime};

use fleche_core::{CallKey, Digest, claim::ClaimHolder, encoding, spi::process_id::Process};
use serde::{Deserialize, Serialize};

/// The maximum size in bytes, checksum and length included.
pub(super) const SIZE: usize = 512;

/// The maximum number of awaited calls. If a body waits for more, they are not published.
const MAX_AWAITED: usize = 8;

const CHECKSUM: usize = 8;
const LENGTH: usize = 2;

/// The holder of a claim, the time at which it acquired the claim, and the calls that it waits for. Another process may
/// overwrite it at any time.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct ClaimInfo {
    key: [u8; 32],
    level: u8,
    pub(super) process: Process,
    /// The time at which the claim was acquired, in nanoseconds since the Unix epoch.
    pub(super) since: u64,
    awaits: Option<Vec<[u8; 32]>>,
}

impl ClaimInfo {
    pub(super) fn new(
        key: &CallKey,
        level: u8,
        process: &Process,
        since: SystemTime,
        awaits: Option<&[CallKey]>,
    ) -> Self {
        let since = since.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        Self {
            key: bytes(key),
            level,
            process: process.clone(),
            since: since.as_nanos().try_into().unwrap_or_default(),
            awaits: awaited(awaits),
        }
    }

    /// Returns whether this information describes the holder of the claim with this key and level.
    pub(super) fn is_of(&self, key: &CallKey, level: u8) -> bool {
        self.key == bytes(key) && self.level == level
    }

    /// Replaces the calls that the holder waits for.
    pub(super) fn waiting_on(self, awaits: Option<&[CallKey]>) -> Self {
        Self { awaits: awaited(awaits), ..self }
    }

    /// Returns length, checksum and encoding, or only a length of zero if they do not fit.
    pub(super) fn to_bytes(&self) -> Vec<u8> {
        let encoded = encoding::to_vec(self).unwrap_or_default();
        match u16::try_from(encoded.len()) {
            Ok(length) if LENGTH + CHECKSUM + encoded.len() <= SIZE => {
                [&length.to_le_bytes()[..], &Digest::hash(&encoded).as_bytes()[..CHECKSUM], &encoded].concat()
            }
            _ => vec![0; LENGTH],
        }
    }

    /// Decodes the beginning of these bytes; returns `None` if they are torn or empty.
    pub(super) fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let (length, rest) = bytes.split_first_chunk::<LENGTH>()?;
        let (checksum, rest) = rest.split_first_chunk::<CHECKSUM>()?;
        let encoded = rest.get(..u16::from_le_bytes(*length).into())?;
        if Digest::hash(encoded).as_bytes()[..CHECKSUM] != *checksum {
            return None;
        }
        encoding::from_slice(encoded).ok()
    }

    pub(super) fn into_claim_holder(self) -> ClaimHolder {
        ClaimHolder {
            host: self.process.host,
            process: self.process.id,
            since: SystemTime::UNIX_EPOCH + Duration::from_nanos(self.since),
            waiting_on: self.awaits.map(|keys| keys.into_iter().map(|key| Digest::from_bytes(key).into()).collect()),
        }
    }
}

fn awaited(keys: Option<&[CallKey]>) -> Option<Vec<[u8; 32]>> {
    keys.filter(|keys| keys.len() <= MAX_AWAITED).map(|keys| keys.iter().map(bytes).collect())
}

fn bytes(key: &CallKey) -> [u8; 32] {
    *key.digest().as_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(number: u8) -> CallKey {
        Digest::hash(&[number]).into()
    }

    fn published(awaits: u8) -> ClaimInfo {
        let awaits: Vec<_> = (0..awaits).map(key).collect();
        ClaimInfo::new(&key(1), 7, &Process::this(), SystemTime::now(), Some(&awaits))
    }

    #[test]
    fn published_holder_reads_back_ignoring_trailing_bytes() {
        for awaits in 0..=8 {
            let published = published(awaits);
            let mut bytes = published.to_bytes();
            bytes.resize(SIZE, 0xff);
            assert_eq!(ClaimInfo::from_bytes(&bytes), Some(published));
        }
    }

    #[test]
    fn largest_expected_holder_fits() {
        let mut published = published(8);
        published.process.host = "h".repeat(64);
        published.process.id = u32::MAX;
        published.since = u64::MAX;
        assert!(ClaimInfo::from_bytes(&published.to_bytes()).is_some(), "{} bytes", published.to_bytes().len());
    }

    #[test]
    fn holder_that_does_not_fit_is_not_published() {
        let mut published = published(8);
        published.process.host = "h".repeat(SIZE);
        assert_eq!(ClaimInfo::from_bytes(&published.to_bytes()), None);
    }

    #[test]
    fn too_many_awaited_calls_are_not_published() {
        assert_eq!(published(8).into_claim_holder().waiting_on.map(|keys| keys.len()), Some(8));
        assert_eq!(published(9).into_claim_holder().waiting_on, None);
    }

    #[test]
    fn torn_bytes_are_not_decoded() {
        let bytes = published(2).to_bytes();
        for cut in 0..bytes.len() {
            let mut torn = bytes.clone();
            torn[cut..].fill(0);
            if torn != bytes {
                assert_eq!(ClaimInfo::from_bytes(&torn), None);
            }
            assert_eq!(ClaimInfo::from_bytes(&bytes[..cut]), None);
        }
    }
}
