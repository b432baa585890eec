//! Accepting connections.
//!
//! Worker 0 accepts; the listeners may be exchanged at any time from any thread. They are changed
//! and accepted from under one lock, so that a port is free the moment its listener is dropped.
//! A connection goes to the worker with the fewest. When the
//! process runs out of descriptors the listener rests until a later tick instead of spinning;
//! when `maxclients` are open, a newcomer is told so and closed.

use super::card::{Opening, Peer};
use super::hub::{ConnId, Hub};
use super::service::Service;
use super::turn::Link;
use crate::limits::ACCEPTS_PER_EVENT;
use crate::sync::turn::Finish;
use crate::sys::epoll::{Epoll, Interest};
use crate::sys::socket::{self, Accepted};
use std::io::ErrorKind;
use std::net::SocketAddr;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::sync::atomic::Ordering::Relaxed;

/// A socket that connections are accepted from.
pub struct Listener {
    fd: OwnedFd,
    place: Place,
}

/// Where a listener is reached.
enum Place {
    Tcp(SocketAddr),
    Unix(PathBuf),
}

/// The listeners, and whether they are watched.
pub(super) struct Gate {
    listeners: Vec<Listener>,
    /// Nobody is accepted before worker 0 runs, or while no descriptor is free.
    resting: bool,
}

/// How an attempt to accept ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Accepting {
    /// Nobody waits any more, or enough were taken for now.
    Done,
    /// No descriptor is free: try again later.
    Exhausted,
}

impl Gate {
    pub(super) fn new() -> Gate {
        Gate { listeners: Vec::new(), resting: true }
    }

    /// Accepts from the listener that has `place` in the list, if there is one.
    pub(super) fn accept<S: Service>(&mut self, hub: &Hub<S>, epoll: &Epoll, place: usize) {
        let Some(listener) = self.listeners.get(place) else { return };
        if listener.accept_some(hub) == Accepting::Exhausted && !self.resting {
            tracing::warn!("no descriptor is free: new connections wait");
            self.rest(epoll);
        }
    }

    /// Watches the listeners (again), each under `first_token` plus its place.
    pub(super) fn watch(&mut self, epoll: &Epoll, first_token: u64) {
        if !std::mem::replace(&mut self.resting, false) {
            return;
        }
        for (token, listener) in (first_token..).zip(&self.listeners) {
            if let Err(error) = epoll.add(&listener.fd, token, Interest::LISTENER) {
                tracing::warn!(%error, "cannot watch a listening socket");
            }
        }
    }

    /// Lets `change` exchange listeners. Places may be others afterwards: an event that was
    /// collected before reaches the wrong listener, where nobody may wait.
    pub(super) fn change<R>(
        &mut self,
        epoll: &Epoll,
        first_token: u64,
        change: impl FnOnce(&mut Vec<Listener>) -> R,
    ) -> R {
        let was_resting = self.resting;
        self.rest(epoll);
        let changed = change(&mut self.listeners);
        if !was_resting {
            self.watch(epoll, first_token);
        }
        changed
    }

    /// Watches no listener for a while.
    fn rest(&mut self, epoll: &Epoll) {
        if std::mem::replace(&mut self.resting, true) {
            return;
        }
        for listener in &self.listeners {
            // One that stays registered only costs rounds until it is watched again.
            let _ = epoll.remove(&listener.fd);
        }
    }
}

impl Listener {
    /// A TCP socket that listens on `address`.
    pub fn tcp(fd: OwnedFd, address: SocketAddr) -> Listener {
        Listener { fd, place: Place::Tcp(address) }
    }

    /// A listening unix socket bound to `path`.
    pub fn unix(fd: OwnedFd, path: &Path) -> Listener {
        Listener { fd, place: Place::Unix(path.into()) }
    }

    /// The address that it listens on; `None` of a unix socket.
    pub fn address(&self) -> Option<SocketAddr> {
        match self.place {
            Place::Tcp(address) => Some(address),
            Place::Unix(_) => None,
        }
    }

    /// Accepts until nobody waits, at most [`ACCEPTS_PER_EVENT`].
    fn accept_some<S: Service>(&self, hub: &Hub<S>) -> Accepting {
        for _ in 0..ACCEPTS_PER_EVENT {
            match socket::accept(self.fd.as_fd()) {
                Ok(accepted) => self.admit(hub, accepted),
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Accepting::Done,
                Err(error) if socket::is_fd_exhaustion(&error) => return Accepting::Exhausted,
                // The newcomer went away between knocking and being let in: the next one.
                Err(error) if socket::is_transient_accept_error(&error) => {}
                Err(error) => {
                    tracing::warn!(%error, "cannot accept connections");
                    return Accepting::Exhausted;
                }
            }
        }
        Accepting::Done
    }

    fn admit<S: Service>(&self, hub: &Hub<S>, accepted: Accepted) {
        let terms = hub.service.admission();
        let Some(index) = hub.reserve_slot(terms.connections_max) else {
            // Best effort: the socket's buffer is empty, so the few bytes fit or nothing does.
            let _ = socket::send(accepted.fd.as_fd(), terms.refusal);
            return;
        };
        if let Place::Tcp(_) = self.place {
            // A connection that cannot be tuned still works.
            let _ = socket::set_nodelay(accepted.fd.as_fd());
            if terms.keepalive_s > 0 {
                let _ = socket::set_keepalive(accepted.fd.as_fd(), terms.keepalive_s);
            }
        }
        let worker = hub.least_loaded();
        let Some(slot) = hub.slot(index) else { return };
        let (peer, local) = self.ends(&accepted);
        slot.card.move_in(Opening {
            id: hub.next_id(),
            fd: accepted.fd.as_raw_fd() as u32,
            worker: worker as u32,
            peer,
            local,
            now_ms: hub.service.now_ms(),
        });
        let session = match hub.service.open(&slot.card) {
            Ok(session) => session,
            Err(refusal) => {
                let _ = socket::send(accepted.fd.as_fd(), &refusal);
                slot.card.move_out();
                hub.give_back_slot(index);
                return;
            }
        };
        hub.posts[worker].connections.fetch_add(1, Relaxed);
        self.register(hub, index, worker, Link::new(accepted.fd, session));
    }

    /// Makes the connection known to its worker, and then to everybody.
    fn register<S: Service>(&self, hub: &Hub<S>, index: u32, worker: usize, link: Link<S>) {
        let Some(slot) = hub.slot(index) else { return };
        let generation = slot.cell.occupy(link);
        let id = ConnId { index, generation };
        // Nobody has heard of this generation yet, so the cell is idle. Within the turn an event
        // that comes at once is only noted.
        let Some(turn) = slot.cell.start(generation, 0) else { return };
        let added = hub.posts[worker].epoll.add(&turn.fd, id.to_bits(), Interest::CONNECTION);
        slot.card.name(generation);
        if let Err(error) = added {
            tracing::warn!(%error, "cannot watch a new connection");
            hub.close_turn(id, turn);
        } else if turn.finish() == Finish::Again {
            hub.push_ready(id);
        }
    }

    fn ends(&self, accepted: &Accepted) -> (Peer, Peer) {
        match &self.place {
            Place::Tcp(_) => {
                let peer = accepted.peer.clone();
                let local = socket::local_name(accepted.fd.as_fd()).unwrap_or(peer.clone());
                (peer, local)
            }
            Place::Unix(path) => (Peer::Unix(path.clone()), Peer::Unix(path.clone())),
        }
    }
}
