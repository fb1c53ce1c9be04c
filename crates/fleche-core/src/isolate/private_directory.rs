//! `PrivateDirectory`: the temporary working directory of one isolated call.

use std::{
    collections::BTreeSet,
    env, fs, io,
    path::{Path, PathBuf},
    sync::Mutex,
};

use crate::{
    config::SearchRootOverride,
    error::Error,
    runtime::{
        fork,
        lock::LockResultExt,
        process_id::{self, Owner},
    },
};

/// The prefix of the names of these directories, before the unique name with the process id.
const PREFIX: &str = "fleche-";
/// The additional prefix of a directory that is kept, which is never swept.
const KEPT: &str = "kept-";

/// A directory for one call. Dropping it removes the directory and its content.
#[derive(Debug)]
pub(crate) struct PrivateDirectory {
    path: PathBuf,
    /// Redirects searches for configuration out of the directory, until after it has been renamed or removed.
    _elsewhere: SearchRootOverride,
}

impl PrivateDirectory {
    /// Creates a directory in `$XDG_CACHE_HOME/fleche/cwd`, else in `~/.cache/fleche/cwd`; if that fails, in the system's
    /// directory for temporary files.
    pub(crate) fn create() -> Result<Self, Error> {
        let temporary = std::path::absolute(env::temp_dir()).unwrap_or_else(|_| env::temp_dir());
        let Some(home) = below_home() else { return Self::create_in(&temporary) };
        fs::create_dir_all(&home)
            .map_err(Error::io("create the directory", &home))
            .and_then(|()| Self::create_in(&home))
            .or_else(|first| Self::create_in(&temporary).map_err(|_| first))
    }

    fn create_in(base: &Path) -> Result<Self, Error> {
        sweep_once(base);
        let path = base.join(format!("{PREFIX}{}", process_id::mark()));
        create_for_me_alone(&path).map_err(Error::io("create the directory", &path))?;
        let path = path.canonicalize().unwrap_or(path);
        Ok(Self { _elsewhere: SearchRootOverride::new(path.clone()), path })
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Keeps the directory, under a name that is never swept, and logs its path.
    pub(crate) fn keep(mut self) {
        let mut kept = self.path.clone();
        let name = self.path.file_name().unwrap_or_default().to_string_lossy();
        kept.set_file_name(format!("{KEPT}{name}"));
        if let Err(error) = fs::rename(&self.path, &kept) {
            crate::runtime::log::warn!(
                %error, directory = %self.path.display(),
                "cannot rename the working directory of an isolated call; a later process will remove it"
            );
            kept.clone_from(&self.path);
        }
        crate::runtime::log::error!(directory = %kept.display(), "an isolated call panicked; its working directory is kept");
        // The drop that follows has nothing to remove.
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
            crate::runtime::log::warn!(
                %error, directory = %self.path.display(),
                "the working directory of an isolated call cannot be removed; a later process will try again"
            );
        }
    }
}

/// Returns the directory in the user's cache directory, or `None` if the cache directory is not known. Relative paths in the
/// variables are ignored, because they depend on the working directory.
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

/// Removes the directories that killed processes left in this directory, once per process.
///
/// Only directories whose process has certainly ended are removed: a call may run for weeks without touching its
/// directory, so its age means nothing. Directories of other hosts are left to processes on those hosts.
fn sweep_once(base: &Path) {
    static SWEPT: Mutex<BTreeSet<PathBuf>> = Mutex::new(BTreeSet::new());
    // Another thread of the parent may have held the lock when this process was forked.
    if fork::is_child() {
        return;
    }
    if SWEPT.lock().ignore_poison().insert(base.to_owned()) {
        sweep(base);
    }
}

fn sweep(base: &Path) {
    let Ok(entries) = fs::read_dir(base) else { return };
    for entry in entries.flatten() {
        let is_directory = entry.file_type().is_ok_and(|kind| kind.is_dir());
        if is_directory && entry.file_name().to_str().is_some_and(is_left_over) {
            // Another process may be removing it, or this user may not be allowed to.
            let removed = fs::remove_dir_all(entry.path());
            tracing::debug!(directory = %entry.path().display(), ?removed, "removed what a killed process left");
        }
    }
}

fn is_left_over(name: &str) -> bool {
    let owner = name.strip_prefix(PREFIX).and_then(Owner::parse);
    owner.and_then(|owner| owner.lives()) == Some(false)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::runtime::process_id::{mark, this_run};

    #[test]
    fn only_directories_of_ended_processes_are_removed() {
        let base = tempfile::tempdir().unwrap();
        let mine = mark();
        let gone = mine.replace(&format!("{:016x}", this_run()), "0123456789abcdef");
        let far = format!("elsewhere-1-{:016x}-1", this_run());
        let names = [&mine, &gone, &far].map(|mark| format!("{PREFIX}{mark}"));
        let kept = format!("kept-{PREFIX}{gone}");
        for name in names.iter().chain([&kept]) {
            fs::create_dir_all(base.path().join(name).join("sub")).unwrap();
        }
        sweep(base.path());
        let [mine, gone, far] = names.map(|name| base.path().join(name).exists());
        assert_eq!((mine, gone, far, base.path().join(kept).exists()), (true, false, true, true));
    }
}
