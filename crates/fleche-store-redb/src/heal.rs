//! Mending an open file: opened anew after an error of the system's, and, where pages are damaged, replaced by a file of all
//! that could be read of it.

use std::{path::PathBuf, sync::PoisonError, time::Duration};

use crate::{
    aside::Files,
    database::Inner,
    error::caught,
    health::Ill,
    salvage::{Salvaged, Source, salvage},
};

/// After so long one tries again to open a file.
const REOPENING: Duration = Duration::from_secs(1);
/// The same to heal it: each time all of it is read.
const HEALING: Duration = Duration::from_mins(1);

impl Inner {
    /// Mends what is known to be wrong, for who commits. Whether nothing is wrong any more, as far as is known.
    pub(crate) fn mend(&self) -> bool {
        match self.health.to_mend() {
            Ill::Not => false,
            Ill::Shut => self.reopen(),
            ill => self.heal(ill),
        }
    }

    /// Opens the file anew. Whether it did.
    pub(crate) fn reopen(&self) -> bool {
        let reopened = {
            // Readers wait meanwhile.
            let mut redb = self.redb.write().unwrap_or_else(PoisonError::into_inner);
            if self.health.to_mend() == Ill::Not {
                // Another has done it, or tried.
                return redb.get().is_ok();
            }
            self.renew_snapshot();
            redb.reopen(&self.path)
        };
        match reopened {
            Ok(()) => self.health.mended(),
            Err(error) => {
                self.health.not_mended(REOPENING);
                fleche_core::log::warn!("the redb database `{}` does not open again: {error}", self.path.display());
                return false;
            }
        }
        true
    }

    fn heal(&self, ill: Ill) -> bool {
        let (path, files) = (self.path.display(), Files::of(&self.path));
        match caught(|| self.replace(&files, ill)) {
            Ok(None) => self.health.mended(),
            Ok(Some((Salvaged { values, records, .. }, aside))) => {
                self.health.mended();
                fleche_core::log::warn!(
                    "the redb database `{path}` was damaged; {values} values and {records} records could be read and are kept, what \
                     else was in it is computed again; the damaged file is `{}`",
                    aside.display()
                );
            }
            Err(error) => {
                let _ = files.remove_unfinished();
                let is_open = {
                    let mut redb = self.redb.write().unwrap_or_else(PoisonError::into_inner);
                    redb.give_up();
                    redb.get().is_ok()
                };
                self.health.not_mended(if is_open { HEALING } else { REOPENING });
                fleche_core::log::warn!("the redb database `{path}` seems damaged, and could not be healed: {error}");
                return false;
            }
        }
        true
    }

    /// Reads all of the file. Where pages are damaged, as they are known to be or turn out to be, what could be read takes its
    /// place.
    fn replace(&self, files: &Files, ill: Ill) -> Result<Option<(Salvaged, PathBuf)>, redb::Error> {
        // Readers wait meanwhile; what they find afterwards is sound.
        let mut redb = self.redb.write().unwrap_or_else(PoisonError::into_inner);
        self.renew_snapshot();
        files.remove_unfinished()?;
        files.free_place()?;
        // An error of the system's says nothing of the file.
        if !redb.works() {
            redb.reopen(&self.path)?;
        }
        let salvaged = salvage(Source::new(&mut redb, &self.path), files.unfinished())?;
        if ill < Ill::Damaged && !salvaged.met_damage {
            files.remove_unfinished()?;
            return Ok(None);
        }
        let aside = files.set_aside()?;
        // From here on it is healed, whatever happens: whoever opens the file puts the new one in its place.
        files.finish()?;
        redb.reopen(&self.path)?;
        Ok(Some((salvaged, aside)))
    }
}
