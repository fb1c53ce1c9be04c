//! `LimitedWriter`: the input of a server, which fails if the server does not read for too long.

use std::{
    io::{self, Write},
    process::ChildStdin,
    time::Duration,
};

#[cfg(unix)]
use std::os::fd::AsFd;

#[cfg(unix)]
use nix::{
    errno::Errno,
    fcntl::{FcntlArg, OFlag, fcntl},
    poll::{PollFd, PollFlags, PollTimeout, poll},
};

/// Writes to the input of a process, and fails if that has no room for longer than the limit. Elsewhere than on Unix there is no
/// limit.
pub(crate) struct LimitedWriter {
    input: ChildStdin,
    #[cfg(unix)]
    limit: PollTimeout,
}

#[cfg(unix)]
impl LimitedWriter {
    /// Creates the writer.
    ///
    /// # Errors
    /// Fails with the error of the system.
    pub(crate) fn new(input: ChildStdin, limit: Duration) -> io::Result<Self> {
        let flags = OFlag::from_bits_truncate(fcntl(&input, FcntlArg::F_GETFL)?);
        fcntl(&input, FcntlArg::F_SETFL(flags | OFlag::O_NONBLOCK))?;
        Ok(Self { input, limit: PollTimeout::try_from(limit).unwrap_or(PollTimeout::MAX) })
    }

    /// Waits until there is room.
    fn wait(&self) -> io::Result<()> {
        let mut input = [PollFd::new(self.input.as_fd(), PollFlags::POLLOUT)];
        match poll(&mut input, self.limit) {
            Ok(0) => Err(io::Error::new(io::ErrorKind::TimedOut, "the server does not read")),
            Ok(_) | Err(Errno::EINTR) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }
}

#[cfg(not(unix))]
impl LimitedWriter {
    /// Creates the writer.
    ///
    /// # Errors
    /// Does not fail.
    pub(crate) fn new(input: ChildStdin, _: Duration) -> io::Result<Self> {
        Ok(Self { input })
    }
}

impl Write for LimitedWriter {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        loop {
            match self.input.write(bytes) {
                #[cfg(unix)]
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => self.wait()?,
                written => return written,
            }
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        self.input.flush()
    }
}
