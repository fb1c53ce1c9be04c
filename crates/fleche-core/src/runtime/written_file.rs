//! Opens files that fleche writes to, locks or truncates, and refuses files that another user could have put in their
//! place. Also makes a write past `ulimit -f` an error.
//!
//! For authors of stores. Reading needs no such check, because everything that is read is verified.

use std::{
    fs::{self, File, Metadata, OpenOptions},
    io::{self, ErrorKind},
    path::Path,
};

/// Opens the file for reading and writing, and creates it if `create` is set. Existing content stays.
///
/// `shared` corresponds to the setting of that name in a store's configuration. With it, a file of another user is
/// accepted if it belongs to the group or the owner of its directory.
///
/// # Errors
/// Fails with [`ErrorKind::PermissionDenied`] if the path is a symbolic link or not a regular file, or if the file has other
/// hard links or belongs to another user; otherwise with the error of the system.
pub fn open(path: &Path, create: bool, shared: bool) -> io::Result<File> {
    open_checked(path, create, shared).map_err(|error| match error.raw_os_error() {
        None => io::Error::new(error.kind(), format!("`{}`: {error}", path.display())),
        Some(_) => error,
    })
}

fn open_checked(path: &Path, create: bool, shared: bool) -> io::Result<File> {
    // Checked before the file is opened, because opening a device can have effects.
    match fs::symlink_metadata(path) {
        Ok(there) => check(&there, path, shared)?,
        Err(error) if error.kind() == ErrorKind::NotFound && create => {}
        Err(error) => return Err(error),
    }
    let mut options = OpenOptions::new();
    options.read(true).write(true).create(create);
    #[cfg(unix)]
    {
        use nix::fcntl::OFlag;
        use std::os::unix::fs::OpenOptionsExt;
        options.custom_flags((OFlag::O_NOFOLLOW | OFlag::O_NONBLOCK | OFlag::O_NOCTTY).bits());
    }
    let file = match options.open(path) {
        // A link has replaced the file since the check above.
        #[cfg(unix)]
        Err(error) if error.raw_os_error() == Some(nix::errno::Errno::ELOOP as i32) => {
            return Err(refused("it is a symbolic link"));
        }
        file => file?,
    };
    check(&file.metadata()?, path, shared)?;
    if shared {
        share(&file, path);
    }
    Ok(file)
}

/// Checks a file that an engine is about to open under the path that the user gave. A missing file passes, and so does a
/// file of another user: its permissions govern access.
///
/// A link is followed if it belongs to this user or to root, because the user has chosen the path.
///
/// # Errors
/// Fails with [`ErrorKind::PermissionDenied`] for another user's link and for anything but a regular file; otherwise
/// with the error of the system.
pub fn check_named(path: &Path) -> io::Result<()> {
    match fs::symlink_metadata(path) {
        Ok(link) if link.is_symlink() => {
            check_link(&link)?;
            match fs::metadata(path) {
                Ok(file) => check_kind(&file),
                Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
                Err(error) => Err(error),
            }
        }
        Ok(file) => check_kind(&file),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
        Err(error) => Err(error),
    }
}

/// Checks a file that an engine opens itself, next to the file that the user named: it must not be a link. A missing file
/// passes.
///
/// # Errors
/// Fails as [`check_named`] does.
pub fn check_beside(path: &Path) -> io::Result<()> {
    match fs::symlink_metadata(path) {
        Ok(file) => check_kind(&file).map_err(|error| refused(format!("`{}`: {error}", path.display()))),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
        Err(error) => Err(error),
    }
}

/// Returns whether this user may write to the file or directory, without opening it: closing a file would release the locks that
/// an engine of this process has on it.
pub fn may_write(path: &Path) -> bool {
    #[cfg(target_os = "linux")]
    {
        use nix::{
            fcntl::{AT_FDCWD, AtFlags},
            unistd::{AccessFlags, faccessat},
        };
        faccessat(AT_FDCWD, path, AccessFlags::W_OK, AtFlags::AT_EACCESS).is_ok()
    }
    #[cfg(not(target_os = "linux"))]
    {
        fs::metadata(path).map_or(true, |metadata| !metadata.permissions().readonly())
    }
}

/// Fails if the process may not write up to this offset of a file (`ulimit -f`), before anything is written.
///
/// # Errors
/// Fails with [`ErrorKind::FileTooLarge`] if the limit is lower.
pub fn check_limit(end: u64) -> io::Result<()> {
    #[cfg(unix)]
    {
        use nix::sys::resource::{RLIM_INFINITY, Resource, getrlimit};
        if let Ok((limit, _)) = getrlimit(Resource::RLIMIT_FSIZE)
            && limit != RLIM_INFINITY
            && end > limit
        {
            let why =
                format!("the process may write files of at most {limit} bytes (`ulimit -f`), and this one needs {end}");
            return Err(io::Error::new(ErrorKind::FileTooLarge, why));
        }
    }
    #[cfg(not(unix))]
    let _ = end;
    Ok(())
}

fn refused(why: impl Into<String>) -> io::Error {
    io::Error::new(ErrorKind::PermissionDenied, why.into())
}

fn check(file: &Metadata, path: &Path, shared: bool) -> io::Result<()> {
    check_kind(file)?;
    check_owner(file, path, shared)
}

fn check_kind(file: &Metadata) -> io::Result<()> {
    if file.is_symlink() {
        return Err(refused("it is a symbolic link, and its target would be written to; remove it"));
    }
    if file.is_dir() {
        return Err(refused("it is a directory; name a file"));
    }
    if !file.is_file() {
        return Err(refused("it is not a regular file; remove it"));
    }
    Ok(())
}

#[cfg(not(unix))]
fn check_owner(_file: &Metadata, _path: &Path, _shared: bool) -> io::Result<()> {
    Ok(())
}

#[cfg(not(unix))]
fn check_link(_link: &Metadata) -> io::Result<()> {
    Ok(())
}

/// Does nothing on this system: files have no group permissions.
#[cfg(not(unix))]
pub fn share(_file: &File, _path: &Path) {}

#[cfg(unix)]
pub use owners::share;
#[cfg(unix)]
use owners::{check_link, check_owner};

#[cfg(unix)]
mod owners {
    use std::{
        fs::{self, File, Metadata, Permissions},
        io,
        os::unix::fs::{MetadataExt, PermissionsExt},
        path::Path,
    };

    use nix::unistd::Uid;

    use super::refused;

    /// The mode bits for reading and writing by the group.
    const GROUP: u32 = 0o060;

    pub(super) fn check_owner(file: &Metadata, path: &Path, shared: bool) -> io::Result<()> {
        // A file whose last name was just removed has no links.
        if file.nlink() > 1 {
            return Err(refused(
                "the file has other names too (hard links), and a write would change them all; remove this one",
            ));
        }
        let me = Uid::effective();
        if file.uid() == me.as_raw() {
            return Ok(());
        }
        let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
        let directory = || fs::metadata(parent);
        // Root works in other users' directories in containers and after `sudo`.
        if me.is_root() && directory()?.uid() == file.uid() {
            return Ok(());
        }
        if !shared {
            return Err(refused(format!(
                "it belongs to user {}, and this process runs as user {me}; set `shared = true` for a store that a group shares",
                file.uid()
            )));
        }
        let directory = directory()?;
        if directory.gid() == file.gid() || directory.uid() == file.uid() {
            return Ok(());
        }
        Err(refused(format!(
            "it belongs to group {}, and its directory to group {}; run `chmod g+s` on the store's directories, and remove it",
            file.gid(),
            directory.gid()
        )))
    }

    pub(super) fn check_link(link: &Metadata) -> io::Result<()> {
        if link.uid() == 0 || link.uid() == Uid::effective().as_raw() {
            return Ok(());
        }
        Err(refused(format!("it is a symbolic link of user {}; remove it, or name the file itself", link.uid())))
    }

    /// Allows the group of a file of this user to read and write it, regardless of the umask.
    pub fn share(file: &File, path: &Path) {
        let Ok(metadata) = file.metadata() else { return };
        if metadata.mode() & GROUP == GROUP || metadata.uid() != Uid::effective().as_raw() {
            return;
        }
        if let Err(error) = file.set_permissions(Permissions::from_mode(metadata.mode() & 0o7777 | GROUP)) {
            tracing::debug!("cannot share `{}` with its group: {error}", path.display());
        }
    }
}

/// Keeps `SIGXFSZ` from ending the process. A write past the limit then fails with
/// [`FileTooLarge`](std::io::ErrorKind::FileTooLarge), on every thread, including those of storage engines.
///
/// [`OpenStores`](crate::store::OpenStores) calls this. A store that writes files but is not in such a table calls this
/// function when it is opened. Repeated calls do nothing. If the program already handles or ignores the signal, nothing
/// changes. Programs that this one executes get the system's default.
pub(crate) fn catch_size_limit_signal() {
    #[cfg(unix)]
    {
        static CAUGHT: std::sync::Once = std::sync::Once::new();
        CAUGHT.call_once(signal::catch);
    }
}

#[cfg(unix)]
#[allow(unsafe_code)] // Looks at the handler of a signal, and sets one.
mod signal {
    use std::{mem::MaybeUninit, ptr};

    use nix::{
        libc,
        sys::signal::{SaFlags, SigAction, SigHandler, SigSet, Signal, sigaction},
    };

    /// Sets a handler that does nothing, unless the program already handles or ignores the signal. Ignoring it would also work
    /// here, but programs that this one executes would then ignore it too.
    pub(super) fn catch() {
        let mut present = MaybeUninit::<libc::sigaction>::zeroed();
        // SAFETY: without a new action the call only writes the present one, for which there is room.
        if unsafe { libc::sigaction(libc::SIGXFSZ, ptr::null(), present.as_mut_ptr()) } != 0 {
            return;
        }
        // SAFETY: zeros are a valid `sigaction`, and the call has put another in their place.
        if unsafe { present.assume_init() }.sa_sigaction != libc::SIG_DFL {
            return;
        }
        let action =
            SigAction::new(SigHandler::Handler(ignore), SaFlags::SA_RESTART | SaFlags::SA_ONSTACK, SigSet::empty());
        // SAFETY: the handler stays for the life of the process and does nothing, which is safe at any moment.
        if let Err(error) = unsafe { sigaction(Signal::SIGXFSZ, &action) } {
            tracing::debug!(%error, "cannot catch SIGXFSZ: a write past `ulimit -f` ends the process");
        }
    }

    extern "C" fn ignore(_: libc::c_int) {}
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn open_creates_file_on_request_and_keeps_its_content() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("file");
        assert_eq!(open(&path, false, false).unwrap_err().kind(), ErrorKind::NotFound);
        open(&path, true, false).unwrap();
        fs::write(&path, "held").unwrap();
        open(&path, true, false).unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"held");
    }

    #[cfg(unix)]
    #[test]
    fn links_and_special_files_are_refused() {
        use std::os::unix::fs::symlink;
        let directory = tempfile::tempdir().unwrap();
        let [victim, link, dangling, twin] =
            ["victim", "link", "dangling", "twin"].map(|name| directory.path().join(name));
        fs::write(&victim, "precious").unwrap();
        symlink(&victim, &link).unwrap();
        symlink(directory.path().join("nothing"), &dangling).unwrap();
        let error = check_named(directory.path()).unwrap_err().to_string();
        assert!(error.contains("name a file"), "{error}");
        for path in [link.as_path(), dangling.as_path(), directory.path(), Path::new("/dev/null")] {
            for shared in [false, true] {
                assert_eq!(
                    open(path, true, shared).unwrap_err().kind(),
                    ErrorKind::PermissionDenied,
                    "{}",
                    path.display()
                );
            }
        }
        assert!(check_named(&link).is_ok() && check_named(&dangling).is_ok());
        assert!(check_beside(&link).is_err() && check_beside(&dangling).is_err());
        fs::hard_link(&victim, &twin).unwrap();
        assert!(open(&twin, true, false).unwrap_err().to_string().contains("other names"));
        assert!(check_named(directory.path()).is_err() && check_beside(&victim).is_ok());
        assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 4);
    }

    #[cfg(unix)]
    #[test]
    fn file_of_another_user_is_refused_unless_shared_by_group() {
        use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};
        // Only root can change the owner of a file.
        if !nix::unistd::Uid::effective().is_root() {
            return;
        }
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("file");
        open(&path, true, true).unwrap();
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o060, 0o060);
        chown(&path, Some(12345), Some(12345)).unwrap();
        assert!(open(&path, true, false).unwrap_err().to_string().contains("user 12345"));
        assert!(open(&path, true, true).unwrap_err().to_string().contains("group 12345"));
        chown(&path, None, Some(fs::metadata(directory.path()).unwrap().gid())).unwrap();
        open(&path, true, true).unwrap();
        let link = directory.path().join("link");
        std::os::unix::fs::symlink(&path, &link).unwrap();
        check_named(&link).unwrap();
        std::os::unix::fs::lchown(&link, Some(12345), None).unwrap();
        assert!(check_named(&link).unwrap_err().to_string().contains("user 12345"));
        // Root works in another user's directory.
        chown(directory.path(), Some(12345), None).unwrap();
        open(&path, true, false).unwrap();
    }

    #[test]
    fn any_length_is_allowed_without_a_limit() {
        check_limit(0).unwrap();
        #[cfg(target_os = "linux")]
        {
            use nix::sys::resource::{RLIM_INFINITY, Resource, getrlimit};
            if getrlimit(Resource::RLIMIT_FSIZE).unwrap().0 == RLIM_INFINITY {
                check_limit(u64::MAX).unwrap();
            }
        }
    }
}
