//! Checks which configuration files are trusted: none that another user could have written.
//!
//! A configuration decides where results are read from, so a file found in a directory above the working directory,
//! such as `/tmp/fleche.toml`, is as powerful as code. A file that the search finds is read only if it passes these
//! checks. A file that the user names in `FLECHE_CONFIG` is trusted.

use std::{
    collections::HashSet,
    fs::{self, File, Metadata, OpenOptions},
    io::{self, Read},
    path::{Path, PathBuf},
    sync::{LazyLock, Mutex},
};

use crate::{
    error::{Error, Result},
    runtime::lock::LockResultExt,
};

/// The maximum length of a configuration file, in bytes.
pub const MAX_CONFIG_LEN: u64 = 1 << 20;

/// Returns the text of a file at a path that the search tries, or `None` if there is no file or it is skipped with a
/// warning.
///
/// # Errors
/// Fails with [`Error::Config`] if the file is trusted but cannot be read.
pub(super) fn read_found(path: &Path) -> Result<Option<String>> {
    let skip = |why: String| {
        warn_once(path, &why);
        Ok(None)
    };
    let metadata = match fs::metadata(path) {
        Ok(metadata) => metadata,
        Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => {
            return Ok(None);
        }
        Err(error) => return skip(format!("cannot inspect it: {error}")),
    };
    // Checked before opening the file, because opening a device can have effects.
    if let Some(why) = unusable(&metadata).or_else(|| untrusted_file(&metadata)) {
        return skip(why);
    }
    let (file, metadata) = open(path)?;
    let why = unusable(&metadata).or_else(|| untrusted_file(&metadata)).or_else(|| untrusted_location(path, &metadata));
    if let Some(why) = why { skip(why) } else { read(path, file).map(Some) }
}

/// Returns the text of a file that the user has named, regardless of its owner.
///
/// # Errors
/// Fails with [`Error::Config`] if it is missing, cannot be read, or is not a regular file of at most
/// [`MAX_CONFIG_LEN`] bytes.
pub(super) fn read_named(path: &Path) -> Result<String> {
    let metadata = fs::metadata(path).map_err(|error| unreadable(path, &error))?;
    match unusable(&metadata) {
        Some(why) => Err(config_error(path, why)),
        None => read(path, open(path)?.0),
    }
}

fn config_error(path: &Path, why: String) -> Error {
    Error::Config { place: path.display().to_string(), why }
}

fn unreadable(path: &Path, error: &io::Error) -> Error {
    config_error(path, format!("cannot be read: {error}"))
}

fn open(path: &Path) -> Result<(File, Metadata)> {
    let mut options = OpenOptions::new();
    options.read(true);
    // If a FIFO has replaced the file, opening it must not wait for a writer.
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::custom_flags(
        &mut options,
        (nix::fcntl::OFlag::O_NONBLOCK | nix::fcntl::OFlag::O_NOCTTY).bits(),
    );
    let file = options.open(path).map_err(|error| unreadable(path, &error))?;
    let metadata = file.metadata().map_err(|error| unreadable(path, &error))?;
    Ok((file, metadata))
}

fn read(path: &Path, file: File) -> Result<String> {
    let mut text = String::new();
    file.take(MAX_CONFIG_LEN + 1).read_to_string(&mut text).map_err(|error| unreadable(path, &error))?;
    if text.len() as u64 > MAX_CONFIG_LEN { Err(config_error(path, too_long(text.len() as u64))) } else { Ok(text) }
}

/// Returns why a file of this kind or length is never read, or `None` if it may be read.
fn unusable(metadata: &Metadata) -> Option<String> {
    if !metadata.is_file() {
        return Some("it is not a regular file".to_owned());
    }
    (metadata.len() > MAX_CONFIG_LEN).then(|| too_long(metadata.len()))
}

fn too_long(len: u64) -> String {
    format!("it has {len} bytes, more than the limit of {MAX_CONFIG_LEN}")
}

/// Warns once per file and reason, because every lookup of a cache by name repeats the search.
fn warn_once(path: &Path, why: &str) {
    static WARNED: LazyLock<Mutex<HashSet<(PathBuf, String)>>> = LazyLock::new(Mutex::default);
    let is_new = WARNED.lock().ignore_poison().insert((path.to_owned(), why.to_owned()));
    // Outside the lock, because a subscriber may run code that calls this function.
    if is_new {
        crate::runtime::log::warn!("configuration file {} is skipped: {why}", path.display());
    }
}

#[cfg(unix)]
use owners::{untrusted_file, untrusted_location};

#[cfg(not(unix))]
fn untrusted_file(_: &Metadata) -> Option<String> {
    None
}

#[cfg(not(unix))]
fn untrusted_location(_: &Path, _: &Metadata) -> Option<String> {
    None
}

#[cfg(unix)]
mod owners {
    //! Checks who can write to a file, by owners and permission bits.

    use std::{
        fs::{self, Metadata},
        os::unix::fs::MetadataExt,
        path::Path,
    };

    use nix::unistd::Uid;

    const REMEDY: &str = "if you trust it, set FLECHE_CONFIG to its path";
    const WRITABLE_BY_GROUP: u32 = 0o020;
    const WRITABLE_BY_ALL: u32 = 0o002;
    /// The mode bit of a directory in which users can remove and rename only their own files.
    const STICKY: u32 = 0o1000;

    /// Returns why another user may have written the content of the file, or `None` if no other user can have written
    /// it.
    pub(super) fn untrusted_file(file: &Metadata) -> Option<String> {
        if !is_trusted(file.uid()) {
            return Some(format!("it belongs to user {}, who is neither you nor root; {REMEDY}", file.uid()));
        }
        is_writable_by_others(file).then(|| format!("other users can write to it; run `chmod go-w` on it, or {REMEDY}"))
    }

    /// Returns why another user may have placed the file there, or `None` if no other user can have done so.
    pub(super) fn untrusted_location(path: &Path, file: &Metadata) -> Option<String> {
        let directory = path.parent()?;
        untrusted_directory(directory, file).or_else(|| {
            // For a symbolic link, the directory of the target counts too.
            let is_link = fs::symlink_metadata(path).is_ok_and(|metadata| metadata.is_symlink());
            let target = is_link.then(|| fs::canonicalize(path).ok())??;
            untrusted_directory(target.parent()?, file)
        })
    }

    fn untrusted_directory(path: &Path, file: &Metadata) -> Option<String> {
        let shown = path.display();
        let Ok(directory) = fs::metadata(path) else {
            return Some(format!("cannot inspect its directory {shown}; {REMEDY}"));
        };
        if !is_trusted(directory.uid()) {
            let owner = directory.uid();
            return Some(format!(
                "its directory {shown} belongs to user {owner}, who is neither you nor root; {REMEDY}"
            ));
        }
        if !is_writable_by_others(&directory) {
            return None;
        }
        if directory.mode() & STICKY == 0 {
            return Some(format!(
                "other users can write to its directory {shown}; run `chmod go-w` on that, or {REMEDY}"
            ));
        }
        // Another user may have linked a file of yours into a shared directory.
        (file.nlink() > 1)
            .then(|| format!("it has several hard links, and other users can write to its directory; {REMEDY}"))
    }

    fn is_trusted(user: u32) -> bool {
        user == 0 || user == Uid::effective().as_raw()
    }

    fn is_writable_by_others(metadata: &Metadata) -> bool {
        let mode = metadata.mode();
        mode & WRITABLE_BY_ALL != 0
            || mode & WRITABLE_BY_GROUP != 0 && !is_private_group(metadata.gid(), metadata.uid())
    }

    /// Returns whether the group has no member other than this user. On many systems each user has such a group, and
    /// files are writable by it.
    fn is_private_group(group: u32, user: u32) -> bool {
        let text = |path| fs::read_to_string(path).unwrap_or_default();
        is_private_by(&text("/etc/passwd"), &text("/etc/group"), group, user)
    }

    /// Like [`is_private_group`], given the contents of the system's files. A group that is not listed there is private
    /// if it has the user's number.
    fn is_private_by(passwd: &str, groups: &str, group: u32, user: u32) -> bool {
        let number = |field: Option<&str>| field.and_then(|field| field.parse::<u32>().ok());
        let mut names = Vec::new();
        for line in passwd.lines() {
            let mut fields = line.split(':');
            let name = fields.next();
            let (its_user, its_group) = (number(fields.nth(1)), number(fields.next()));
            if its_user == Some(user) {
                names.extend(name);
            } else if its_group == Some(group) {
                return false;
            }
        }
        let mut listed = false;
        for line in groups.lines() {
            let mut fields = line.split(':');
            if number(fields.nth(2)) != Some(group) {
                continue;
            }
            listed = true;
            let members = fields.next().unwrap_or_default();
            if members.split(',').any(|member| !member.is_empty() && !names.contains(&member)) {
                return false;
            }
        }
        listed || group == user
    }

    #[cfg(test)]
    mod tests {
        use super::*;

        #[test]
        fn group_without_other_members_is_private() {
            let passwd =
                "root:x:0:0::/root:/bin/sh\nann:x:1000:1000::/home/ann:/bin/sh\nbob:x:1001:100::/home/bob:/bin/sh\n";
            let groups = "root:x:0:\nusers:x:100:\nann:x:1000:\nlab:x:200:ann,bob\nanns:x:201:ann\n";
            for (group, user, private) in [
                (1000, 1000, true),
                (201, 1000, true),
                (200, 1000, false),
                (100, 1000, false),
                (100, 1001, true),
                (4000, 4000, true),
                (4001, 4000, false),
            ] {
                assert_eq!(is_private_by(passwd, groups, group, user), private, "group {group}, user {user}");
            }
        }
    }
}
