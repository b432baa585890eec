//! MONITOR: connections that see every command.

use super::node::NodeHub;
use crate::net::{Card, ConnId};
use crate::resp::Args;
use crate::util::quote;
use std::fmt::Write;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError};

/// The monitoring connections.
#[derive(Default)]
pub struct Monitors {
    /// Looked at before every command, so it is kept apart from the list.
    count: AtomicUsize,
    list: Mutex<Vec<ConnId>>,
}

impl Monitors {
    /// True when anyone monitors.
    #[inline]
    pub fn any(&self) -> bool {
        self.count.load(Relaxed) != 0
    }

    /// `id` sees every command from now on.
    pub fn add(&self, id: ConnId) {
        let mut list = self.list.lock().unwrap_or_else(PoisonError::into_inner);
        if !list.contains(&id) {
            list.push(id);
        }
        self.count.store(list.len(), Relaxed);
    }

    /// `id` sees none any more.
    pub fn remove(&self, id: ConnId) {
        let mut list = self.list.lock().unwrap_or_else(PoisonError::into_inner);
        list.retain(|other| *other != id);
        self.count.store(list.len(), Relaxed);
    }

    /// Shows a command to all who monitor: `time [db peer] "name" "argument" ...`.
    #[cold]
    pub fn feed(&self, hub: &NodeHub, card: &Card, db: u8, now_us: u64, args: Args<'_>) {
        let mut line = format!("+{}.{:06} [{db} ", now_us / 1_000_000, now_us % 1_000_000);
        match card.peer() {
            Some(crate::net::Peer::Unix(path)) => {
                let _ = write!(line, "unix:{}]", path.display()); // writing to a String cannot fail
            }
            Some(peer) => {
                let _ = write!(line, "{peer}]");
            }
            None => line.push_str("?]"),
        }
        for arg in args.iter_from(0) {
            line.push(' ');
            line.push_str(&quote::quoted(arg));
        }
        line.push_str("\r\n");
        let message: Arc<[u8]> = line.into_bytes().into();
        let list = self.list.lock().unwrap_or_else(PoisonError::into_inner).clone();
        for id in list {
            if !hub.send(id, &message, 0) {
                self.remove(id);
            }
        }
    }
}
