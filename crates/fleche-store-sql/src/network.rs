//! Whether a file lies on a file system whose locks and shared memory do not reach all who use it.

use std::path::Path;

/// Whether the file system is one of a network, as far as the system tells.
#[cfg(target_os = "linux")]
pub(crate) fn is_on_network(file: &Path) -> bool {
    // What cannot be looked at cannot be opened either, which tells more.
    nix::sys::statfs::statfs(file).is_ok_and(|system| is_network(magic(system.filesystem_type())))
}

#[cfg(not(target_os = "linux"))]
pub(crate) fn is_on_network(_file: &Path) -> bool {
    false
}

/// The number of a kind of file system, of 32 bits whatever their type: statfs(2).
#[cfg(target_os = "linux")]
#[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, clippy::unnecessary_cast)]
fn magic(kind: nix::sys::statfs::FsType) -> u32 {
    kind.0 as u32
}

/// Numbers from linux/magic.h, and from the sources of those that are not in it. FUSE may be anything, a network too.
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
    fn networks_are_told_from_disks() {
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
