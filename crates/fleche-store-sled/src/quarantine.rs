//! Quarantine: damaged entries are moved to the tree `damaged`, where users can inspect them and no lookup finds them.

use bytes::Bytes;
use fleche_core::{CallKey, Digest, Error, Result, store::Check};
use sled::Tree;

use crate::{database::Database, error::damaged};

/// The number of times that an entry is read if it seems damaged and other writers keep replacing it.
const MAX_READS: usize = 3;
/// The maximum number of quarantined entries. Entries of more than `MAX_DAMAGED_LEN` bytes are dropped instead.
const MAX_DAMAGED: usize = 64;
const MAX_DAMAGED_LEN: usize = 1 << 24;

impl Database {
    /// Returns the result of the check on the value's bytes, which are not copied, or `None` if there is no entry.
    pub(crate) fn value(&self, id: &Digest, check: Check<'_>) -> Result<Option<Bytes>> {
        self.verified(&self.values, id, "value", |bytes| check(bytes.clone()))
    }

    /// Returns the decoded record, or `None` if there is none or it has a later format.
    pub(crate) fn record<T>(
        &self,
        key: &CallKey,
        decode: fn(&CallKey, &[u8]) -> Result<Option<T>>,
    ) -> Result<Option<T>> {
        let verify = |bytes: &Bytes| decode(key, bytes).map_err(reason);
        Ok(self.verified(&self.records, key.digest(), "record of call", verify)?.flatten())
    }

    fn verified<T>(
        &self,
        tree: &Tree,
        digest: &Digest,
        what: &str,
        verify: impl Fn(&Bytes) -> Result<T, String>,
    ) -> Result<Option<T>> {
        for _ in 0..MAX_READS {
            let Some(found) = self.run(|| tree.get(digest.as_bytes()))? else { return Ok(None) };
            let bytes = Bytes::from_owner(found);
            match verify(&bytes) {
                Ok(content) => return Ok(Some(content)),
                Err(why) => self.quarantine(tree, digest, what, &bytes, &why)?,
            }
        }
        Ok(None)
    }

    /// Moves damaged bytes to the quarantine. Does nothing if they have been replaced since.
    ///
    /// # Errors
    /// Fails with [`Error::Damaged`] if they were still there, whether or not they could be moved.
    fn quarantine(&self, tree: &Tree, digest: &Digest, what: &str, bytes: &Bytes, why: &str) -> Result<()> {
        let tag = what.as_bytes()[0];
        let moved = self.change(digest, || {
            if tree.get(digest.as_bytes())?.is_none_or(|there| there != **bytes) {
                return Ok(false);
            }
            if bytes.len() <= MAX_DAMAGED_LEN {
                let content = [&[tag], &digest.as_bytes()[..], bytes].concat();
                self.damaged.insert(self.sled.generate_id()?.to_be_bytes(), content)?;
                while self.damaged.len() > MAX_DAMAGED && self.damaged.pop_min()?.is_some() {}
            }
            tree.remove(digest.as_bytes())?;
            Ok(true)
        });
        let fate = match moved {
            Ok(false) => return Ok(()),
            Ok(true) => "it was moved to the tree `damaged`".to_owned(),
            Err(error) => format!("it stays in place, since it cannot be moved: {error}"),
        };
        Err(damaged(&self.path, &format!("{what} {digest}"), why, &fate))
    }
}

fn reason(error: Error) -> String {
    match error {
        Error::Damaged { why, .. } => why,
        other => other.to_string(),
    }
}
