//! What nodes tell each other, and how nodes and groups are called.
//!
//! [`PeerMessage::Raft`] is of one group; how its fields are spelled on the wire is the driver's.
//! [`PeerMessage::Control`] concerns the node as a whole; its bytes are made and read here
//! ([`Control`]), and the driver carries them as they are.
//!
//! Invariant: whatever bytes a peer sends, reading them answers `None` or a message; what a message
//! may do is decided where it is taken in.

use super::log::codec;
use super::table::{Addresses, Table};
use crate::limits::{CLUSTER_GROUPS, CLUSTER_NAME_BYTES_MAX, CLUSTER_NODES_MAX};
use crate::util::wire::{Source, put_string, put_varint};
use raft::eraftpb::Message;

/// A node, by a hash of its name. It stays the same when addresses or disks change.
pub type NodeId = u64;
/// A group: data groups from 0 on, and [`META`].
pub type GroupId = u16;

/// The group that keeps what concerns the whole cluster.
pub const META: GroupId = CLUSTER_GROUPS as GroupId;

const VERSION: u8 = 1;

/// The id of the node of this name; never 0.
pub fn node_id(name: &str) -> NodeId {
    let fold = |hash: u64, byte: u8| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
    name.bytes().fold(0xcbf2_9ce4_8422_2325, fold).max(1)
}

/// What one node tells another.
#[derive(Clone, Debug, PartialEq)]
pub enum PeerMessage {
    /// Between replicas of one group.
    Raft {
        /// Which group.
        group: GroupId,
        /// `from` and `to` in it are replicas, not nodes.
        message: Message,
    },
    /// Between nodes: bytes of a [`Control`].
    Control(Vec<u8>),
}

/// Between nodes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Control {
    /// Who the sender is and what it knows; sent now and then to everybody.
    Hello(Hello),
    /// The newest table that the sender knows.
    Table(Table),
    /// The founding table, for a node that is not born to agree to.
    Found(Table),
    /// A command for the meta group, for its leader to propose.
    Command(Vec<u8>),
    /// The sender was told, at this moment, to lead these groups: whoever leads them is asked to
    /// hand them over.
    TakeOver(u64, Vec<GroupId>),
}

/// Who a node is and what it knows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hello {
    /// Its name.
    pub name: String,
    /// The random number that its disk was given at its first start.
    pub disk: u64,
    /// Where it is.
    pub addresses: Addresses,
    /// The nodes that it was told to form a cluster with, itself included, in order.
    pub listed: Vec<String>,
    /// How far its birth has come, durably.
    pub stage: Stage,
    /// It can lead groups: its disk is quick enough, and it is not about to end.
    pub fit: bool,
}

/// How far a node's birth has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    /// It was never part of a cluster.
    Unborn,
    /// It was part of this one (0: it does not know of which), and its log was damaged. It forms
    /// none, and asks to be let in again.
    Lost {
        /// Which cluster.
        cluster: u64,
    },
    /// It has the founding table of this cluster on its disk, and waits for the others.
    Prepared {
        /// Which cluster.
        cluster: u64,
    },
    /// It is part of this cluster.
    Member {
        /// Which cluster.
        cluster: u64,
        /// The newest table that it knows.
        version: u64,
    },
}

impl Control {
    /// The bytes of a message.
    pub fn encode(&self) -> Vec<u8> {
        let mut out = vec![VERSION];
        match self {
            Control::Hello(hello) => {
                out.push(1);
                hello.put(&mut out);
            }
            Control::Table(table) => {
                out.push(2);
                table.put(&mut out);
            }
            Control::Command(bytes) => {
                out.push(3);
                put_string(&mut out, bytes);
            }
            Control::Found(table) => {
                out.push(4);
                table.put(&mut out);
            }
            Control::TakeOver(moment, groups) => {
                out.push(6);
                out.extend_from_slice(&moment.to_le_bytes());
                put_varint(&mut out, groups.len() as u64);
                groups.iter().for_each(|group| out.extend_from_slice(&group.to_le_bytes()));
            }
        }
        out
    }

    /// Reads a message; `None` if it is of another version or not whole.
    pub fn decode(bytes: &[u8]) -> Option<Control> {
        let mut source = Source::new(bytes);
        let kind = (source.u8()? == VERSION).then(|| source.u8())??;
        let message = match kind {
            1 => Control::Hello(Hello::read(&mut source)?),
            2 => Control::Table(Table::read(&mut source)?),
            3 => Control::Command(source.string()?.to_vec()),
            4 => Control::Found(Table::read(&mut source)?),
            // 5 named no moment.
            6 => {
                let moment = source.u64()?;
                let groups = codec::list(&mut source, CLUSTER_GROUPS + 1, Source::u16)?;
                Control::TakeOver(moment, groups)
            }
            _ => return None,
        };
        source.is_empty().then_some(message)
    }
}

impl Hello {
    fn put(&self, out: &mut Vec<u8>) {
        put_string(out, self.name.as_bytes());
        out.extend_from_slice(&self.disk.to_le_bytes());
        self.addresses.put(out);
        put_varint(out, self.listed.len() as u64);
        self.listed.iter().for_each(|name| put_string(out, name.as_bytes()));
        let (code, cluster, version) = match self.stage {
            Stage::Unborn => (0, 0, 0),
            Stage::Prepared { cluster } => (1, cluster, 0),
            Stage::Member { cluster, version } => (2, cluster, version),
            Stage::Lost { cluster } => (3, cluster, 0),
        };
        out.push(code);
        out.extend_from_slice(&cluster.to_le_bytes());
        put_varint(out, version);
        out.push(self.fit.into());
    }

    fn read(source: &mut Source<'_>) -> Option<Hello> {
        let name = node_name(source)?;
        let disk = source.u64()?;
        let addresses = Addresses::read(source)?;
        let listed = codec::list(source, CLUSTER_NODES_MAX, node_name)?;
        let (code, cluster, version) = (source.u8()?, source.u64()?, codec::number(source)?);
        let stage = match code {
            0 => Stage::Unborn,
            1 => Stage::Prepared { cluster },
            2 => Stage::Member { cluster, version },
            3 => Stage::Lost { cluster },
            _ => return None,
        };
        let fit = codec::flag(source)?;
        Some(Hello { name, disk, addresses, listed, stage, fit })
    }
}

fn node_name(source: &mut Source<'_>) -> Option<String> {
    codec::name(source, CLUSTER_NAME_BYTES_MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn examples() -> Vec<Control> {
        let hello = |stage| {
            Control::Hello(Hello {
                name: "node-1".into(),
                disk: 77,
                addresses: Addresses {
                    host: "10.0.0.1".into(),
                    port: 6379,
                    redirect_port: 11379,
                    peer_port: 16379,
                },
                listed: vec!["node-1".into(), "node-2".into()],
                stage,
                fit: true,
            })
        };
        let member = Stage::Member { cluster: 9, version: 300 };
        let lost = Stage::Lost { cluster: 9 };
        let stages = [Stage::Unborn, Stage::Prepared { cluster: 9 }, member, lost];
        let mut all: Vec<Control> = stages.into_iter().map(hello).collect();
        all.extend([Control::Table(Table::example()), Control::Command(vec![1, 2])]);
        all.extend([Control::Found(Table::example()), Control::TakeOver(7, vec![3, META])]);
        all
    }

    #[test]
    fn messages_come_back_and_every_cut_of_them_is_refused() {
        for message in examples() {
            let bytes = message.encode();
            assert_eq!(Control::decode(&bytes), Some(message));
            for end in 0..bytes.len() {
                assert_eq!(Control::decode(&bytes[..end]), None, "cut at {end}");
            }
            assert_eq!(Control::decode(&[bytes, vec![0]].concat()), None);
        }
        assert_eq!(Control::decode(&[2, 3, 0]), None, "another version");
    }

    #[test]
    fn nodes_are_told_apart() {
        assert_ne!(node_id("node-1"), node_id("node-2"));
        assert_ne!(node_id(""), 0);
    }
}
