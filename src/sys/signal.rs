//! Signals as input: blocked everywhere and read from a descriptor, so no handler ever runs.

use super::failure::failed;
use nix::sys::signal::{SigHandler, SigSet, Signal as Number, signal};
use nix::sys::signalfd::{SfdFlags, SignalFd};
use std::io;
use std::os::fd::{AsFd, BorrowedFd};

/// A signal that the server answers to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Signal {
    /// SIGTERM.
    Terminate,
    /// SIGINT.
    Interrupt,
    /// SIGHUP.
    Hangup,
    /// SIGUSR1.
    User1,
}

const WATCHED: [(Number, Signal); 4] = [
    (Number::SIGTERM, Signal::Terminate),
    (Number::SIGINT, Signal::Interrupt),
    (Number::SIGHUP, Signal::Hangup),
    (Number::SIGUSR1, Signal::User1),
];

/// The descriptor that signals come from.
pub struct Signals(SignalFd);

impl Signals {
    /// Blocks the four signals in the calling thread and in all that it starts, and opens the
    /// descriptor. To be called before the first thread is started; signals that came in between
    /// are kept.
    pub fn block() -> io::Result<Signals> {
        let mut mask = SigSet::empty();
        for (number, _) in WATCHED {
            mask.add(number);
        }
        mask.thread_block().map_err(|cause| failed("block signals", cause))?;
        SignalFd::with_flags(&mask, SfdFlags::SFD_NONBLOCK | SfdFlags::SFD_CLOEXEC)
            .map(Signals)
            .map_err(|cause| failed("open a signalfd", cause))
    }

    /// From now on SIGTERM and SIGINT end the process at once, as if it knew nothing of them.
    /// For the thread that has taken the first one.
    pub fn let_ends_through(&self) -> io::Result<()> {
        let mut mask = SigSet::empty();
        mask.add(Number::SIGTERM);
        mask.add(Number::SIGINT);
        mask.thread_unblock().map_err(|cause| failed("unblock signals", cause))
    }

    /// The next signal, if one came.
    pub fn read(&self) -> io::Result<Option<Signal>> {
        let info = self.0.read_signal().map_err(|cause| failed("read a signal", cause))?;
        Ok(info.and_then(|info| {
            let is_it = |(number, _): &&(Number, Signal)| *number as u32 == info.ssi_signo;
            WATCHED.iter().find(is_it).map(|(_, signal)| *signal)
        }))
    }
}

impl AsFd for Signals {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

/// A peer that went away is an error of `send`, not the end of the process.
pub fn ignore_sigpipe() -> io::Result<()> {
    // SAFETY: [sys-001] I-SYSCALL: to ignore a signal installs no handler that could run anywhere.
    unsafe { signal(Number::SIGPIPE, SigHandler::SigIgn) }
        .map(drop)
        .map_err(|cause| failed("ignore SIGPIPE", cause))
}

#[cfg(test)]
mod tests {
    use super::*;
    use nix::sys::signal::raise;

    #[test]
    fn signals_are_read_in_the_thread_that_blocked_them() {
        // `raise` signals the calling thread, so the tests beside this one do not notice.
        let signals = Signals::block().expect("a signalfd");
        assert_eq!(signals.read().expect("a read"), None);
        for (number, signal) in WATCHED {
            raise(number).expect("our own signal");
            assert_eq!(signals.read().expect("a read"), Some(signal));
            assert_eq!(signals.read().expect("a read"), None);
        }
    }

    #[test]
    fn a_broken_pipe_is_an_error_and_not_the_end() {
        use std::io::Write;
        ignore_sigpipe().expect("SIGPIPE can be ignored");
        let (reader, mut writer) = std::io::pipe().expect("a pipe");
        drop(reader);
        let error = writer.write_all(b"x").expect_err("nobody reads");
        assert_eq!(error.kind(), io::ErrorKind::BrokenPipe);
    }
}
