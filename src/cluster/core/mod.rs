//! The decisions of a cluster node, as pure functions of what happened.
//!
//! ```text
//!   slots      key -> hash slot -> shard -> group
//!   placement  nodes -> ring of virtual nodes -> which three nodes hold a group, which one leads
//!   node       all replicas of a node: step(now, NodeInput) -> outputs
//!     |- table     what the whole cluster agrees on: nodes, placement, replica ids
//!     |- message   what nodes tell each other
//!     |- birth     how a cluster comes to be, once
//!     `- log       records of what is to be durable, and back from them
//!   group      one replica of one group: step(now, Input) -> outputs
//!     |- tail      the log that the library reads, as handed to the driver for writing
//!     |- entry     requests and log time <-> bytes of an entry
//!     |- lease     when a leader may answer alone, when a follower must keep silent
//!     |- reads     rounds of read-index, and reads that wait to be applied
//!     |- fate      what became of a request that was proposed
//!     |- election  who campaigns first
//!     `- replace   learner, catching up, joint configuration, removal
//! ```
//!
//! Consensus itself is the `raft` crate; only this room names it. The rules that the room keeps,
//! cited as `C5`, are in `docs/cluster.md`.
//!
//! Invariants: time and messages come in as arguments and leave as outputs; there is no socket, no
//! clock, no thread, no file and no chance in here, so that equal inputs give equal outputs. A
//! panic of the library means that what a node promised is not what it has: it is left to end the
//! process.

pub mod birth;
pub mod election;
pub mod entry;
pub mod fate;
pub mod group;
pub mod lease;
pub mod log;
pub mod message;
pub mod node;
pub mod placement;
pub mod reads;
pub mod replace;
pub mod slots;
pub mod table;
pub mod tail;
pub mod touched;

pub use group::{Group, Input, Output};
pub use node::{Node, NodeConfig, NodeInput, NodeOutput};
pub use raft::StateRole;
pub use raft::eraftpb::{ConfState, Entry, EntryType, HardState, Message, MessageType, Snapshot};
