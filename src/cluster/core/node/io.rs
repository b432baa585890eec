//! What goes into a node and what comes out of it.

use super::super::birth::Refusal;
use super::super::fate::{Fate, Ticket};
use super::super::group::{Committed, Cut, Request, Role, StartError};
use super::super::message::{GroupId, NodeId, PeerMessage};
use super::super::reads::ReadMode;
use super::super::table::{Addresses, Table};
use raft::eraftpb::Snapshot;
use std::sync::Arc;

/// What a node is told at its start.
#[derive(Clone, Debug)]
pub struct NodeConfig {
    /// Its name.
    pub name: String,
    /// All nodes that it was told of, itself included, with their addresses.
    pub listed: Vec<(String, Addresses)>,
    /// Data groups of a cluster that is born now.
    pub data_groups: GroupId,
    /// Chance, different at every start.
    pub random: u64,
    /// Wall time in microseconds since 1970: where log time of a cluster that is born now begins.
    pub wall_us: u64,
}

/// What happened.
#[derive(Debug)]
pub enum NodeInput {
    /// Time has passed; to be given every 50 ms.
    Tick,
    /// It is this wall time, in microseconds since 1970, by a clock that may be wrong. Given now
    /// and then; log time is drawn towards it.
    Wall(u64),
    /// A peer, authenticated as this node, sent this.
    Receive {
        /// Which node.
        from: NodeId,
        /// What it sent.
        message: PeerMessage,
    },
    /// A connection to this node works.
    PeerUp(NodeId),
    /// There is no connection to this node any more.
    PeerDown(NodeId),
    /// Requests that wait together.
    Propose {
        /// Their group.
        group: GroupId,
        /// Tickets and bytes.
        requests: Vec<Request>,
    },
    /// A read that wants to know when it may be answered from what is applied.
    Read {
        /// Its group.
        group: GroupId,
        /// By which its end is told.
        ticket: Ticket,
        /// How fresh it must be.
        mode: ReadMode,
    },
    /// The group is being read under its lease without asking: keep the lease up.
    Reading(GroupId),
    /// Everything up to this record is durable.
    Persisted(u64),
    /// Everything up to this index is applied, or restored, or begun with.
    Applied {
        /// Which group.
        group: GroupId,
        /// The last index.
        index: u64,
    },
    /// A snapshot of the applied state was cut.
    Cut {
        /// Of which group.
        group: GroupId,
        /// What is in it.
        cut: Cut,
    },
    /// Log time of this group should be told, though there is no request.
    Clock(GroupId),
    /// Hands the leadership of a group to another node.
    Transfer {
        /// Which group.
        group: GroupId,
        /// To whom.
        to: NodeId,
    },
    /// Has all groups that this node holds handed over to it, as far as their leaders do that.
    TakeOver,
    /// Hands everything that is led here to others: the node is about to end.
    HandOver,
    /// The disk has become too slow to lead, or has recovered.
    SlowDisk(bool),
    /// The log has grown: state everything anew that lies far behind in it (C13). What must be kept
    /// then is what [`Node::needed_from`](super::Node::needed_from) says.
    Checkpoint,
    /// The same, of what was stated longest ago, until it takes so many bytes; of one group at
    /// least. Said again and again until [`Node::stated_from`](super::Node::stated_from) is behind
    /// where that began, it is a checkpoint in parts.
    State(usize),
}

/// What is to be done.
#[derive(Debug)]
pub enum NodeOutput {
    /// Append this record to the log, and report [`NodeInput::Persisted`].
    Persist {
        /// The number of the record: one more than that of the record before, also over restarts.
        token: u64,
        /// Its bytes.
        record: Vec<u8>,
    },
    /// Send this to a node, or lose it.
    Send {
        /// Which node.
        to: NodeId,
        /// What.
        message: PeerMessage,
    },
    /// A replica of this data group begins here with the state of this snapshot: at a birth, a
    /// restart, or empty (index 0) where it is to get everything from others. No report is needed.
    Begin {
        /// Which group.
        group: GroupId,
        /// Its data is log time (`entry::split_time`) and what a [`Cut`] had.
        snapshot: Snapshot,
    },
    /// There is no replica of this group here any more: let its state go.
    End {
        /// Which group.
        group: GroupId,
    },
    /// Apply these, and report [`NodeInput::Applied`].
    Apply {
        /// Which group.
        group: GroupId,
        /// In order, without gaps.
        entries: Vec<Committed>,
    },
    /// Put this durable snapshot in the place of the applied state, and report
    /// [`NodeInput::Applied`].
    Restore {
        /// Which group.
        group: GroupId,
        /// As it was received.
        snapshot: Snapshot,
    },
    /// Answer these reads from what is applied now.
    Answer {
        /// Which group.
        group: GroupId,
        /// The reads.
        tickets: Vec<Ticket>,
    },
    /// These requests or reads have come to an end.
    Fate {
        /// Which group.
        group: GroupId,
        /// Which end.
        fate: Fate,
        /// The requests.
        tickets: Vec<Ticket>,
    },
    /// Who leads a group has changed, as far as this node knows.
    Role {
        /// Which group.
        group: GroupId,
        /// What the replica here is.
        role: Role,
        /// The node that leads.
        leader: Option<NodeId>,
    },
    /// The newest table.
    Table(Arc<Table>),
    /// Some replica needs a newer snapshot of this group than the one at hand: cut one.
    WantSnapshot {
        /// Which group.
        group: GroupId,
    },
    /// This node sent what no node sends, and it was dropped: close the connection to it.
    Nonsense {
        /// Which node.
        from: NodeId,
        /// What was wrong with it.
        why: &'static str,
    },
    /// Something that a person would want to read.
    Event(Event),
}

/// Something that a person would want to read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// The node became part of this cluster.
    Born {
        /// Which cluster.
        cluster: u64,
    },
    /// The node was let into this cluster with an empty disk, and gets everything from others.
    Joined {
        /// Which cluster.
        cluster: u64,
    },
    /// The cluster is not formed before these nodes answer.
    Waits(Vec<String>),
    /// Something is wrong that a person has to mend.
    Refused(Refusal),
    /// The leadership of a group is handed to another node.
    HandsOver {
        /// Which group.
        group: GroupId,
        /// To whom.
        to: NodeId,
        /// For what reason.
        why: Reason,
    },
    /// The leaders of so many groups were asked to hand over to this node.
    TakesOver(usize),
    /// Another node was told to take over later than this one, which asks no more.
    CalledOff {
        /// Which node.
        by: NodeId,
    },
    /// A leader relies on what the replica here had acknowledged and does not have: the disk lost
    /// what it had called durable.
    Lacks {
        /// Of which group.
        group: GroupId,
    },
}

/// Why a leadership is handed to another node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reason {
    /// The table wants the other node to lead.
    Balance,
    /// The other node was told to take over.
    Asked,
    /// The disk of this node is slow.
    SlowDisk,
    /// This node is about to end.
    Ends,
    /// The driver said so.
    Told,
}

/// Why a node cannot begin.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NodeError {
    /// It is not among the nodes that it was told of.
    NotListed,
    /// Two of them have one name, or names that cannot be told apart.
    NameTwice(String),
    /// The log of this group is not whole.
    Group(GroupId, StartError),
    /// The snapshot of the meta group cannot be read.
    Table,
    /// A replica is missing that the log must have.
    Lacks,
}
