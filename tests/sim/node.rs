//! A node of a simulation: its clock, its disk, its core, and what its data groups keep.

use super::desk::Desk;
use super::disk::Disk;
use super::machine::Machine;
use super::net::NODES;
use super::world::{DATA_GROUPS, GROUPS, id_of};
use dse::cluster::core::group::Committed;
use dse::cluster::core::message::{NodeId, node_id};
use dse::cluster::core::table::Addresses;
use dse::cluster::core::{Group, Node as Core, NodeConfig, Snapshot, StateRole, entry};
use dse::driver::beats::Beats;
use dse::engine::ProcessClock;
use std::collections::VecDeque;
use std::sync::LazyLock;

/// Wall time at the beginning of a simulation.
pub const BORN_US: u64 = 1_000_000;

/// A clock that runs while the node is stopped or down, at a rate of its own.
#[derive(Clone, Copy, Debug)]
pub struct Clock {
    pub offset_us: u64,
    /// Millionths of a microsecond of this clock for each of real time.
    pub rate_ppm: u64,
    /// How far its wall clock is ahead of the right one. It jumps.
    pub wall_ahead_us: i64,
}

impl Clock {
    pub fn at(&self, now: u64) -> u64 {
        self.offset_us + (u128::from(now) * u128::from(self.rate_ppm) / 1_000_000) as u64
    }

    /// Microseconds since 1970 by its wall clock. The simulation begins a second after that.
    pub fn wall(&self, now: u64) -> u64 {
        (BORN_US + now).saturating_add_signed(self.wall_ahead_us)
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

/// The state of one data group.
pub struct Replica {
    pub machine: Machine,
    pub work: VecDeque<Work>,
    /// Its state is applied later.
    pub lags: bool,
    /// Until then it applies nothing.
    pub slow_until: u64,
    /// When something was applied last, by the clock of its node.
    pub applied_us: u64,
    /// Index of the last snapshot that was cut.
    pub cut: u64,
}

impl Replica {
    /// Begins with a snapshot.
    pub fn begin(snapshot: &Snapshot) -> Replica {
        let cut = snapshot.get_metadata().index;
        let machine = restored(snapshot);
        let work = VecDeque::new();
        Replica { machine, work, lags: false, slow_until: 0, applied_us: 0, cut }
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
    /// Absent while the node is down.
    pub core: Option<Core>,
    /// Requests of its clients, and of other nodes.
    pub desk: Desk,
    /// Heartbeats, and answers to them, that wait for others.
    pub beats: Beats,
    /// By data group.
    pub replicas: Vec<Option<Replica>>,
    /// Counts starts: what was scheduled for an earlier life does not happen.
    pub life: u64,
    /// Stopped until then: whatever happens, happens to it later.
    pub stopped_until: u64,
    /// The clock of its process (C3), and what it showed last: boot time and reading, ns.
    pub process: ProcessClock,
    pub shown_ns: (u64, u64),
    /// Its disk was found too slow to lead.
    pub was_slow: bool,
    /// The node crashes when it has done so many more things.
    pub fuse: Option<u64>,
}

impl Node {
    pub fn new(clock: Clock) -> Node {
        Node {
            clock,
            disk: Disk::new(),
            core: None,
            desk: Desk::new(0),
            beats: Beats::default(),
            replicas: (0..DATA_GROUPS).map(|_| None).collect(),
            life: 0,
            stopped_until: 0,
            process: ProcessClock::at(0, 0),
            shown_ns: (0, 0),
            was_slow: false,
            fuse: None,
        }
    }

    pub fn is_up(&self) -> bool {
        self.core.is_some()
    }

    /// The replica of a group here, by its place in the simulation.
    pub fn group(&self, group: usize) -> Option<&Group> {
        self.core.as_ref()?.group(id_of(group))
    }

    /// The term in which a group is led here.
    pub fn leads(&self, group: usize) -> Option<u64> {
        let role = self.group(group)?.role();
        (role.role == StateRole::Leader).then_some(role.term)
    }

    /// Burns the fuse by one; true if the node crashes now.
    pub fn blows(&mut self) -> bool {
        let Some(left) = &mut self.fuse else { return false };
        *left = left.saturating_sub(1);
        *left == 0
    }

    /// True if everything that this node was given in exchange for a lost disk is in use.
    pub fn is_settled(&self) -> bool {
        let Some(table) = self.core.as_ref().and_then(|core| core.table()) else { return false };
        let is_settled = |group: usize| {
            let placed = &table.groups[&id_of(group)];
            let wanted: Vec<u64> = placed.replicas.iter().map(|home| home.replica).collect();
            let core = self.group(group);
            placed.leaving.is_empty() && core.is_some_and(|core| core.is_settled(&wanted))
        };
        (0..GROUPS).all(is_settled)
    }
}

/// The id of a node.
pub fn id_of_node(node: usize) -> NodeId {
    static IDS: LazyLock<[NodeId; NODES]> =
        LazyLock::new(|| std::array::from_fn(|node| node_id(&name(node))));
    IDS[node]
}

pub fn name(node: usize) -> String {
    format!("node-{node}")
}

/// What a node is told at its start, with `chance` of its own; its port differs each time.
pub fn config(node: usize, chance: u64, wall_us: u64) -> NodeConfig {
    let listed = (0..NODES).map(|listed| {
        let port = if listed == node { (chance % 4) as u16 } else { 0 };
        let addresses = Addresses { host: "sim".into(), port, ..Addresses::default() };
        (name(listed), addresses)
    });
    NodeConfig {
        name: name(node),
        listed: listed.collect(),
        data_groups: DATA_GROUPS as u16,
        random: chance,
        wall_us,
    }
}
