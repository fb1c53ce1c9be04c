//! A body that waits for another process through a shared semaphore is not taken for a deadlock.

use std::{
    io::{Read, Write},
    num::NonZeroUsize,
    process::{Command, Stdio},
    ptr,
    sync::atomic::{
        AtomicPtr, AtomicU64,
        Ordering::{Relaxed, SeqCst},
    },
    thread,
    time::Duration,
};

use fleche_core::{Cache, fleche};
use fleche_store_memory::{MemoryCalls, MemoryValues};
use nix::{
    libc::{_exit, sem_init, sem_post, sem_t, sem_wait},
    sys::mman::{MapFlags, ProtFlags, mmap_anonymous},
    unistd::{ForkResult, fork},
};

/// The environment variable that is set in the child process of this test binary that makes the calls.
const CHILD: &str = "FLECHE_TEST_SHARED_SEMAPHORE";

static RUNS: AtomicU64 = AtomicU64::new(0);
static SEMAPHORE: AtomicPtr<sem_t> = AtomicPtr::new(ptr::null_mut());

#[fleche]
fn waits_for_another_process(x: u64) -> u64 {
    RUNS.fetch_add(1, SeqCst);
    // SAFETY: the semaphore is initialized before the first call and is never unmapped. A signal may interrupt the wait.
    #[allow(unsafe_code)]
    while unsafe { sem_wait(SEMAPHORE.load(Relaxed)) } != 0 {}
    x
}

/// Creates a semaphore that is shared with forked children.
#[allow(unsafe_code)]
fn semaphore() -> *mut sem_t {
    let (access, kind) = (ProtFlags::PROT_READ | ProtFlags::PROT_WRITE, MapFlags::MAP_SHARED);
    let size = NonZeroUsize::new(size_of::<sem_t>()).unwrap();
    // SAFETY: the mapping is anonymous, new and never unmapped.
    let semaphore = unsafe { mmap_anonymous(None, size, access, kind) }.unwrap().as_ptr().cast();
    // SAFETY: the mapping is writable and as long as a semaphore.
    assert_eq!(unsafe { sem_init(semaphore, 1, 0) }, 0);
    semaphore
}

#[test]
fn child_process() {
    if std::env::var_os(CHILD).is_none() {
        return;
    }
    let semaphore = semaphore();
    SEMAPHORE.store(semaphore, Relaxed);
    // SAFETY: no lock that the forked process takes can be held: it reads, posts and exits.
    #[allow(unsafe_code)]
    unsafe {
        if let ForkResult::Child = fork().unwrap() {
            let _ = nix::unistd::read(std::io::stdin(), &mut [0]);
            for _ in 0..4 {
                let _ = sem_post(semaphore);
            }
            _exit(0);
        }
    }
    let cache = Cache::new(MemoryValues::new(), MemoryCalls::new());
    thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| assert_eq!(cache.scope(|| waits_for_another_process(1)), 1));
        }
    });
    println!("bodies: {}, cycles: {}", RUNS.load(SeqCst), cache.stats().cycles_broken);
}

#[test]
fn body_that_waits_for_a_shared_semaphore_is_computed_once() {
    let mut child = Command::new(std::env::current_exe().unwrap());
    child
        .args(["--exact", "shared_semaphore::child_process", "--nocapture"])
        .env(CHILD, "1")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped());
    let mut child = child.spawn().unwrap();
    // Longer than it takes to detect a deadlock.
    thread::sleep(Duration::from_secs(8));
    child.stdin.take().unwrap().write_all(b"x").unwrap();
    let mut output = String::new();
    child.stdout.take().unwrap().read_to_string(&mut output).unwrap();
    assert!(child.wait().unwrap().success(), "{output}");
    assert!(output.contains("bodies: 1, cycles: 0"), "{output}");
}
