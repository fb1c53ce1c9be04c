//! `LeaseFiles`: claims as files with a time limit, for directories where locks do not reach all hosts.
//!
//! A lease is a file named for the call. A process acquires it by linking a complete file to this name, which one process
//! succeeds in. It renews the lease by touching the file. A lease has expired when its modification time is further from the
//! time of [`FileClock`] than leases last, so no host's clock is asked. To take over an expired lease, a process links a file
//! to a second name, checks the lease again, and renames its file to the lease's name.
//!
//! These steps use only operations that are atomic on network file systems. Only a process that is suspended between two of
//! them for longer than a lease lasts can make two processes hold one claim.

use std::{
    fs::{self, File},
    hash::{BuildHasher, RandomState},
    io::{self, ErrorKind, Read, Write},
    os::unix::fs::{FileExt, MetadataExt},
    path::{Path, PathBuf},
    sync::atomic::{AtomicBool, Ordering},
    time::{Duration, SystemTime},
};

use fleche_core::{
    CallKey, Error, Result,
    claim::{ClaimHolder, LeaseTable},
    spi::{
        process_id::{Process, mark},
        written_file,
    },
};

use super::claim_info::{ClaimInfo, SIZE};
use crate::{
    clock::{FileClock, touch},
    open::open_no_follow,
    temp_files::{TempFile, create_directory, sweep},
};

/// How long a lease lasts without a renewal.
pub(super) const TTL: Duration = Duration::from_secs(30);

const DIRECTORY: &str = "leases";

/// The length of the grant's number, with which the file begins.
const GRANT: usize = 8;

/// Returns whether processes have used leases in this store.
pub(super) fn are_in_use(root: &Path) -> bool {
    root.join(DIRECTORY).is_dir()
}

/// The leases in the store's directory `leases`.
pub(super) struct LeaseFiles {
    directory: PathBuf,
    clock: FileClock,
    shared: bool,
    /// Whether this process has removed the files that killed processes left behind.
    swept: AtomicBool,
}

/// The content and the time of a lease's file.
struct Lease {
    grant: u64,
    info: Option<ClaimInfo>,
    renewed: SystemTime,
}

impl LeaseFiles {
    pub(super) fn new(root: &Path, shared: bool) -> Self {
        Self { directory: root.join(DIRECTORY), clock: FileClock::new(root), shared, swept: AtomicBool::new(false) }
    }

    /// Returns the claim holder, if there is one.
    pub(super) fn claim_holder(&self, key: &CallKey) -> Result<Option<ClaimHolder>> {
        let holder = || match read(&self.path(key))? {
            Some(lease) if !self.is_over(&lease, TTL)? => io::Result::Ok(lease.info),
            _ => Ok(None),
        };
        let info = holder().map_err(self.error("read a lease in"))?;
        Ok(info.filter(|info| info.is_of(key, 0)).map(ClaimInfo::into_claim_holder))
    }

    fn path(&self, key: &CallKey) -> PathBuf {
        self.directory.join(key.to_string())
    }

    fn error(&self, action: &'static str) -> impl FnOnce(io::Error) -> Error {
        Error::io(action, self.directory.clone())
    }

    fn try_acquire(&self, key: &CallKey, since: SystemTime, ttl: Duration) -> io::Result<Option<u64>> {
        let path = self.path(key);
        match read(&path)? {
            None => self.create(&path, key, since),
            Some(lease) if self.is_over(&lease, ttl)? => self.take_over(&path, key, since, ttl),
            Some(_) => Ok(None),
        }
    }

    /// Returns whether the lease has expired, or its holder is known to be dead.
    fn is_over(&self, lease: &Lease, ttl: Duration) -> io::Result<bool> {
        let now = self.clock.now(self.shared)?;
        let has_expired = match now.duration_since(lease.renewed) {
            Ok(age) => age >= ttl,
            // The server's clock was ahead when the lease was renewed.
            Err(ahead) => ahead.duration() > ttl,
        };
        Ok(has_expired || lease.info.as_ref().is_some_and(|info| is_dead(&info.process)))
    }

    /// Replaces the expired lease, unless another process does so.
    fn take_over(&self, path: &Path, key: &CallKey, since: SystemTime, ttl: Duration) -> io::Result<Option<u64>> {
        let successor = self.directory.join(format!(".next-{key}"));
        let Some(grant) = self.create(&successor, key, since)? else {
            // Another process is taking over. If it died, the next attempt finds the name free.
            if let Some(other) = read(&successor)?
                && self.is_over(&other, ttl)?
            {
                existing(fs::remove_file(&successor))?;
            }
            return Ok(None);
        };
        let replaced = match read(path).and_then(|lease| lease.map_or(Ok(false), |lease| self.is_over(&lease, ttl))) {
            Ok(true) => fs::rename(&successor, path).map(|()| true),
            other => other,
        };
        if !matches!(replaced, Ok(true)) {
            // The first error is reported. A file that stays expires.
            let _ = fs::remove_file(&successor);
        }
        // This process may have been suspended for so long that its file was removed.
        Ok((existing(replaced)? == Some(true) && grant_in(path)? == Some(grant)).then_some(grant))
    }

    /// Creates a file of a new grant under this name. Returns `None` if there is a file of this name.
    fn create(&self, path: &Path, key: &CallKey, since: SystemTime) -> io::Result<Option<u64>> {
        let temporary = self.directory.join(TempFile::Write.name());
        // The standard library seeds its hashers from the system's random source.
        let grant = RandomState::new().hash_one(mark());
        let info = ClaimInfo::new(key, 0, &Process::this(), since, Some(&[]));
        let created = self.write(&temporary, grant, &info).and_then(|()| link(&temporary, path));
        let _ = fs::remove_file(&temporary);
        if !self.swept.swap(true, Ordering::Relaxed) {
            sweep(&self.directory);
        }
        Ok(created?.then_some(grant))
    }

    fn write(&self, path: &Path, grant: u64, info: &ClaimInfo) -> io::Result<()> {
        let mut file = match File::create_new(path) {
            Err(error) if error.kind() == ErrorKind::NotFound => {
                create_directory(&self.directory, self.shared)?;
                File::create_new(path)?
            }
            file => file?,
        };
        if self.shared {
            written_file::share(&file, path);
        }
        // Closing the file makes its content visible to other hosts.
        file.write_all(&[&grant.to_le_bytes()[..], &padded(info)].concat())
    }
}

impl LeaseTable for LeaseFiles {
    fn acquire(&self, key: &CallKey, owner: &ClaimHolder, ttl: Duration) -> Result<Option<u64>> {
        self.try_acquire(key, owner.since, ttl).map_err(self.error("acquire a lease in"))
    }

    fn renew(&self, key: &CallKey, grant: u64, _ttl: Duration) -> Result<bool> {
        let path = self.path(key);
        let renew = || {
            let Some(file) = existing(open_no_follow(&path))? else { return Ok(false) };
            if read_open(&file)?.grant != grant {
                return Ok(false);
            }
            touch(&file)?;
            // Another process may have replaced the file before it was touched.
            io::Result::Ok(grant_in(&path)? == Some(grant))
        };
        renew().map_err(self.error("renew a lease in"))
    }

    fn release(&self, key: &CallKey, grant: u64) -> Result<()> {
        let path = self.path(key);
        let release = || match grant_in(&path)? {
            Some(found) if found == grant => existing(fs::remove_file(&path)).map(|_| ()),
            _ => io::Result::Ok(()),
        };
        release().map_err(self.error("release a lease in"))
    }

    fn publish(&self, key: &CallKey, grant: u64, awaits: Option<&[CallKey]>) -> Result<()> {
        let publish = || {
            let Some(file) = existing(written_file::open(&self.path(key), false, self.shared))? else { return Ok(()) };
            match read_open(&file)? {
                Lease { grant: found, info: Some(info), .. } if found == grant => {
                    file.write_all_at(&padded(&info.waiting_on(awaits)), GRANT as u64)
                }
                _ => Ok(()),
            }
        };
        publish().map_err(self.error("write to a lease in"))
    }
}

/// Returns whether the process ran on this host and is dead. Nothing else is known of processes of other hosts.
fn is_dead(process: &Process) -> bool {
    process.host == Process::this().host && process.lives() == Some(false)
}

/// Returns the information with the zeros that fill its space in the file.
fn padded(info: &ClaimInfo) -> Vec<u8> {
    let mut bytes = info.to_bytes();
    bytes.resize(SIZE, 0);
    bytes
}

/// Returns the lease in this file, or `None` if there is no file.
fn read(path: &Path) -> io::Result<Option<Lease>> {
    existing(open_no_follow(path))?.map(|file| read_open(&file)).transpose()
}

/// Returns the number of the grant in this file, or `None` if there is no file.
fn grant_in(path: &Path) -> io::Result<Option<u64>> {
    Ok(read(path)?.map(|lease| lease.grant))
}

fn read_open(file: &File) -> io::Result<Lease> {
    let renewed = file.metadata()?.modified()?;
    let mut bytes = Vec::with_capacity(GRANT + SIZE);
    file.take((GRANT + SIZE) as u64).read_to_end(&mut bytes)?;
    // A file that was cut short belongs to no grant, and expires.
    let (grant, info) = bytes.split_first_chunk::<GRANT>().unwrap_or((&[0; GRANT], &[]));
    Ok(Lease { grant: u64::from_le_bytes(*grant), info: ClaimInfo::from_bytes(info), renewed })
}

/// Gives the file a second name. Returns `false` if there is another file of this name.
fn link(file: &Path, name: &Path) -> io::Result<bool> {
    match fs::hard_link(file, name) {
        Ok(()) => Ok(true),
        // The server may have executed a request whose answer was lost, and refused its repetition.
        Err(_) if fs::metadata(file).is_ok_and(|metadata| metadata.nlink() > 1) => Ok(true),
        Err(error) if error.kind() == ErrorKind::AlreadyExists => Ok(false),
        Err(error) => Err(error),
    }
}

/// Returns the result of an operation on a file, or `None` if there is no file.
fn existing<T>(done: io::Result<T>) -> io::Result<Option<T>> {
    match done {
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        done => done.map(Some),
    }
}

#[cfg(test)]
mod tests {
    use std::{sync::Barrier, thread};

    use fleche_core::Digest;
    use tempfile::TempDir;

    use super::*;

    fn key(number: u8) -> CallKey {
        Digest::hash(&[number]).into()
    }

    fn leases() -> (TempDir, LeaseFiles) {
        let root = tempfile::tempdir().unwrap();
        let leases = LeaseFiles::new(root.path(), false);
        (root, leases)
    }

    fn acquire(leases: &LeaseFiles) -> Option<u64> {
        leases.acquire(&key(1), &ClaimHolder::this_process(), TTL).unwrap()
    }

    /// Makes the file as old as that of a holder that has not renewed its lease for this time.
    fn set_age(leases: &LeaseFiles, path: &Path, age: Duration) {
        let now = leases.clock.now(false).unwrap();
        File::open(path).unwrap().set_modified(now - age).unwrap();
    }

    fn expire(leases: &LeaseFiles) {
        set_age(leases, &leases.path(&key(1)), TTL);
    }

    fn files(leases: &LeaseFiles) -> usize {
        fs::read_dir(&leases.directory).unwrap().count()
    }

    #[test]
    fn lease_is_exclusive_until_it_is_released() {
        let (_root, leases) = leases();
        let grant = acquire(&leases).unwrap();
        assert_eq!(acquire(&leases), None);
        assert!(leases.acquire(&key(2), &ClaimHolder::this_process(), TTL).unwrap().is_some());
        leases.release(&key(1), grant).unwrap();
        assert_ne!(acquire(&leases).unwrap(), grant);
        assert_eq!(files(&leases), 2);
    }

    #[test]
    fn expired_lease_is_taken_over_and_its_holder_loses_it() {
        let (_root, leases) = leases();
        let first = acquire(&leases).unwrap();
        set_age(&leases, &leases.path(&key(1)), TTL / 2);
        assert_eq!(acquire(&leases), None);
        expire(&leases);
        assert_eq!(leases.claim_holder(&key(1)).unwrap(), None);
        let second = acquire(&leases).unwrap();
        assert!(!leases.renew(&key(1), first, TTL).unwrap());
        leases.publish(&key(1), first, None).unwrap();
        leases.release(&key(1), first).unwrap();
        assert_eq!(leases.claim_holder(&key(1)).unwrap().unwrap().waiting_on, Some(vec![]));
        assert!(leases.renew(&key(1), second, TTL).unwrap());
        assert_eq!((acquire(&leases), files(&leases)), (None, 1));
    }

    #[test]
    fn renewal_extends_the_lease_even_if_it_has_expired() {
        let (_root, leases) = leases();
        let grant = acquire(&leases).unwrap();
        expire(&leases);
        assert!(leases.renew(&key(1), grant, TTL).unwrap());
        assert_eq!(acquire(&leases), None);
        leases.release(&key(1), grant).unwrap();
        assert!(!leases.renew(&key(1), grant, TTL).unwrap());
    }

    #[test]
    fn lease_from_a_time_when_the_clock_was_far_ahead_is_taken_over() {
        let (_root, leases) = leases();
        acquire(&leases).unwrap();
        let file = File::open(leases.path(&key(1))).unwrap();
        let now = leases.clock.now(false).unwrap();
        file.set_modified(now + TTL).unwrap();
        assert_eq!(acquire(&leases), None);
        file.set_modified(now + 10 * TTL).unwrap();
        assert!(acquire(&leases).is_some());
    }

    #[test]
    fn one_of_many_takes_over_an_expired_lease() {
        let (root, first) = leases();
        acquire(&first).unwrap();
        for _ in 0..50 {
            expire(&first);
            let all = Barrier::new(8);
            let grants: Vec<u64> = thread::scope(|scope| {
                let request = || {
                    let leases = LeaseFiles::new(root.path(), false);
                    all.wait();
                    (0..10).find_map(|_| acquire(&leases))
                };
                let threads: Vec<_> = (0..8).map(|_| scope.spawn(request)).collect();
                threads.into_iter().filter_map(|thread| thread.join().unwrap()).collect()
            });
            assert_eq!(grants.len(), 1);
            assert!(first.renew(&key(1), grants[0], TTL).unwrap());
        }
        assert_eq!(files(&first), 1);
    }

    #[test]
    fn takeover_that_was_killed_half_way_is_finished_by_another_process() {
        let (_root, leases) = leases();
        acquire(&leases).unwrap();
        expire(&leases);
        let next = leases.directory.join(format!(".next-{}", key(1)));
        leases.create(&next, &key(1), SystemTime::now()).unwrap().unwrap();
        assert_eq!(acquire(&leases), None);
        assert!(next.exists());
        set_age(&leases, &next, TTL);
        assert_eq!(acquire(&leases), None);
        assert!(acquire(&leases).is_some());
        assert_eq!(files(&leases), 1);
    }

    /// Writes a lease of a process on this host whose number no process has, or on another host.
    fn write_foreign(leases: &LeaseFiles, host: &str) {
        let mut process = Process::this();
        (process.host, process.id) = (host.to_owned(), i32::MAX.cast_unsigned());
        let info = ClaimInfo::new(&key(1), 0, &process, SystemTime::now(), Some(&[]));
        leases.write(&leases.path(&key(1)), 1, &info).unwrap();
    }

    #[test]
    fn holder_that_died_on_this_host_loses_its_lease_at_once() {
        let (_root, leases) = leases();
        write_foreign(&leases, &Process::this().host);
        assert_eq!(leases.claim_holder(&key(1)).unwrap(), None);
        assert!(acquire(&leases).is_some());
    }

    #[test]
    fn holder_on_another_host_keeps_its_lease_until_it_expires() {
        let (_root, leases) = leases();
        write_foreign(&leases, "elsewhere");
        assert_eq!(leases.claim_holder(&key(1)).unwrap().unwrap().host, "elsewhere");
        assert_eq!(acquire(&leases), None);
        expire(&leases);
        assert!(acquire(&leases).is_some());
    }

    #[test]
    fn damaged_lease_counts_as_held_until_it_expires() {
        for content in [&b""[..], b"short", &[0xff; GRANT + SIZE], &[0x5a; 4096]] {
            let (_root, leases) = leases();
            let grant = acquire(&leases).unwrap();
            fs::write(leases.path(&key(1)), content).unwrap();
            assert_eq!(leases.claim_holder(&key(1)).unwrap(), None);
            assert_eq!(acquire(&leases), None);
            assert!(!leases.renew(&key(1), grant, TTL).unwrap());
            expire(&leases);
            assert!(acquire(&leases).is_some());
        }
    }

    #[test]
    fn awaited_calls_are_published_without_changing_the_rest() {
        let (_root, leases) = leases();
        let grant = acquire(&leases).unwrap();
        let before = leases.claim_holder(&key(1)).unwrap().unwrap();
        leases.publish(&key(1), grant, Some(&[key(2)])).unwrap();
        let after = leases.claim_holder(&key(1)).unwrap().unwrap();
        assert_eq!(after, ClaimHolder { waiting_on: Some(vec![key(2)]), ..before });
        assert!(leases.renew(&key(1), grant, TTL).unwrap());
    }
}
