//! `Hello`: the first frame in both directions, by which the two ends agree on a version of the protocol.

use fleche_core::{Digest, encoding};
use serde::{Deserialize, Serialize};

use crate::frame::{Frame, Kind};

/// The versions of the protocol that this crate speaks: the lowest and the highest.
pub(crate) const VERSIONS: (u16, u16) = (1, 1);

/// What one end says of itself.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hello {
    /// The lowest and the highest version of the protocol that this end speaks.
    pub versions: (u16, u16),
    /// The purpose for which this end connects.
    pub role: Role,
    /// The digest of the build, for ends that must be the same program.
    pub build: Option<Digest>,
    /// The software and its version, for messages.
    pub software: String,
}

/// The purpose for which a process connects.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Role {
    /// It uses stores.
    Client,
    /// It serves stores.
    Server,
    /// It runs tasks.
    Worker,
    /// It gives tasks to workers, and serves stores to them.
    Pool,
}

impl Hello {
    /// Creates the greeting of this software in this role.
    pub fn new(role: Role) -> Self {
        let software = concat!("fleche-remote ", env!("CARGO_PKG_VERSION")).to_owned();
        Self { versions: VERSIONS, role, build: None, software }
    }

    /// Sets the build, which the other end compares with its own.
    #[must_use]
    pub fn with_build(self, build: Digest) -> Self {
        Self { build: Some(build), ..self }
    }

    /// Encodes the greeting.
    pub fn to_bytes(&self) -> Vec<u8> {
        // Encoding numbers and text does not fail.
        encoding::to_vec(self).unwrap_or_default()
    }

    /// Returns the greeting in this frame, or `None` if the frame holds no greeting.
    pub fn from_frame(frame: &Frame) -> Option<Self> {
        (frame.kind == Kind::HELLO).then(|| encoding::from_slice(&frame.part(0)).ok()).flatten()
    }

    /// Fails with a message if this end and the other one speak no common version.
    pub(crate) fn check_versions(&self) -> Result<(), String> {
        let ((low, high), (lowest, highest)) = (self.versions, VERSIONS);
        if low.max(lowest) <= high.min(highest) {
            return Ok(());
        }
        Err(format!(
            "{} speaks the versions {low} to {high} of the protocol, and this program {lowest} to {highest}; update the older one",
            self.software
        ))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ends_without_a_common_version_are_told_both() {
        let hello = |versions| Hello { versions, ..Hello::new(Role::Server) };
        assert_eq!(hello((0, 1)).check_versions(), Ok(()));
        assert_eq!(hello((1, 7)).check_versions(), Ok(()));
        let why = hello((2, 3)).check_versions().unwrap_err();
        assert!(why.contains("2 to 3") && why.contains("1 to 1"), "{why}");
    }

    #[test]
    fn unknown_fields_of_a_greeting_are_skipped() {
        #[derive(Serialize)]
        struct Later {
            versions: (u16, u16),
            role: Role,
            build: Option<Digest>,
            software: String,
            extra: u64,
        }
        let Hello { versions, role, build, software } = Hello::new(Role::Server);
        let later = Later { versions, role, build, software, extra: 7 };
        let frame = Frame::new(Kind::HELLO, 0, vec![encoding::to_vec(&later).unwrap().into()]);
        assert_eq!(Hello::from_frame(&frame), Some(Hello::new(Role::Server)));
    }
}
