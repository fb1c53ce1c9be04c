//! Repair of an open file: it is reopened after an error of the operating system and, if pages are damaged, replaced by
//! a file with all entries that can be read.

use std::{path::PathBuf, sync::PoisonError, time::Duration};

use crate::{
    aside::Files,
    database::Inner,
    error::caught,
    health::Ill,
    salvage::{Salvaged, Source, salvage},
};

/// The pause after a failed attempt to reopen a file.
const REOPENING: Duration = Duration::from_secs(1);
/// The pause after a failed repair, each of which reads the whole file.
const HEALING: Duration = Duration::from_mins(1);

impl Inner {
    /// Repairs a known fault, before a commit. Returns whether it did.
    pub(crate) fn mend(&self) -> bool {
        match self.health.to_mend() {
            Ill::Not => false,
            Ill::Shut => self.reopen(),
            ill => self.heal(ill),
        }
    }

    /// Reopens the file. Returns whether that succeeded.
    pub(crate) fn reopen(&self) -> bool {
        let reopened = {
            // Reads wait for this lock.
            let mut redb = self.redb.write().unwrap_or_else(PoisonError::into_inner);
            if self.health.to_mend() == Ill::Not {
                // Another thread has reopened the file, or tried to.
                return redb.get().is_ok();
            }
            self.renew_snapshot();
            redb.reopen(&self.path)
        };
        match reopened {
            Ok(()) => self.health.mended(),
            Err(error) => {
                self.health.not_mended(REOPENING);
                fleche_core::log::warn!("cannot reopen the redb database `{}`: {error}", self.path.display());
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
                    "the redb database `{path}` was damaged; {values} values and {records} records could be read and are kept, the \
                     other results are computed again; the damaged file is `{}`",
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
                fleche_core::log::warn!("the redb database `{path}` seems damaged, and repairing it failed: {error}");
                return false;
            }
        }
        true
    }

    /// Reads the whole file. If pages are known or found to be damaged, a file of the readable entries replaces it.
    fn replace(&self, files: &Files, ill: Ill) -> Result<Option<(Salvaged, PathBuf)>, redb::Error> {
        // Reads wait for this lock and find a sound file afterwards.
        let mut redb = self.redb.write().unwrap_or_else(PoisonError::into_inner);
        self.renew_snapshot();
        files.remove_unfinished()?;
        files.free_place()?;
        // An error of the operating system does not mean that the file is damaged.
        if !redb.works() {
            redb.reopen(&self.path)?;
        }
        let salvaged = salvage(Source::new(&mut redb, &self.path), files.unfinished())?;
        if ill < Ill::Damaged && !salvaged.met_damage {
            files.remove_unfinished()?;
            return Ok(None);
        }
        let aside = files.set_aside()?;
        // From here on the repair is certain to complete: opening the file puts the replacement in place.
        files.finish()?;
        redb.reopen(&self.path)?;
        Ok(Some((salvaged, aside)))
    }
}
