//! A bell between threads: whoever rings it makes the owner's `epoll_wait` return.

use super::failure::failed;
use nix::errno::Errno;
use nix::sys::eventfd::{EfdFlags, EventFd as Counter};
use std::io;
use std::os::fd::{AsFd, BorrowedFd};

/// The bell. Registered with [`super::epoll::Interest::WAKEUP`] it reports each ring once, drained
/// or not.
pub struct EventFd(Counter);

impl EventFd {
    /// A silent one, non-blocking.
    pub fn new() -> io::Result<EventFd> {
        Counter::from_flags(EfdFlags::EFD_NONBLOCK | EfdFlags::EFD_CLOEXEC)
            .map(EventFd)
            .map_err(|cause| failed("create an eventfd", cause))
    }

    /// Rings. A ring before the last one was noticed adds nothing.
    pub fn ring(&self) -> io::Result<()> {
        match self.0.write(1) {
            // EAGAIN: the counter is full, so it has been ringing for a long time.
            Ok(_) | Err(Errno::EAGAIN) => Ok(()),
            Err(cause) => Err(failed("ring an eventfd", cause)),
        }
    }

    /// Stops ringing; true if it rang.
    pub fn drain(&self) -> io::Result<bool> {
        match self.0.read() {
            Ok(_) => Ok(true),
            Err(Errno::EAGAIN) => Ok(false),
            Err(cause) => Err(failed("drain an eventfd", cause)),
        }
    }
}

impl AsFd for EventFd {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sys::epoll::{Epoll, Events, Interest};

    #[test]
    fn each_ring_wakes_once_even_if_it_is_never_drained() {
        let (bell, epoll) = (EventFd::new().expect("a bell"), Epoll::new().expect("a set"));
        let mut events = Events::with_capacity(4);
        epoll.add(&bell, 7, Interest::WAKEUP).expect("a new descriptor");
        for _ in 0..3 {
            assert_eq!(epoll.wait(&mut events, Some(0)).expect("a wait"), 0);
            bell.ring().expect("a ring");
            assert_eq!(epoll.wait(&mut events, None).expect("a wait"), 1);
            let event = events.get(0).expect("there is one");
            assert_eq!(event.token, 7);
            assert!(event.readable());
        }
        assert!(bell.drain().expect("a drain"));
        assert!(!bell.drain().expect("a drain"), "it is silent now");
    }
}
