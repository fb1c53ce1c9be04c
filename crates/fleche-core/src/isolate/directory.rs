//! `PrivateDirectory`: the temporary working directory of one isolated call.

use std::{
    env, fs, io,
    path::{Path, PathBuf},
};

use super::leftovers;
use crate::{config::Elsewhere, error::Error, fork, owner};

/// What names of such directories begin with, before the mark of their process.
pub(super) const PREFIX: &str = "fleche-";
/// What is put before the name of one that is kept. Nobody sweeps those.
const KEPT: &str = "kept-";

/// A directory for one call. Dropped, it is removed with what it holds.
#[derive(Debug)]
pub(crate) struct PrivateDirectory {
    path: PathBuf,
    /// Gone once the directory has another name.
    _elsewhere: Elsewhere,
}

impl PrivateDirectory {
    /// Makes one in the first place that can hold it: `$XDG_CACHE_HOME/fleche/cwd`, else `~/.cache/fleche/cwd`; else the
    /// system's directory for temporary files.
    pub(crate) fn create() -> Result<Self, Error> {
        let temporary = std::path::absolute(env::temp_dir()).unwrap_or_else(|_| env::temp_dir());
        let Some(home) = below_home() else { return Self::create_in(&temporary) };
        fs::create_dir_all(&home)
            .map_err(Error::io("create the directory", &home))
            .and_then(|()| Self::create_in(&home))
            .or_else(|first| Self::create_in(&temporary).map_err(|_| first))
    }

    fn create_in(base: &Path) -> Result<Self, Error> {
        leftovers::sweep_once(base);
        let path = base.join(format!("{PREFIX}{}", owner::mark()));
        create_for_me_alone(&path).map_err(Error::io("create the directory", &path))?;
        let path = path.canonicalize().unwrap_or(path);
        Ok(Self { _elsewhere: Elsewhere::new(path.clone()), path })
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Leaves the directory where it is, under a name that is not swept, and says so.
    pub(crate) fn keep(mut self) {
        let mut kept = self.path.clone();
        let name = self.path.file_name().unwrap_or_default().to_string_lossy();
        kept.set_file_name(format!("{KEPT}{name}"));
        if let Err(error) = fs::rename(&self.path, &kept) {
            crate::log::warn!(%error, directory = %self.path.display(), "the directory keeps its name until it is swept");
            kept.clone_from(&self.path);
        }
        crate::log::error!(directory = %kept.display(), "an isolated call panicked; its working directory is kept");
        // What is dropped now has nothing to remove.
        self.path = PathBuf::new();
    }
}

impl Drop for PrivateDirectory {
    fn drop(&mut self) {
        // A forked child must not remove the directory: the body still runs in the parent.
        if fork::is_child() {
            return;
        }
        if self.path.as_os_str().is_empty() {
            return;
        }
        if let Err(error) = fs::remove_dir_all(&self.path) {
            crate::log::warn!(
                %error, directory = %self.path.display(),
                "the working directory of an isolated call cannot be removed; a later process will try again"
            );
        }
    }
}

/// Relative paths in these variables do not count: they would mean another directory with every working directory.
fn below_home() -> Option<PathBuf> {
    let absolute = |name| env::var_os(name).map(PathBuf::from).filter(|path| path.is_absolute());
    let caches = absolute("XDG_CACHE_HOME").or_else(|| Some(absolute("HOME")?.join(".cache")))?;
    Some(caches.join("fleche").join("cwd"))
}

#[cfg(unix)]
fn create_for_me_alone(path: &Path) -> io::Result<()> {
    use std::os::unix::fs::DirBuilderExt;
    fs::DirBuilder::new().mode(0o700).create(path)
}

#[cfg(not(unix))]
fn create_for_me_alone(path: &Path) -> io::Result<()> {
    fs::create_dir(path)
}
