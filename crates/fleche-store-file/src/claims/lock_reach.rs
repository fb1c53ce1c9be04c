//! Whether file locks in a directory exclude the processes of all hosts that share it, judged by the mount table.

use std::{fs, path::Path};

/// The hosts that the locks of a directory's files reach.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum LockReach {
    /// All hosts that can open the directory.
    AllHosts,
    /// Only this host, for this reason.
    ThisHost(String),
    /// Unknown, for this reason.
    Unknown(String),
}

impl LockReach {
    /// Returns the reach of locks in this existing directory.
    #[cfg(target_os = "linux")]
    pub(super) fn of(directory: &Path) -> Self {
        let absolute = fs::canonicalize(directory).unwrap_or_else(|_| directory.to_owned());
        match fs::read("/proc/self/mountinfo") {
            Ok(mounts) => Self::by_mounts(&String::from_utf8_lossy(&mounts), &absolute),
            Err(error) => Self::Unknown(format!("`/proc/self/mountinfo` cannot be read: {error}")),
        }
    }

    /// Returns that locks reach all hosts: this system has no mount table that says otherwise.
    #[cfg(not(target_os = "linux"))]
    pub(super) fn of(_directory: &Path) -> Self {
        Self::AllHosts
    }

    /// Returns the reach of locks in this directory by the text of `/proc/self/mountinfo`.
    fn by_mounts(mounts: &str, directory: &Path) -> Self {
        let holds = |mount: &Mount<'_>| directory.starts_with(&mount.point);
        // Of the mounts on one directory, the last one is visible.
        match mounts.lines().filter_map(Mount::parse).filter(holds).max_by_key(|mount| mount.point.len()) {
            Some(mount) => mount.reach(),
            None => Self::Unknown("no mount holds it".to_owned()),
        }
    }
}

/// A line of `/proc/self/mountinfo`.
struct Mount<'a> {
    point: String,
    file_system: &'a str,
    options: &'a str,
}

/// File systems that one host mounts, or whose locks are those of its kernel.
const LOCAL: &[&str] = &[
    "aufs", "bcachefs", "btrfs", "devtmpfs", "ecryptfs", "erofs", "exfat", "ext2", "ext3", "ext4", "f2fs", "fuseblk",
    "hfsplus", "iso9660", "jfs", "msdos", "nilfs2", "ntfs", "ntfs3", "overlay", "ramfs", "reiserfs", "rootfs",
    "squashfs", "tmpfs", "ubifs", "udf", "vfat", "xfs", "zfs",
];

/// Cluster file systems that pass locks on to their servers.
const CLUSTER: &[&str] = &["ceph", "fuse.ceph", "fuse.ceph-fuse", "fuse.glusterfs", "fuse.juicefs", "gpfs"];

impl<'a> Mount<'a> {
    /// Parses a line: `36 35 98:0 /root /point rw,noatime master:1 - ext4 /dev/sda rw`; see proc(5).
    fn parse(line: &'a str) -> Option<Self> {
        let (mount, file_system) = line.split_once(" - ")?;
        let point = unescape(mount.split(' ').nth(4)?);
        let mut fields = file_system.split(' ');
        let file_system = fields.next()?;
        Some(Self { point, file_system, options: fields.nth(1).unwrap_or_default() })
    }

    fn has(&self, option: &str) -> bool {
        self.options.split(',').any(|other| other == option)
    }

    fn reach(&self) -> LockReach {
        let first_of = |options: &[&'static str]| options.iter().copied().find(|option| self.has(option));
        let local_by = |option| match option {
            Some(option) => LockReach::ThisHost(format!("mount option `{option}` of {}", self.file_system)),
            None => LockReach::AllHosts,
        };
        let unknown = |why: &str| LockReach::Unknown(format!("file system {}{why}", self.file_system));
        match self.file_system {
            // `local_lock=flock` leaves the locks that are used here to the server.
            "nfs" | "nfs4" => local_by(first_of(&["nolock", "local_lock=all", "local_lock=posix"])),
            "lustre" if self.has("flock") => LockReach::AllHosts,
            "lustre" if self.has("localflock") => local_by(Some("localflock")),
            "lustre" => LockReach::ThisHost("lustre without the mount option `flock`".to_owned()),
            "gfs2" => local_by(first_of(&["localflocks"])),
            "cifs" | "smb3" if self.has("nobrl") => local_by(Some("nobrl")),
            "fuse.sshfs" | "afs" => LockReach::ThisHost(format!("file system {}", self.file_system)),
            "beegfs" => unknown(", whose mount options do not show whether `tuneUseGlobalFileLocks` is set"),
            name if LOCAL.contains(&name) || CLUSTER.contains(&name) => LockReach::AllHosts,
            _ => unknown(""),
        }
    }
}

/// Replaces the octal escapes of spaces, tabs, line breaks and backslashes, such as `\040`.
fn unescape(field: &str) -> String {
    let replace = |text: String, (escape, character)| text.replace(escape, character);
    // The backslash is last, since the others would otherwise be found in its replacement.
    [(r"\040", " "), (r"\011", "\t"), (r"\012", "\n"), (r"\134", r"\")].into_iter().fold(field.to_owned(), replace)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Returns the reach of locks on a file system with these options.
    fn reach(file_system: &str, options: &str) -> LockReach {
        let mounts = format!(
            "27 1 254:0 / / rw,relatime - ext4 /dev/vda rw\n\
             40 27 0:50 / /shared rw,relatime shared:7 - {file_system} server:/export {options}\n"
        );
        LockReach::by_mounts(&mounts, Path::new("/shared/cache/calls"))
    }

    #[test]
    fn locks_of_local_and_cluster_file_systems_reach_all_hosts() {
        for (file_system, options) in [
            ("ext4", "rw"),
            ("xfs", "rw,attr2"),
            ("btrfs", "rw,subvol=/"),
            ("tmpfs", "rw,size=1k"),
            ("overlay", "rw,lowerdir=/a,upperdir=/b"),
            ("zfs", "rw"),
            ("nfs4", "rw,vers=4.2,hard,proto=tcp,local_lock=none,addr=10.0.0.1"),
            ("nfs", "rw,vers=3,hard,mountproto=udp,local_lock=none,addr=10.0.0.1"),
            ("nfs", "rw,vers=3,local_lock=flock"),
            ("ceph", "rw,name=admin"),
            ("fuse.ceph-fuse", "rw"),
            ("gpfs", "rw"),
            ("lustre", "rw,flock,lazystatfs"),
            ("fuse.glusterfs", "rw,user_id=0"),
            ("gfs2", "rw"),
        ] {
            assert_eq!(reach(file_system, options), LockReach::AllHosts, "{file_system} {options}");
        }
    }

    #[test]
    fn locks_of_some_mounts_reach_this_host_only() {
        for (file_system, options, named) in [
            ("nfs", "rw,vers=3,nolock,local_lock=all,addr=10.0.0.1", "`nolock`"),
            ("nfs", "rw,vers=3,nolock", "`nolock`"),
            ("nfs", "rw,vers=3,local_lock=all", "`local_lock=all`"),
            ("nfs4", "rw,vers=4.1,local_lock=posix", "`local_lock=posix`"),
            ("lustre", "rw,localflock", "`localflock`"),
            ("lustre", "rw,lazystatfs", "`flock`"),
            ("gfs2", "rw,localflocks", "`localflocks`"),
            ("cifs", "rw,vers=3.1.1,nobrl", "`nobrl`"),
            ("fuse.sshfs", "rw,user_id=0", "fuse.sshfs"),
        ] {
            let LockReach::ThisHost(why) = reach(file_system, options) else { panic!("{file_system} {options}") };
            assert!(why.contains(named) && why.contains(file_system.split('.').next().unwrap()), "{why}");
        }
    }

    #[test]
    fn reach_of_locks_is_unknown_on_other_file_systems() {
        for (file_system, options) in [
            ("beegfs", "rw,cfgFile=/etc/beegfs"),
            ("9p", "rw,trans=virtio"),
            ("virtiofs", "rw"),
            ("cifs", "rw"),
            ("new", "rw"),
        ] {
            let LockReach::Unknown(why) = reach(file_system, options) else { panic!("{file_system} {options}") };
            assert!(why.contains(file_system), "{why}");
        }
        assert!(matches!(LockReach::by_mounts("", Path::new("/shared")), LockReach::Unknown(_)));
    }

    #[test]
    fn mount_with_the_longest_path_decides_and_the_last_of_equal_ones() {
        let mounts = "\
            27 1 254:0 / / rw - ext4 /dev/vda rw\n\
            30 27 0:30 / /home rw - autofs auto.home rw,fd=7\n\
            31 30 0:31 / /home rw master:1 shared:2 - nfs server:/home rw,nolock\n\
            32 27 0:32 / /home/user rw - ext4 /dev/vdb rw\n\
            33 27 0:33 / /my\\040data rw - nfs server:/data rw,nolock\n\
            a line of another form\n";
        let reach = |path: &str| LockReach::by_mounts(mounts, Path::new(path));
        assert_eq!(reach("/srv/cache"), LockReach::AllHosts);
        assert!(matches!(reach("/home/other"), LockReach::ThisHost(_)));
        assert_eq!(reach("/home/user/cache"), LockReach::AllHosts);
        assert!(matches!(reach("/home/username"), LockReach::ThisHost(_)));
        assert_eq!(reach("/homes"), LockReach::AllHosts);
        assert!(matches!(reach("/my data/cache"), LockReach::ThisHost(_)));
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn mount_of_a_directory_of_this_host_is_found() {
        let LockReach::Unknown(why) = LockReach::of(Path::new("/proc")) else { panic!("locks in /proc are of no use") };
        assert!(why.contains("proc"), "{why}");
    }
}
