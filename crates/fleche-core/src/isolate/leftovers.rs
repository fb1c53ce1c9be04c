//! Removes directories of isolated calls whose process was killed.

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
    sync::{Mutex, PoisonError},
};

use super::private_directory::PREFIX;
use crate::runtime::{fork, process_id::Owner};

/// Removes what killed processes left in this directory, once per process.
///
/// Only directories whose process has certainly ended are removed: a call may run for weeks without touching its
/// directory, so its age means nothing. Directories of other hosts are left to processes there.
pub(super) fn sweep_once(base: &Path) {
    static SWEPT: Mutex<BTreeSet<PathBuf>> = Mutex::new(BTreeSet::new());
    // Another thread of the parent may have held the lock when this process was forked.
    if fork::is_child() {
        return;
    }
    if SWEPT.lock().unwrap_or_else(PoisonError::into_inner).insert(base.to_owned()) {
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
    let owner = name.strip_prefix(PREFIX).and_then(Owner::of);
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
