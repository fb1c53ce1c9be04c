//! What proc(5) tells of this process's threads: `syscall`, the system call that a thread is in, and `schedstat`, the
//! processor time that it has had.

use std::{fs, time::Duration};

use nix::libc;

use super::{Doing, Seen};

/// All threads; `None` where the system does not tell.
pub(super) fn seen() -> Option<Vec<Seen>> {
    let mut threads = Vec::new();
    for thread in fs::read_dir("/proc/self/task").ok()? {
        let (name, directory) = thread.ok().map(|thread| (thread.file_name(), thread.path()))?;
        let id = name.to_str()?.parse().ok()?;
        // One that has ended meanwhile is none.
        let Ok(call) = fs::read_to_string(directory.join("syscall")) else {
            if directory.exists() {
                return None;
            }
            continue;
        };
        let Ok(times) = fs::read_to_string(directory.join("schedstat")) else { continue };
        let nanoseconds = times.split_ascii_whitespace().next()?.parse().ok()?;
        threads.push(Seen { id, doing: doing(&call), worked: Duration::from_nanos(nanoseconds) });
    }
    Some(threads)
}

/// From the call's number and its arguments, the first of which is a file descriptor in the calls that are asked for it.
fn doing(call: &str) -> Doing {
    const TIME_OR_ANYTHING: &[libc::c_long] = &[
        #[cfg(target_arch = "x86_64")]
        libc::SYS_epoll_wait,
        libc::SYS_epoll_pwait,
        libc::SYS_accept,
        libc::SYS_accept4,
        libc::SYS_nanosleep,
        libc::SYS_clock_nanosleep,
        libc::SYS_restart_syscall,
        libc::SYS_rt_sigtimedwait,
    ];
    let mut words = call.split_ascii_whitespace();
    let Some(number) = words.next().and_then(|word| word.parse().ok()) else { return Doing::Busy };
    match number {
        // futex(2): the fourth argument of a wait says for how long; none, for ever.
        libc::SYS_futex if words.nth(3).is_none_or(|timeout| timeout == "0x0") => Doing::Parked,
        libc::SYS_futex => Doing::ParkedForATime,
        libc::SYS_read if words.next() == Some("0x0") => Doing::Listening,
        number if TIME_OR_ANYTHING.contains(&number) => Doing::Idle,
        _ => Doing::Busy,
    }
}

#[cfg(test)]
mod tests {
    use std::{iter, sync::mpsc, thread};

    use super::*;
    use crate::claim::quiet::this_thread;

    #[test]
    fn a_thread_that_waits_for_another_is_parked() {
        let (told, tell) = mpsc::channel::<()>();
        let (known, id) = mpsc::channel();
        let waits = thread::spawn(move || {
            known.send(this_thread()).unwrap();
            let _ = tell.recv();
        });
        let id = id.recv().unwrap();
        // Threads of other tests may end at the moment of the look.
        let all = || iter::repeat_with(seen).flatten().next().unwrap();
        let find = |id| all().into_iter().find(|thread| thread.id == id).unwrap().doing;
        while find(id) != Doing::Parked {
            thread::yield_now();
        }
        assert_eq!(find(this_thread()), Doing::Busy);
        drop(told);
        waits.join().unwrap();
    }

    #[test]
    fn calls_are_told_apart() {
        assert_eq!(doing("running"), Doing::Busy);
        assert_eq!(doing("-1 0x7ffe 0x7f"), Doing::Busy);
        assert_eq!(doing(&format!("{} 0x1 0x80 0x2 0x0 0x0 0x0 0x1 0x1", libc::SYS_futex)), Doing::Parked);
        assert_eq!(doing(&format!("{} 0x1 0x89 0x2 0x7f5 0x0 0x1 0x1 0x1", libc::SYS_futex)), Doing::ParkedForATime);
        assert_eq!(doing(&format!("{} 0x3 0x2", libc::SYS_epoll_pwait)), Doing::Idle);
        assert_eq!(doing(&format!("{} 0x0 0x2", libc::SYS_read)), Doing::Listening);
        assert_eq!(doing(&format!("{} 0x5 0x2", libc::SYS_read)), Doing::Busy);
        assert_eq!(doing(&format!("{} 0x5 0x2", libc::SYS_wait4)), Doing::Busy);
    }
}
