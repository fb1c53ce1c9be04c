//! Damaged entries: kept where somebody may look at them and nobody is served them.

use bytes::Bytes;
use fleche_core::{CallKey, Digest, Error, Result, store::Check};
use sled::Tree;

use crate::{database::Database, error::damaged};

/// How often an entry that seems damaged is looked at again, where somebody keeps replacing it.
const LOOKS: usize = 3;
/// So many damaged entries are kept, and none that is larger than this.
const MOST_DAMAGED: usize = 64;
const LARGEST_DAMAGED: usize = 1 << 24;

impl Database {
    /// What the check makes of the value's bytes, which are not copied.
    pub(crate) fn value(&self, id: &Digest, check: Check<'_>) -> Result<Option<Bytes>> {
        self.verified(&self.values, id, "value", |bytes| check(bytes.clone()))
    }

    /// What this makes of the record's bytes; `None` also where it is of a later format.
    pub(crate) fn record<T>(
        &self,
        key: &CallKey,
        decode: fn(&CallKey, &[u8]) -> Result<Option<T>>,
    ) -> Result<Option<T>> {
        let verify = |bytes: &Bytes| decode(key, bytes).map_err(why);
        Ok(self.verified(&self.records, key.digest(), "record of call", verify)?.flatten())
    }

    fn verified<T>(
        &self,
        tree: &Tree,
        digest: &Digest,
        what: &str,
        verify: impl Fn(&Bytes) -> Result<T, String>,
    ) -> Result<Option<T>> {
        for _ in 0..LOOKS {
            let Some(found) = self.run(|| tree.get(digest.as_bytes()))? else { return Ok(None) };
            let bytes = Bytes::from_owner(found);
            match verify(&bytes) {
                Ok(content) => return Ok(Some(content)),
                Err(why) => self.set_aside(tree, digest, what, &bytes, &why)?,
            }
        }
        Ok(None)
    }

    /// Moves damaged bytes away; nothing if others are there by now.
    ///
    /// # Errors
    /// [`Error::Damaged`] if they were there, moved or not.
    fn set_aside(&self, tree: &Tree, digest: &Digest, what: &str, bytes: &Bytes, why: &str) -> Result<()> {
        let tag = what.as_bytes()[0];
        let moved = self.change(digest, || {
            if tree.get(digest.as_bytes())?.is_none_or(|there| there != **bytes) {
                return Ok(false);
            }
            if bytes.len() <= LARGEST_DAMAGED {
                let content = [&[tag], &digest.as_bytes()[..], bytes].concat();
                self.damaged.insert(self.sled.generate_id()?.to_be_bytes(), content)?;
                while self.damaged.len() > MOST_DAMAGED && self.damaged.pop_min()?.is_some() {}
            }
            tree.remove(digest.as_bytes())?;
            Ok(true)
        });
        let fate = match moved {
            Ok(false) => return Ok(()),
            Ok(true) => "it is kept in the tree `damaged`".to_owned(),
            Err(error) => format!("it stays where it is, for it cannot be moved: {error}"),
        };
        Err(damaged(&self.path, &format!("{what} {digest}"), why, &fate))
    }
}

fn why(error: Error) -> String {
    match error {
        Error::Damaged { why, .. } => why,
        other => other.to_string(),
    }
}
