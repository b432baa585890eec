//! Readiness of descriptors: epoll, edge-triggered for connections, level-triggered for listeners.
//!
//! A registration carries a 64-bit token that comes back with each event. An edge is reported
//! once; whoever gets it reads until the socket is empty or remembers that it did not.
//!
//! Invariant: an event taken from the set may name a descriptor that was closed meanwhile, or a
//! number that was given out anew. Tokens therefore carry a generation (`sync::turn::Handle`).

use super::failure::failed;
use nix::errno::Errno;
use nix::sys::epoll::{Epoll as Set, EpollCreateFlags, EpollEvent, EpollFlags, EpollTimeout};
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};

/// What is reported for a descriptor, and how often.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Interest(EpollFlags);

impl Interest {
    /// A connection: input, output and both kinds of end, each once per change.
    pub const CONNECTION: Interest = Interest(
        EpollFlags::EPOLLIN
            .union(EpollFlags::EPOLLOUT)
            .union(EpollFlags::EPOLLRDHUP)
            .union(EpollFlags::EPOLLET),
    );
    /// A listener: as long as somebody waits to be accepted.
    pub const LISTENER: Interest = Interest(EpollFlags::EPOLLIN);
    /// A listener in several sets: an arrival wakes one of them, as a rule.
    pub const LISTENER_EXCLUSIVE: Interest =
        Interest(EpollFlags::EPOLLIN.union(EpollFlags::EPOLLEXCLUSIVE));
    /// An eventfd: once per ring, so it need not be drained.
    pub const WAKEUP: Interest = Interest(EpollFlags::EPOLLIN.union(EpollFlags::EPOLLET));
    /// Input, as long as there is any (a signalfd).
    pub const READABLE: Interest = Interest(EpollFlags::EPOLLIN);
    /// Nothing, but errors and hang-ups come anyway: a listener that takes a rest.
    pub const NOTHING: Interest = Interest(EpollFlags::empty());
}

/// A set of descriptors to wait on.
pub struct Epoll(Set);

impl Epoll {
    /// An empty set.
    pub fn new() -> io::Result<Epoll> {
        Set::new(EpollCreateFlags::EPOLL_CLOEXEC)
            .map(Epoll)
            .map_err(|cause| failed("create an epoll set", cause))
    }

    /// Adds a descriptor. What is ready already is reported by the next wait.
    pub fn add(&self, fd: impl AsFd, token: u64, interest: Interest) -> io::Result<()> {
        let fd = fd.as_fd();
        self.0
            .add(fd, EpollEvent::new(interest.0, token))
            .map_err(|cause| failed(format!("add descriptor {} to epoll", fd.as_raw_fd()), cause))
    }

    /// Changes token and interest of a descriptor in the set. (Not for `LISTENER_EXCLUSIVE`.)
    pub fn modify(&self, fd: impl AsFd, token: u64, interest: Interest) -> io::Result<()> {
        let fd = fd.as_fd();
        self.0.modify(fd, &mut EpollEvent::new(interest.0, token)).map_err(|cause| {
            failed(format!("change descriptor {} in epoll", fd.as_raw_fd()), cause)
        })
    }

    /// Removes a descriptor. Closing it does so too, if it was not duplicated.
    pub fn remove(&self, fd: impl AsFd) -> io::Result<()> {
        let fd = fd.as_fd();
        self.0.delete(fd).map_err(|cause| {
            failed(format!("remove descriptor {} from epoll", fd.as_raw_fd()), cause)
        })
    }

    /// Waits for events: at most `timeout_ms`, for ever if that is `None`. Returns how many are in
    /// `events` now; 0 when the time is over or a signal came.
    pub fn wait(&self, events: &mut Events, timeout_ms: Option<u32>) -> io::Result<usize> {
        let timeout = match timeout_ms {
            None => EpollTimeout::NONE,
            // Longer than 24 days: the caller comes back early, which it must stand anyway.
            Some(ms) => EpollTimeout::try_from(ms).unwrap_or(EpollTimeout::MAX),
        };
        events.count = 0;
        match self.0.wait(&mut events.list, timeout) {
            Ok(count) => events.count = count,
            Err(Errno::EINTR) => {}
            Err(cause) => return Err(failed("wait for events", cause)),
        }
        Ok(events.count)
    }
}

impl AsFd for Epoll {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.0.as_fd()
    }
}

/// Room for the events of one wait.
pub struct Events {
    list: Box<[EpollEvent]>,
    count: usize,
}

impl Events {
    /// Room for `capacity` (at least 1) events; more stay in the kernel for the next wait.
    pub fn with_capacity(capacity: usize) -> Events {
        Events { list: vec![EpollEvent::empty(); capacity.max(1)].into(), count: 0 }
    }

    /// The events of the last wait.
    pub fn iter(&self) -> impl Iterator<Item = Event> + '_ {
        self.list[..self.count]
            .iter()
            .map(|event| Event { token: event.data(), flags: event.events() })
    }

    /// Event number `at` of the last wait, for loops that change what they iterate over.
    pub fn get(&self, at: usize) -> Option<Event> {
        let event = self.list[..self.count].get(at)?;
        Some(Event { token: event.data(), flags: event.events() })
    }

    /// Number of events of the last wait.
    pub fn len(&self) -> usize {
        self.count
    }

    /// True if the last wait brought nothing.
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }
}

/// What happened to one descriptor.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Event {
    /// The token it was registered with.
    pub token: u64,
    flags: EpollFlags,
}

impl Event {
    /// There is input, or the end of it.
    #[inline]
    pub fn readable(self) -> bool {
        self.flags.contains(EpollFlags::EPOLLIN)
    }
    /// Output is taken.
    #[inline]
    pub fn writable(self) -> bool {
        self.flags.contains(EpollFlags::EPOLLOUT)
    }
    /// The peer sends nothing more.
    #[inline]
    pub fn rdhup(self) -> bool {
        self.flags.contains(EpollFlags::EPOLLRDHUP)
    }
    /// Both directions are gone.
    #[inline]
    pub fn hangup(self) -> bool {
        self.flags.contains(EpollFlags::EPOLLHUP)
    }
    /// The socket has an error.
    #[inline]
    pub fn error(self) -> bool {
        self.flags.contains(EpollFlags::EPOLLERR)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sys::socket;
    use std::io::{Read, Write};
    use std::os::unix::net::UnixStream;

    fn tokens(epoll: &Epoll, events: &mut Events) -> Vec<u64> {
        epoll.wait(events, Some(0)).expect("a wait");
        events.iter().map(|event| event.token).collect()
    }

    #[test]
    fn an_edge_is_reported_once_and_a_level_as_long_as_it_lasts() {
        let (mut far, mut near) = UnixStream::pair().expect("a socket pair");
        let again = near.try_clone().expect("a second descriptor");
        let (epoll, mut events) = (Epoll::new().expect("a set"), Events::with_capacity(8));
        epoll.add(&near, u64::MAX, Interest::CONNECTION).expect("a new descriptor");
        assert!(epoll.add(&near, 2, Interest::READABLE).is_err(), "it is in the set");
        epoll.add(&again, 1, Interest::READABLE).expect("a new descriptor");

        assert_eq!(tokens(&epoll, &mut events), [u64::MAX]);
        assert!(events.get(0).is_some_and(|event| event.writable() && !event.readable()));
        assert!(tokens(&epoll, &mut events).is_empty());
        assert!(events.is_empty());

        far.write_all(b"x").expect("the pair is open");
        let mut both = tokens(&epoll, &mut events);
        both.sort_unstable();
        assert_eq!(both, [1, u64::MAX]);
        assert_eq!(tokens(&epoll, &mut events), [1], "the edge was reported");
        near.read_exact(&mut [0]).expect("the byte that was sent");
        assert!(tokens(&epoll, &mut events).is_empty());

        epoll.modify(&again, 3, Interest::NOTHING).expect("it is in the set");
        far.write_all(b"y").expect("the pair is open");
        assert_eq!(tokens(&epoll, &mut events), [u64::MAX]);
        epoll.remove(&again).expect("it is in the set");
        assert!(epoll.remove(&again).is_err(), "it is no more");
    }

    #[test]
    fn both_kinds_of_end_are_told_apart() {
        let (far, near) = UnixStream::pair().expect("a socket pair");
        let (epoll, mut events) = (Epoll::new().expect("a set"), Events::with_capacity(1));
        epoll.add(&near, 1, Interest::CONNECTION).expect("a new descriptor");
        assert_eq!(tokens(&epoll, &mut events), [1]);
        socket::shutdown_write(&far).expect("the pair is open");
        assert_eq!(tokens(&epoll, &mut events), [1]);
        let event = events.get(0).expect("there is one");
        assert!(event.rdhup() && event.readable() && !event.hangup() && !event.error());
        drop(far);
        assert_eq!(tokens(&epoll, &mut events), [1]);
        assert!(events.get(0).is_some_and(Event::hangup));
        assert_eq!(events.get(1), None);
    }

    #[test]
    fn a_full_set_gives_the_rest_at_the_next_wait() {
        let pairs: Vec<_> = (0..5).map(|_| UnixStream::pair().expect("a socket pair")).collect();
        let (epoll, mut events) = (Epoll::new().expect("a set"), Events::with_capacity(2));
        for (at, (near, _)) in pairs.iter().enumerate() {
            epoll.add(near, at as u64, Interest::CONNECTION).expect("a new descriptor");
        }
        let mut all: Vec<u64> = (0..3).flat_map(|_| tokens(&epoll, &mut events)).collect();
        all.sort_unstable();
        assert_eq!(all, [0, 1, 2, 3, 4]);
    }
}
