//! `ThreadSample`: the observed state of a thread of this process at one moment. On systems other than Linux there are no
//! samples.

use std::time::Duration;

use crate::runtime::internal_threads::ThreadId;

/// The state in which a thread is observed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ThreadState {
    /// The thread waits for another thread of this process.
    Parked,
    /// The thread waits for another thread of this process, with a timeout.
    ParkedForATime,
    /// The thread sleeps, or waits for this process's own wakers, like an idle reactor.
    Idle,
    /// The thread runs, or waits for an event that another process may cause.
    Busy,
}

/// The futex that a parked thread waits on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Futex {
    pub(super) address: usize,
    /// The value of the futex when the wait began. The thread waits until it changes.
    pub(super) expected: u32,
}

impl Futex {
    /// Returns whether the futex belongs to a lock, judged by the value: the locks of the standard library and of
    /// pthreads have this value while a thread waits.
    pub(super) fn is_lock(self) -> bool {
        self.expected == 2
    }
}

/// A wait with a timeout, or for the end of another thread. A thread that holds a lock in this wait may release it
/// without help.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct BoundedWait {
    pub(super) until: WaitEnd,
    /// The thread's stack pointer.
    pub(super) stack: usize,
}

/// The event that ends a wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum WaitEnd {
    Timeout,
    /// The end of this thread, if this thread rests too.
    EndOf(ThreadId),
}

/// A thread as observed at one moment.
#[derive(Clone, Copy, Debug)]
pub(super) struct ThreadSample {
    pub(super) id: ThreadId,
    pub(super) state: ThreadState,
    pub(super) futex: Option<Futex>,
    /// The processor time that the thread has used.
    pub(super) cpu_time: Duration,
    pub(super) rests: Option<BoundedWait>,
}

/// Returns all threads of this process, or `None` if the system does not report them.
pub(super) fn sample_all() -> Option<Vec<ThreadSample>> {
    #[cfg(target_os = "linux")]
    return linux::sample_all();
    #[cfg(not(target_os = "linux"))]
    return None;
}

/// Returns whether this thread's stack contains, from address `stack` upward, a pointer to the lock with this futex.
pub(super) fn stack_has_pointer_to(futex: usize, stack: usize) -> bool {
    #[cfg(target_os = "linux")]
    return linux::stack_has_pointer_to(futex, stack);
    #[cfg(not(target_os = "linux"))]
    return false;
}

/// Returns whether the thread, which was seen at this rest, may hold the lock with this futex.
pub(super) fn may_hold(thread: ThreadId, rest: BoundedWait, futex: usize) -> bool {
    #[cfg(target_os = "linux")]
    return linux::may_hold(thread, rest, futex);
    #[cfg(not(target_os = "linux"))]
    return false;
}

/// Reads the state of the threads from proc(5): `syscall` has a thread's system call, `stat` whether it sleeps, and
/// `schedstat` its processor time.
#[cfg(target_os = "linux")]
mod linux {
    use std::{cell::OnceCell, fs, path::Path, time::Duration};

    use nix::libc;

    use super::{BoundedWait, Futex, ThreadSample, ThreadState, WaitEnd};
    use crate::runtime::internal_threads::ThreadId;

    /// Returns all threads, or `None` if the system does not report them.
    pub(super) fn sample_all() -> Option<Vec<ThreadSample>> {
        let (mut threads, process) = (Vec::new(), Process::default());
        for thread in fs::read_dir("/proc/self/task").ok()? {
            let (name, directory) = thread.ok().map(|thread| (thread.file_name(), thread.path()))?;
            let id = name.to_str()?.parse().ok()?;
            // The thread may have ended since the directory was listed.
            let Ok(call) = fs::read_to_string(directory.join("syscall")) else {
                if directory.exists() {
                    return None;
                }
                continue;
            };
            let Ok(times) = fs::read_to_string(directory.join("schedstat")) else { continue };
            let nanoseconds = times.split_ascii_whitespace().next()?.parse().ok()?;
            let (mut state, futex) = state(&call, &process);
            let rests = rests(&call)
                .filter(|_| matches!(state, ThreadState::Idle | ThreadState::ParkedForATime | ThreadState::Parked));
            // A stopped thread is continued by another process, so it is not blocked.
            if state != ThreadState::Busy && !sleeps(&directory) {
                state = ThreadState::Busy;
            }
            let cpu_time = Duration::from_nanos(nanoseconds);
            threads.push(ThreadSample { id, state, futex, cpu_time, rests });
        }
        Some(threads)
    }

    /// Returns whether the system reports the thread as sleeping, and not as stopped.
    fn sleeps(thread: &Path) -> bool {
        let stat = fs::read_to_string(thread.join("stat")).unwrap_or_default();
        stat.rsplit_once(')').is_some_and(|(_, fields)| fields.trim_start().starts_with('S'))
    }

    /// `FUTEX_PRIVATE_FLAG` of futex(2).
    const PRIVATE: usize = 128;

    /// Returns the number of the system call, and its arguments, the stack pointer and the program counter, or `None` if
    /// the thread is running.
    fn words(call: &str) -> Option<(libc::c_long, Vec<usize>)> {
        let mut words = call.split_ascii_whitespace();
        let number = words.next()?.parse().ok()?;
        Some((number, words.map_while(|word| usize::from_str_radix(word.strip_prefix("0x")?, 16).ok()).collect()))
    }

    /// Returns the thread's state, from its system call's number and arguments. A wait that another process can end counts
    /// as work.
    fn state(call: &str, process: &Process) -> (ThreadState, Option<Futex>) {
        let (number, arguments) = words(call).unzip();
        let (Some(number), Some([first, second, third, fourth, ..])) = (number, arguments.as_deref()) else {
            return (ThreadState::Busy, None);
        };
        match number {
            libc::SYS_futex if process.ends_here(*first, *second) => {
                #[allow(clippy::cast_possible_truncation)] // Futexes are of 32 bits.
                let futex = Futex { address: *first, expected: *third as u32 };
                // futex(2): the fourth argument of a wait is its timeout; without one the wait is unbounded.
                (if *fourth == 0 { ThreadState::Parked } else { ThreadState::ParkedForATime }, Some(futex))
            }
            libc::SYS_nanosleep | libc::SYS_clock_nanosleep => (ThreadState::Idle, None),
            #[cfg(target_arch = "x86_64")]
            libc::SYS_epoll_wait if process.wakes_itself(*first) => (ThreadState::Idle, None),
            libc::SYS_epoll_pwait if process.wakes_itself(*first) => (ThreadState::Idle, None),
            // Files, sockets, pipes, terminals, file locks, other processes: another process may end the wait.
            _ => (ThreadState::Busy, None),
        }
    }

    /// Facts about the process, each read when it is first needed.
    #[derive(Default)]
    struct Process {
        maps: OnceCell<String>,
    }

    impl Process {
        /// Returns whether only threads of this process can end the wait of this futex operation at this address.
        fn ends_here(&self, address: usize, operation: usize) -> bool {
            // Joining a thread waits without the flag, although no other process maps the memory.
            operation & PRIVATE != 0 || self.is_private(address)
        }

        /// Returns whether no other process maps the memory at this address.
        fn is_private(&self, address: usize) -> bool {
            let maps = self.maps.get_or_init(|| fs::read_to_string("/proc/self/maps").unwrap_or_default());
            mapping(maps, address).is_some_and(|(_, rights)| rights.ends_with('p'))
        }

        /// Returns whether the epoll instance of this descriptor waits only for wakers and timers of this process.
        #[allow(clippy::unused_self)] // Called like the other methods.
        fn wakes_itself(&self, epoll: usize) -> bool {
            let Ok(about) = fs::read_to_string(format!("/proc/self/fdinfo/{epoll}")) else { return false };
            let mut waited_for =
                about.lines().filter_map(|line| line.strip_prefix("tfd:")?.split_ascii_whitespace().next());
            waited_for.all(|descriptor| {
                fs::read_link(format!("/proc/self/fd/{descriptor}"))
                    .is_ok_and(|file| matches!(file.to_str(), Some("anon_inode:[eventfd]" | "anon_inode:[timerfd]")))
            })
        }
    }

    /// Returns the end of the mapping that contains this address, and its access rights, or `None` if there is none.
    fn mapping(maps: &str, address: usize) -> Option<(usize, &str)> {
        maps.lines().find_map(|line| {
            let mut words = line.split_ascii_whitespace();
            let (start, end) = words.next()?.split_once('-')?;
            let [start, end] = [start, end].map(|end| usize::from_str_radix(end, 16).ok());
            (start? <= address && address < end?).then_some((end?, words.next()?))
        })
    }

    /// Returns the rest of a thread in this system call: a wait with a timeout, or for the end of another thread.
    fn rests(call: &str) -> Option<BoundedWait> {
        let (number, arguments) = words(call)?;
        let &[_, second, third, fourth, _, _, stack, _] = &arguments[..] else { return None };
        let until = match number {
            // Joining a thread waits, without the private flag, until the futex no longer has the thread's id.
            #[allow(clippy::cast_possible_truncation, clippy::cast_possible_wrap)] // Thread ids are of 32 bits.
            libc::SYS_futex if fourth == 0 && second & PRIVATE == 0 => WaitEnd::EndOf(third as u32 as ThreadId),
            libc::SYS_futex if fourth != 0 => WaitEnd::Timeout,
            libc::SYS_nanosleep | libc::SYS_clock_nanosleep => WaitEnd::Timeout,
            #[cfg(target_arch = "x86_64")]
            libc::SYS_epoll_wait if has_timeout(fourth) => WaitEnd::Timeout,
            libc::SYS_epoll_pwait if has_timeout(fourth) => WaitEnd::Timeout,
            _ => return None,
        };
        Some(BoundedWait { until, stack })
    }

    /// Returns whether this argument of `epoll_wait`, in milliseconds, sets a timeout: negative numbers mean that there
    /// is none.
    #[allow(clippy::cast_possible_truncation, clippy::cast_possible_wrap)] // The argument is of 32 bits.
    fn has_timeout(argument: usize) -> bool {
        argument as u32 as i32 >= 0
    }

    /// Returns whether the thread, which was seen at this rest, may hold the lock with this futex: its stack has a
    /// pointer to the lock. If the thread has changed since then, the next sample shows its new state; until then, the
    /// thread may hold the lock.
    pub(super) fn may_hold(thread: ThreadId, rest: BoundedWait, futex: usize) -> bool {
        let call = fs::read_to_string(format!("/proc/self/task/{thread}/syscall")).unwrap_or_default();
        rests(&call) != Some(rest) || stack_has_pointer_to(futex, rest.stack)
    }

    /// Returns whether the stack that contains the address `stack` has, from there upward, a pointer to the lock with this
    /// futex, as a guard of the lock has. A reference to the lock looks the same.
    pub(super) fn stack_has_pointer_to(futex: usize, stack: usize) -> bool {
        use std::os::unix::fs::FileExt;

        /// The largest distance from a lock to its futex, in bytes: a reentrant lock stores its owner first.
        const BEFORE: usize = 16;
        /// The maximum number of bytes of a stack that are searched.
        const FAR: usize = 64 << 20;

        let search = || {
            let maps = fs::read_to_string("/proc/self/maps").ok()?;
            let (end, _) = mapping(&maps, stack)?;
            let start = stack.next_multiple_of(size_of::<usize>());
            let mut bytes = vec![0; end.checked_sub(start)?.min(FAR)];
            fs::File::open("/proc/self/mem").ok()?.read_exact_at(&mut bytes, start as u64).ok()?;
            let (words, _) = bytes.as_chunks();
            Some(words.iter().any(|word| (futex - BEFORE..=futex).contains(&usize::from_ne_bytes(*word))))
        };
        futex >= BEFORE && search().unwrap_or(false)
    }

    #[cfg(test)]
    mod tests {
        use std::{iter, sync::mpsc, thread};

        use super::*;
        use crate::runtime::internal_threads::this_thread;

        #[test]
        fn thread_that_waits_for_another_is_parked() {
            let (told, tell) = mpsc::channel::<()>();
            let (known, id) = mpsc::channel();
            let waits = thread::spawn(move || {
                known.send(this_thread()).unwrap();
                let _ = tell.recv();
            });
            let id = id.recv().unwrap();
            // Threads of other tests may end during a sample.
            let all = || iter::repeat_with(sample_all).flatten().next().unwrap();
            let find = |id| all().into_iter().find(|thread| thread.id == id).unwrap().state;
            while find(id) != ThreadState::Parked {
                thread::yield_now();
            }
            assert_eq!(find(this_thread()), ThreadState::Busy);
            drop(told);
            waits.join().unwrap();
        }

        #[test]
        fn system_calls_are_classified() {
            let state = |call: &str| super::state(call, &Process::default()).0;
            assert_eq!(state("running"), ThreadState::Busy);
            assert_eq!(state("-1 0x7ffe 0x7f"), ThreadState::Busy);
            assert_eq!(state(&format!("{} 0x1 0x80 0x2 0x0 0x0 0x0 0x1 0x1", libc::SYS_futex)), ThreadState::Parked);
            assert_eq!(
                state(&format!("{} 0x1 0x89 0x2 0x7f5 0x0 0x1 0x1 0x1", libc::SYS_futex)),
                ThreadState::ParkedForATime
            );
            assert_eq!(state(&format!("{} 0x0 0x0 0x7f5 0x7f5 0x0 0x1", libc::SYS_clock_nanosleep)), ThreadState::Idle);
            for number in [libc::SYS_read, libc::SYS_poll, libc::SYS_accept, libc::SYS_rt_sigtimedwait, libc::SYS_wait4]
            {
                assert_eq!(state(&format!("{number} 0x0 0x2 0x1 0x0 0x0 0x0 0x1 0x1")), ThreadState::Busy);
            }
        }

        #[test]
        fn futex_in_shared_memory_counts_as_busy() {
            use std::{fs::File, num::NonZeroUsize, os::fd::AsFd};

            use nix::sys::mman::{MapFlags, ProtFlags, mmap, mmap_anonymous};

            let (length, rights) = (NonZeroUsize::new(4096).unwrap(), ProtFlags::PROT_READ | ProtFlags::PROT_WRITE);
            let file = tempfile::tempfile().unwrap();
            file.set_len(4096).unwrap();
            // SAFETY: the mappings are new, so nothing else uses them, and they are neither read nor written.
            #[allow(unsafe_code)]
            let places = unsafe {
                let of_file = |file: &File, flags| mmap(None, length, rights, flags, file.as_fd(), 0).unwrap();
                [
                    (mmap_anonymous(None, length, rights, MapFlags::MAP_SHARED).unwrap(), ThreadState::Busy),
                    (of_file(&file, MapFlags::MAP_SHARED), ThreadState::Busy),
                    (mmap_anonymous(None, length, rights, MapFlags::MAP_PRIVATE).unwrap(), ThreadState::Parked),
                ]
            };
            for (place, expected) in places {
                let call = |operation| format!("{} {place:p} {operation:#x} 0x2 0x0 0x0 0x1 0x1 0x1", libc::SYS_futex);
                assert_eq!(state(&call(0x189), &Process::default()).0, ThreadState::Parked);
                assert_eq!(state(&call(0x109), &Process::default()).0, expected);
            }
        }

        #[test]
        fn reactor_that_waits_only_for_its_own_wakers_is_idle() {
            use std::os::fd::AsRawFd;

            use nix::sys::{
                epoll::{Epoll, EpollCreateFlags, EpollEvent},
                eventfd::EventFd,
            };

            let epoll = Epoll::new(EpollCreateFlags::empty()).unwrap();
            let call = format!("{} {:#x} 0x7f 0x400 0x0 0x0 0x8 0x1 0x1", libc::SYS_epoll_pwait, epoll.0.as_raw_fd());
            let (waker, (reader, _writer)) = (EventFd::new().unwrap(), std::io::pipe().unwrap());
            epoll.add(&waker, EpollEvent::empty()).unwrap();
            assert_eq!(state(&call, &Process::default()).0, ThreadState::Idle);
            epoll.add(&reader, EpollEvent::empty()).unwrap();
            assert_eq!(state(&call, &Process::default()).0, ThreadState::Busy);
        }

        #[test]
        fn waits_with_a_timeout_or_for_the_end_of_a_thread_are_rests() {
            let rests = |number, second: u32, third: u32, fourth: u32| {
                let call = format!("{number} 0x1 {second:#x} {third:#x} {fourth:#x} 0x5 0x6 0x7f00 0x8");
                rests(&call).map(|rest| (rest.until, rest.stack))
            };
            assert_eq!(rests(libc::SYS_clock_nanosleep, 0, 0, 0), Some((WaitEnd::Timeout, 0x7f00)));
            assert_eq!(rests(libc::SYS_futex, 0x89, 0, 0x7f5), Some((WaitEnd::Timeout, 0x7f00)));
            assert_eq!(rests(libc::SYS_futex, 0x109, 7, 0), Some((WaitEnd::EndOf(7), 0x7f00)));
            assert_eq!(rests(libc::SYS_futex, 0x89, 7, 0), None);
            assert_eq!(rests(libc::SYS_epoll_pwait, 0, 0, 1000), Some((WaitEnd::Timeout, 0x7f00)));
            assert_eq!(rests(libc::SYS_epoll_pwait, 0, 0, u32::MAX), None);
            assert_eq!(super::rests("running"), None);
        }

        #[test]
        fn lock_guard_on_the_stack_is_found() {
            let lock = Box::new(std::sync::Mutex::new(0_u8));
            let address = std::ptr::from_ref(&*lock).addr();
            let hidden = !address;
            let here = 0_u8;
            let stack = std::ptr::from_ref(&here).addr();
            let guard = std::hint::black_box(lock.lock().unwrap());
            assert!(stack_has_pointer_to(!hidden, stack) || stack_has_pointer_to(!hidden, stack - 4096));
            drop(guard);
        }
    }
}
