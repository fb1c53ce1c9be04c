//! Opens files for reading without being blocked by what may be in their place.

use std::{fs::File, io, path::Path};

/// Opens an entry for reading. If something else is in its place, such as a named pipe, this does not block.
pub(crate) fn open(path: &Path) -> io::Result<File> {
    let mut options = File::options();
    #[cfg(unix)]
    {
        use nix::fcntl::OFlag;
        use std::os::unix::fs::OpenOptionsExt;
        options.custom_flags((OFlag::O_NONBLOCK | OFlag::O_NOCTTY).bits());
    }
    options.read(true).open(path)
}

/// Like [`open`], but does not follow a symbolic link. For a file whose times are to be set.
pub(crate) fn open_no_follow(path: &Path) -> io::Result<File> {
    let mut options = File::options();
    #[cfg(unix)]
    {
        use nix::fcntl::OFlag;
        use std::os::unix::fs::OpenOptionsExt;
        options.custom_flags((OFlag::O_NONBLOCK | OFlag::O_NOCTTY | OFlag::O_NOFOLLOW).bits());
    }
    options.read(true).open(path)
}
