//! Detection of the access to a SQLite file that this user and this file system allow.

use std::path::Path;

use fleche_core::{spi::written_file::may_write, store::kit::beside};

/// The access of this user to a SQLite file and to its directory, in which SQLite keeps a log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum FileAccess {
    Full,
    /// The file can be read, together with the log of other processes.
    Read,
    /// The file can be read as it is: there is no log, and none can be created. Later writes of other processes are not
    /// seen.
    ReadAsItIs,
}

impl FileAccess {
    /// Returns this user's access to the file, which must exist.
    pub(crate) fn of(path: &Path) -> Self {
        let has_log = || beside(path, "-wal").exists() && beside(path, "-shm").exists();
        let directory = path.parent().unwrap_or(path);
        match (may_write(path), may_write(directory)) {
            (true, true) => Self::Full,
            (true, false) if has_log() => Self::Full,
            (false, true) => Self::Read,
            _ if has_log() => Self::Read,
            _ => Self::ReadAsItIs,
        }
    }
}

/// Returns whether the file is on a network file system, as far as the operating system reports it.
#[cfg(target_os = "linux")]
pub(crate) fn is_on_network(file: &Path) -> bool {
    // If this fails, opening the file also fails, with a better error.
    nix::sys::statfs::statfs(file).is_ok_and(|system| is_network(magic(system.filesystem_type())))
}

#[cfg(not(target_os = "linux"))]
pub(crate) fn is_on_network(_file: &Path) -> bool {
    false
}

/// Returns the number of a kind of file system. It has 32 bits on every architecture, see statfs(2).
#[cfg(target_os = "linux")]
#[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, clippy::unnecessary_cast)]
fn magic(kind: nix::sys::statfs::FsType) -> u32 {
    kind.0 as u32
}

/// Returns whether this is the number of a network file system, from linux/magic.h or the sources of file systems not
/// listed there. FUSE counts as a network, since it may be one.
#[cfg(target_os = "linux")]
fn is_network(magic: u32) -> bool {
    const NETWORKS: [u32; 14] = [
        0x6969,      // nfs
        0x517b,      // smb
        0xff53_4d42, // cifs
        0xfe53_4d42, // smb2
        0x564c,      // ncp
        0x7375_7245, // coda
        0x5346_414f, // afs
        0x6b41_4653, // afs of the kernel
        0x0102_1997, // 9p
        0x6573_5546, // fuse
        0x00c3_6400, // ceph
        0x0bd0_0bd0, // lustre
        0x0116_1970, // gfs2
        0x7461_636f, // ocfs2
    ];
    NETWORKS.contains(&magic)
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use nix::sys::statfs::{EXT4_SUPER_MAGIC, FUSE_SUPER_MAGIC, NFS_SUPER_MAGIC, TMPFS_MAGIC};

    use super::*;

    #[test]
    fn network_file_systems_are_distinguished_from_disks() {
        for kind in [NFS_SUPER_MAGIC, FUSE_SUPER_MAGIC] {
            assert!(is_network(magic(kind)), "{kind:?}");
        }
        for kind in [EXT4_SUPER_MAGIC, TMPFS_MAGIC] {
            assert!(!is_network(magic(kind)), "{kind:?}");
        }
        assert!(!is_on_network(Path::new("/proc/self")));
        assert!(!is_on_network(Path::new("/no/such/file")));
    }
}
