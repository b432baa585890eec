//! A node's disk: what is written waits for a sync, and a crash loses the end of what waits.
//!
//! All groups of a node share one queue, as they share one log; one sync makes durable all that was
//! written before it began.

use dse::cluster::core::group::{Checkpoint, Persist};
use dse::cluster::core::{Entry, HardState, Snapshot};
use std::collections::VecDeque;

/// What is durable of one replica.
#[derive(Clone, Debug, Default)]
pub struct Stored {
    pub replica: u64,
    pub hard_state: HardState,
    pub snapshot: Snapshot,
    pub entries: Vec<Entry>,
}

impl Stored {
    fn take(&mut self, write: Persist) {
        match write.checkpoint {
            Some(Checkpoint::Own(snapshot)) => {
                let index = snapshot.get_metadata().index;
                self.entries.retain(|entry| entry.index > index);
                self.snapshot = snapshot;
            }
            Some(Checkpoint::Received(snapshot)) => {
                self.entries.clear();
                self.snapshot = snapshot;
            }
            None => {}
        }
        if let Some(first) = write.entries.first() {
            self.entries.retain(|entry| entry.index < first.index);
            self.entries.extend(write.entries);
        }
        self.hard_state = write.hard_state;
    }

    /// Index of the last entry.
    pub fn last(&self) -> u64 {
        self.snapshot.get_metadata().index + self.entries.len() as u64
    }

    /// True if the entry of `index` and `term` is there, or in the snapshot.
    pub fn has(&self, index: u64, term: u64) -> bool {
        let before = self.snapshot.get_metadata().index;
        let behind = index.checked_sub(before + 1);
        behind.is_none_or(|at| self.entries.get(at as usize).is_some_and(|e| e.term == term))
    }
}

/// The disk of a node with several groups.
#[derive(Debug)]
pub struct Disk {
    pub stored: Vec<Stored>,
    queue: VecDeque<(usize, Persist)>,
    /// Writes at the front of the queue that the sync under way covers.
    syncing: usize,
    /// Microseconds that a sync takes at least.
    pub latency_us: u64,
}

impl Disk {
    pub fn new(stored: Vec<Stored>) -> Disk {
        Disk { stored, queue: VecDeque::new(), syncing: 0, latency_us: 200 }
    }

    pub fn write(&mut self, group: usize, write: Persist) {
        self.queue.push_back((group, write));
    }

    /// True if a sync begins now, since something waits and none is under way.
    pub fn begin_sync(&mut self) -> bool {
        let begins = self.syncing == 0 && !self.queue.is_empty();
        if begins {
            self.syncing = self.queue.len();
        }
        begins
    }

    /// The sync is done: returns the groups with the last token that is durable of each.
    pub fn synced(&mut self) -> Vec<(usize, u64)> {
        let mut tokens: Vec<(usize, u64)> = Vec::new();
        for (group, write) in self.queue.drain(..std::mem::take(&mut self.syncing)) {
            let token = write.token;
            match tokens.iter_mut().find(|(known, _)| *known == group) {
                Some(known) => known.1 = token,
                None => tokens.push((group, token)),
            }
            self.stored[group].take(write);
        }
        tokens
    }

    /// How many writes wait.
    pub fn waiting(&self) -> usize {
        self.queue.len()
    }

    /// The node ends: the first `survive` writes that wait have reached the disk, the others not.
    pub fn crash(&mut self, survive: usize) {
        for (group, write) in self.queue.drain(..).take(survive) {
            self.stored[group].take(write);
        }
        self.syncing = 0;
    }
}
