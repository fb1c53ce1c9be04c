//! Healing: a database with damaged pages makes room for a new one that has all that could be read of it.

use std::{
    io,
    path::{Path, PathBuf},
    sync::{
        PoisonError,
        atomic::{AtomicU8, Ordering},
    },
};

use crate::{
    aside::Files,
    database::Inner,
    error::caught,
    salvage::{Salvaged, Source, salvage},
};

/// What is known of the pages of an open file.
#[derive(Default)]
pub(crate) struct Health(AtomicU8);

const SOUND: u8 = 0;
const DAMAGED: u8 = 1;
const GIVEN_UP: u8 = 2;

impl Health {
    /// Whoever commits next is to heal the file. Where that has failed, nobody tries again before it is opened anew.
    pub(crate) fn note_damage(&self) {
        let _ = self.0.compare_exchange(SOUND, DAMAGED, Ordering::Relaxed, Ordering::Relaxed);
    }

    pub(crate) fn is_damaged(&self) -> bool {
        self.0.load(Ordering::Relaxed) == DAMAGED
    }

    fn set(&self, health: u8) {
        self.0.store(health, Ordering::Relaxed);
    }
}

impl Inner {
    /// Heals the file, for who commits. Whether it did: where it is damaged still, it stays as it is.
    pub(crate) fn heal(&self, why: &str) -> bool {
        if self.health.0.load(Ordering::Relaxed) == GIVEN_UP {
            return false;
        }
        let (path, files) = (self.path.display(), Files::of(&self.path));
        match caught(|| self.replace(&files)) {
            Ok((salvaged, aside)) => {
                self.health.set(SOUND);
                let Salvaged { values, records } = salvaged;
                tracing::warn!(
                    "the redb database `{path}` was damaged ({why}); {values} values and {records} records could be read and are \
                     kept, what else was in it is computed again; the damaged file is `{}`",
                    aside.display()
                );
                true
            }
            Err(error) => {
                self.health.set(GIVEN_UP);
                let _ = files.remove_unfinished();
                tracing::warn!("the redb database `{path}` is damaged ({why}) and cannot be healed: {error}");
                false
            }
        }
    }

    fn replace(&self, files: &Files) -> Result<(Salvaged, PathBuf), redb::Error> {
        // Readers wait meanwhile; what they find afterwards is sound.
        let mut redb = self.redb.write().unwrap_or_else(PoisonError::into_inner);
        self.renew_snapshot();
        files.remove_unfinished()?;
        let salvaged = salvage(Source { redb: &mut redb, path: &self.path }, files.unfinished())?;
        let aside = files.set_aside()?;
        files.finish()?;
        redb.reopen(&self.path)?;
        Ok((salvaged, aside))
    }

    /// Opens the file anew after an error of the system's, as redb asks for. Whether it did.
    pub(crate) fn reopen(&self) -> bool {
        let mut redb = self.redb.write().unwrap_or_else(PoisonError::into_inner);
        self.renew_snapshot();
        redb.reopen(&self.path)
            .inspect_err(|error| {
                tracing::warn!("the redb database `{}` does not open again: {error}", self.path.display());
            })
            .is_ok()
    }
}

/// Empties a file of which redb reads nothing, once it is kept elsewhere.
pub(crate) fn begin_anew(path: &Path, why: &str) -> Result<(), redb::Error> {
    let files = Files::of(path);
    let stays = |error: io::Error| redb::Error::Corrupted(format!("{why}; it stays as it is: {error}"));
    let aside = files.set_aside().map_err(stays)?;
    files.empty().map_err(stays)?;
    tracing::warn!(
        "the redb database `{}` was damaged ({why}), and nothing of it could be read: a new one takes its place, and what was in \
         it is computed again; the damaged file is `{}`",
        path.display(),
        aside.display()
    );
    Ok(())
}
