//! A node of a simulation: its clock, its disk and its replicas.

use super::disk::{Disk, Stored};
use super::machine::Machine;
use dse::cluster::core::group::{Committed, Start};
use dse::cluster::core::{Group, Snapshot, entry};
use std::collections::VecDeque;

/// A clock that runs while the node is stopped or down, at a rate of its own.
#[derive(Clone, Copy, Debug)]
pub struct Clock {
    pub offset_us: u64,
    /// Millionths of a microsecond of this clock for each of real time.
    pub rate_ppm: u64,
}

impl Clock {
    pub fn at(&self, now: u64) -> u64 {
        self.offset_us + (u128::from(now) * u128::from(self.rate_ppm) / 1_000_000) as u64
    }

    /// Real time for a time by this clock.
    pub fn real(&self, local_us: u64) -> u64 {
        (u128::from(local_us) * 1_000_000 / u128::from(self.rate_ppm)) as u64
    }
}

/// What a replica has to do with its state, in order.
pub enum Work {
    Apply(Vec<Committed>),
    Restore(Snapshot),
}

/// One replica that runs.
pub struct Replica {
    pub core: Group,
    pub machine: Machine,
    pub work: VecDeque<Work>,
    /// Its state is applied later.
    pub lags: bool,
    /// Index of the last snapshot that was cut.
    pub cut: u64,
    /// Requests that wait to share an entry, as (ticket, bytes).
    pub requests: Vec<(u64, Vec<u8>)>,
}

impl Replica {
    /// Goes on with what is durable.
    pub fn start(stored: &Stored, order: Vec<u64>, now_us: u64) -> Replica {
        let snapshot = stored.snapshot.clone();
        let cut = snapshot.get_metadata().index;
        let machine = restored(&snapshot);
        let start = Start {
            replica: stored.replica,
            hard_state: stored.hard_state.clone(),
            snapshot,
            entries: stored.entries.clone(),
            order,
        };
        let core = Group::new(start, now_us).expect("what is durable fits together");
        Replica { core, machine, work: VecDeque::new(), lags: false, cut, requests: Vec::new() }
    }
}

/// The state of a snapshot; nothing if it is the snapshot of nothing.
pub fn restored(snapshot: &Snapshot) -> Machine {
    let split = entry::split_time(&snapshot.data);
    split.map_or_else(Machine::default, |(time_us, bytes)| Machine::from_bytes(time_us, bytes))
}

/// A node.
pub struct Node {
    pub clock: Clock,
    pub disk: Disk,
    /// By group; all absent while the node is down.
    pub replicas: Vec<Option<Replica>>,
    pub is_up: bool,
    /// Counts starts: what was scheduled for an earlier life does not happen.
    pub life: u64,
    /// Stopped until then: whatever happens, happens to it later.
    pub stopped_until: u64,
    /// The node crashes when it has done so many more things.
    pub fuse: Option<u64>,
}

impl Node {
    pub fn new(clock: Clock, stored: Vec<Stored>) -> Node {
        let replicas = stored.iter().map(|_| None).collect();
        Node {
            clock,
            disk: Disk::new(stored),
            replicas,
            is_up: false,
            life: 0,
            stopped_until: 0,
            fuse: None,
        }
    }

    /// Burns the fuse by one; true if the node crashes now.
    pub fn blows(&mut self) -> bool {
        let Some(left) = &mut self.fuse else { return false };
        *left = left.saturating_sub(1);
        *left == 0
    }
}
