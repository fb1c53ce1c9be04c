//! Repair of an open file: it is reopened after an error of the operating system and, if pages are damaged, replaced by
//! a file with all entries that can be read.

use std::{path::PathBuf, time::Duration};

use fleche_core::{
    spi::counted,
    store::kit::{LockResultExt as _, log},
};

use crate::{
    database::Inner,
    db_handle::FileFault,
    error::catch_panic,
    recover::{Recovered, Source, recover},
    repair_files::Files,
};

/// The pause after a failed attempt to reopen a file.
const REOPEN_PAUSE: Duration = Duration::from_secs(1);
/// The pause after a failed repair, each of which reads the whole file.
const REPAIR_PAUSE: Duration = Duration::from_mins(1);

impl Inner {
    /// Repairs a known fault, before a commit. Returns whether a fault was repaired.
    pub(crate) fn try_repair(&self) -> bool {
        match self.integrity.to_repair() {
            FileFault::None => false,
            FileFault::NeedsReopen => self.reopen(),
            fault => self.repair(fault),
        }
    }

    /// Reopens the file. Returns whether that succeeded.
    pub(crate) fn reopen(&self) -> bool {
        let reopened = {
            // Reads wait for this lock.
            let mut redb = self.redb.write().ignore_poison();
            if self.integrity.to_repair() == FileFault::None {
                // Another thread has reopened the file, or tried to.
                return redb.get().is_ok();
            }
            self.renew_snapshot();
            redb.reopen(&self.name, &self.path)
        };
        match reopened {
            Ok(()) => self.integrity.repaired(),
            Err(error) => {
                self.integrity.not_repaired(REOPEN_PAUSE);
                log::warn!("cannot reopen {}; a later operation tries again: {error}", self.name);
                return false;
            }
        }
        true
    }

    fn repair(&self, fault: FileFault) -> bool {
        let (name, files) = (&self.name, Files::new(&self.path));
        match catch_panic(|| self.replace(&files, fault)) {
            Ok(None) => self.integrity.repaired(),
            Ok(Some((Recovered { values, records, .. }, kept))) => {
                self.integrity.repaired();
                let (values, records) = (counted(values, "value", "values"), counted(records, "record", "records"));
                log::warn!(
                    "{name} was damaged; {values} and {records} could be read and are kept, the \
                     other results are computed again; the damaged file is `{}`",
                    kept.display()
                );
            }
            Err(error) => {
                let _ = files.remove_unfinished();
                let is_open = {
                    let mut redb = self.redb.write().ignore_poison();
                    redb.give_up();
                    redb.get().is_ok()
                };
                self.integrity.not_repaired(if is_open { REPAIR_PAUSE } else { REOPEN_PAUSE });
                log::warn!(
                    "cannot repair {name}, which seems damaged; a later commit tries again; if this persists, move the \
                     file away or restore it from a copy: {error}"
                );
                return false;
            }
        }
        true
    }

    /// Reads the whole file. If pages are known or found to be damaged, a file of the readable entries replaces it.
    fn replace(&self, files: &Files, fault: FileFault) -> Result<Option<(Recovered, PathBuf)>, redb::Error> {
        // Reads wait for this lock and find a sound file afterwards.
        let mut redb = self.redb.write().ignore_poison();
        self.renew_snapshot();
        files.remove_unfinished()?;
        files.free_path()?;
        // An error of the operating system does not mean that the file is damaged.
        if !redb.works() {
            redb.reopen(&self.name, &self.path)?;
        }
        let recovered = recover(Source::new(&mut redb, &self.name, &self.path), files.unfinished())?;
        if fault < FileFault::Damaged && !recovered.met_damage {
            files.remove_unfinished()?;
            return Ok(None);
        }
        let kept = files.quarantine()?;
        // From here on the repair is certain to complete: opening the file puts the replacement in place.
        files.finish()?;
        redb.reopen(&self.name, &self.path)?;
        Ok(Some((recovered, kept)))
    }
}
