//! What the whole cluster agrees on: nodes, where groups live, who has which replica id.
//!
//! It is the state of the meta group: commands that are committed there change it, one after the
//! other, on every node alike. A cluster is born with a founding table, which is the snapshot of
//! index 1 of the meta group; data groups are born from it, and from nothing else (C2).
//!
//! Invariants: applying is a function of table and command; a command that is applied again changes
//! nothing, so that it may be sent again; a replica's id is given out once (C1).

use super::log::codec;
use super::message::{GroupId, META, NodeId, node_id};
use super::placement::{self, PlacementError};
use crate::limits::{
    CLUSTER_GROUPS, CLUSTER_HOST_BYTES_MAX, CLUSTER_NAME_BYTES_MAX, CLUSTER_NODES_MAX,
    CLUSTER_PEER_NUMBER_MAX, CLUSTER_REPLICAS, CLUSTER_TIME_US_MAX, GROUP_LEAVING_MAX,
    GROUP_MEMBERS_MAX,
};
use crate::util::wire::{Source, put_string, put_varint};
use std::collections::{BTreeMap, BTreeSet};

const VERSION: u8 = 1;

/// Where a node is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Addresses {
    /// Name or number of its machine, as others reach it.
    pub host: String,
    /// For clients, every key.
    pub port: u16,
    /// For clients that know where keys are.
    pub redirect_port: u16,
    /// For other nodes.
    pub peer_port: u16,
}

/// A node of the cluster.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Member {
    /// Its name, which stays.
    pub name: String,
    /// The random number of the disk that counts for this node.
    pub disk: u64,
    /// Where it was last.
    pub addresses: Addresses,
}

/// A replica and the node that it is on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Home {
    /// The replica's id, never used for another life (C1).
    pub replica: u64,
    /// Its node.
    pub node: NodeId,
}

/// Where a group lives.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Placed {
    /// The replicas that the group should have, in the order of the ring.
    pub replicas: Vec<Home>,
    /// Replicas that may still be in its configuration and are to go.
    pub leaving: Vec<Home>,
    /// The node that should lead.
    pub leader: NodeId,
}

/// What the cluster agrees on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Table {
    /// The random number of the cluster.
    pub cluster: u64,
    /// Counts changes.
    pub version: u64,
    /// Where log time began, in microseconds since 1970.
    pub born_us: u64,
    /// From which keys are hashed, alike on all nodes.
    pub hash_seed: u64,
    /// What entries may mean: the newest version that all nodes understand (C16).
    pub apply_version: u32,
    /// Replica ids below this one were born with the cluster.
    pub first_later: u64,
    /// The next replica id to give out.
    pub next_replica: u64,
    /// The nodes.
    pub nodes: BTreeMap<NodeId, Member>,
    /// The groups, [`META`] among them.
    pub groups: BTreeMap<GroupId, Placed>,
}

/// A change of the table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Command {
    /// A node is somewhere else now.
    Moved(NodeId, Addresses),
    /// A node lost its disk and comes back with another one: its replicas are to be replaced.
    Rejoined(NodeId, u64, Addresses),
    /// A group has the replicas that it should have, and these left it.
    Settled(GroupId, Vec<u64>),
}

impl Table {
    /// The table that a cluster of these nodes is born with: `data_groups` groups and the meta
    /// group, placed by the ring. All chance comes from `random`.
    pub fn founding(
        members: Vec<Member>,
        data_groups: GroupId,
        random: [u64; 2],
        born_us: u64,
    ) -> Result<Table, PlacementError> {
        let nodes: BTreeMap<NodeId, Member> =
            members.into_iter().map(|member| (node_id(&member.name), member)).collect();
        let ids: Vec<NodeId> = nodes.keys().copied().collect();
        let groups: Vec<GroupId> = (0..data_groups).chain([META]).collect();
        let replicas = CLUSTER_REPLICAS.min(ids.len());
        let placements = placement::place(&ids, groups.len(), replicas)?;
        let mut next_replica = 1;
        let mut place = |placement: placement::Placement| {
            let homes = placement.replicas.iter().map(|&node| {
                next_replica += 1;
                Home { replica: next_replica - 1, node }
            });
            Placed { replicas: homes.collect(), leaving: Vec::new(), leader: placement.leader }
        };
        let groups = groups.into_iter().zip(placements.into_iter().map(&mut place)).collect();
        Ok(Table {
            cluster: random[0],
            version: 1,
            born_us,
            hash_seed: random[1],
            apply_version: 1,
            first_later: next_replica,
            next_replica,
            nodes,
            groups,
        })
    }

    /// The replica of a group that should be on a node.
    pub fn replica_on(&self, group: GroupId, node: NodeId) -> Option<u64> {
        let placed = self.groups.get(&group)?;
        placed.replicas.iter().find(|home| home.node == node).map(|home| home.replica)
    }

    /// True if a table holds together: whoever acts on it relies on that. It is looked at where a
    /// table comes in, from a peer or from a disk.
    fn is_sound(&self) -> bool {
        let all = || self.groups.values().flat_map(|placed| placed.replicas.iter());
        let leaving = || self.groups.values().flat_map(|placed| placed.leaving.iter());
        let mut seen = BTreeSet::new();
        let is_sound = |home: &Home| {
            let is_given = (1..self.next_replica).contains(&home.replica);
            is_given && self.nodes.contains_key(&home.node)
        };
        self.cluster != 0
            && self.born_us <= CLUSTER_TIME_US_MAX
            && self.first_later <= self.next_replica
            && self.groups.contains_key(&META)
            && self.groups.keys().all(|group| usize::from(*group) <= CLUSTER_GROUPS)
            && self.groups.values().all(Placed::is_sound)
            && all().chain(leaving()).all(is_sound)
            && all().chain(leaving()).all(|home| seen.insert(home.replica))
    }

    /// True if this is a table that a cluster is born with.
    pub fn is_founding(&self) -> bool {
        let is_first = |placed: &Placed| placed.leaving.is_empty();
        self.is_near()
            && self.first_later == self.next_replica
            && self.groups.values().all(is_first)
    }

    /// True if what is counted on from here can be read again.
    fn is_near(&self) -> bool {
        self.version.max(self.next_replica) <= CLUSTER_PEER_NUMBER_MAX
    }

    /// True if this can be a later table of the cluster that `known` is of.
    pub fn follows(&self, known: &Table) -> bool {
        self.is_near()
            && self.version >= known.version
            && self.cluster == known.cluster
            && (self.born_us, self.hash_seed) == (known.born_us, known.hash_seed)
            && self.first_later == known.first_later
            && self.next_replica >= known.next_replica
            && self.nodes.keys().eq(known.nodes.keys())
            && self.groups.keys().eq(known.groups.keys())
    }

    /// Applies a command; true if it changed something.
    pub fn apply(&mut self, command: &Command) -> bool {
        let changed = match command {
            Command::Moved(node, addresses) => self.moved(*node, addresses),
            Command::Rejoined(node, disk, addresses) => self.rejoined(*node, *disk, addresses),
            Command::Settled(group, gone) => self.settled(*group, gone),
        };
        self.version += u64::from(changed);
        changed
    }

    fn moved(&mut self, node: NodeId, addresses: &Addresses) -> bool {
        let member = self.nodes.get_mut(&node);
        let Some(member) = member.filter(|member| member.addresses != *addresses) else {
            return false;
        };
        member.addresses = addresses.clone();
        true
    }

    /// Every replica of the node gets a new id: what the lost disk had acknowledged is not there.
    /// Not while too many of former lives are still to leave.
    fn rejoined(&mut self, node: NodeId, disk: u64, addresses: &Addresses) -> bool {
        if self.groups.values().any(|placed| placed.leaving.len() >= GROUP_LEAVING_MAX) {
            return false;
        }
        let member = self.nodes.get_mut(&node).filter(|member| member.disk != disk);
        let Some(member) = member else { return false };
        (member.disk, member.addresses) = (disk, addresses.clone());
        for placed in self.groups.values_mut() {
            for home in placed.replicas.iter_mut().filter(|home| home.node == node) {
                placed.leaving.push(*home);
                home.replica = self.next_replica;
                self.next_replica += 1;
            }
        }
        true
    }

    fn settled(&mut self, group: GroupId, gone: &[u64]) -> bool {
        let Some(placed) = self.groups.get_mut(&group) else { return false };
        let before = placed.leaving.len();
        placed.leaving.retain(|home| !gone.contains(&home.replica));
        placed.leaving.len() < before
    }

    /// The bytes of the table.
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Vec::new();
        self.put(&mut out);
        out
    }

    /// Reads a table; `None` if it is of another version or not whole.
    pub fn decode(bytes: &[u8]) -> Option<Table> {
        let mut source = Source::new(bytes);
        let table = Table::read(&mut source)?;
        source.is_empty().then_some(table)
    }

    /// Appends the bytes of the table.
    pub fn put(&self, out: &mut Vec<u8>) {
        out.push(VERSION);
        let numbers = [self.cluster, self.born_us, self.hash_seed];
        numbers.iter().for_each(|number| out.extend_from_slice(&number.to_le_bytes()));
        put_varint(out, self.version);
        put_varint(out, self.apply_version.into());
        put_varint(out, self.first_later);
        put_varint(out, self.next_replica);
        put_varint(out, self.nodes.len() as u64);
        self.nodes.values().for_each(|member| member.put(out));
        put_varint(out, self.groups.len() as u64);
        for (group, placed) in &self.groups {
            out.extend_from_slice(&group.to_le_bytes());
            put_homes(out, &placed.replicas);
            put_homes(out, &placed.leaving);
            out.extend_from_slice(&placed.leader.to_le_bytes());
        }
    }

    /// Reads a table from the front of `source`.
    pub fn read(source: &mut Source<'_>) -> Option<Table> {
        if source.u8()? != VERSION {
            return None;
        }
        let (cluster, born_us, hash_seed) = (source.u64()?, source.u64()?, source.u64()?);
        let version = codec::number(source)?;
        let apply_version = source.varint()?.try_into().ok()?;
        let (first_later, next_replica) = (codec::number(source)?, codec::number(source)?);
        let members = codec::list(source, CLUSTER_NODES_MAX, Member::read)?;
        let placed = codec::list(source, CLUSTER_GROUPS + 1, placed)?;
        let (nodes_count, groups_count) = (members.len(), placed.len());
        let named = |member: Member| (node_id(&member.name), member);
        let nodes: BTreeMap<_, _> = members.into_iter().map(named).collect();
        let groups: BTreeMap<_, _> = placed.into_iter().collect();
        let is_each_once = (nodes.len(), groups.len()) == (nodes_count, groups_count);
        let table = Table {
            cluster,
            version,
            born_us,
            hash_seed,
            apply_version,
            first_later,
            next_replica,
            nodes,
            groups,
        };
        (is_each_once && table.is_sound()).then_some(table)
    }
}

impl Placed {
    fn is_sound(&self) -> bool {
        let nodes: BTreeSet<NodeId> = self.replicas.iter().map(|home| home.node).collect();
        nodes.len() == self.replicas.len() && nodes.contains(&self.leader)
    }
}

impl Member {
    fn put(&self, out: &mut Vec<u8>) {
        put_string(out, self.name.as_bytes());
        out.extend_from_slice(&self.disk.to_le_bytes());
        self.addresses.put(out);
    }

    fn read(source: &mut Source<'_>) -> Option<Member> {
        let name = codec::name(source, CLUSTER_NAME_BYTES_MAX)?;
        Some(Member { name, disk: source.u64()?, addresses: Addresses::read(source)? })
    }
}

impl Addresses {
    /// Appends the bytes of the addresses.
    pub fn put(&self, out: &mut Vec<u8>) {
        put_string(out, self.host.as_bytes());
        let ports = [self.port, self.redirect_port, self.peer_port];
        ports.iter().for_each(|port| out.extend_from_slice(&port.to_le_bytes()));
    }

    /// Reads addresses.
    pub fn read(source: &mut Source<'_>) -> Option<Addresses> {
        let host = codec::name(source, CLUSTER_HOST_BYTES_MAX)?;
        let (port, redirect_port, peer_port) = (source.u16()?, source.u16()?, source.u16()?);
        Some(Addresses { host, port, redirect_port, peer_port })
    }
}

impl Command {
    /// The bytes of a command: a request of the meta group.
    pub fn encode(&self) -> Vec<u8> {
        let mut out = vec![VERSION];
        match self {
            Command::Moved(node, addresses) => {
                out.push(1);
                out.extend_from_slice(&node.to_le_bytes());
                addresses.put(&mut out);
            }
            Command::Rejoined(node, disk, addresses) => {
                out.push(2);
                out.extend_from_slice(&node.to_le_bytes());
                out.extend_from_slice(&disk.to_le_bytes());
                addresses.put(&mut out);
            }
            Command::Settled(group, gone) => {
                out.push(3);
                out.extend_from_slice(&group.to_le_bytes());
                codec::put_ids(&mut out, gone);
            }
        }
        out
    }

    /// Reads a command; `None` if it is of another version or not whole.
    pub fn decode(bytes: &[u8]) -> Option<Command> {
        let mut source = Source::new(bytes);
        let kind = (source.u8()? == VERSION).then(|| source.u8())??;
        let command = match kind {
            1 => Command::Moved(source.u64()?, Addresses::read(&mut source)?),
            2 => {
                let (node, disk) = (source.u64()?, source.u64()?);
                Command::Rejoined(node, disk, Addresses::read(&mut source)?)
            }
            3 => Command::Settled(source.u16()?, codec::ids(&mut source)?),
            _ => return None,
        };
        source.is_empty().then_some(command)
    }
}

fn put_homes(out: &mut Vec<u8>, homes: &[Home]) {
    put_varint(out, homes.len() as u64);
    for home in homes {
        put_varint(out, home.replica);
        out.extend_from_slice(&home.node.to_le_bytes());
    }
}

fn homes(source: &mut Source<'_>) -> Option<Vec<Home>> {
    codec::list(source, GROUP_MEMBERS_MAX, |source| {
        Some(Home { replica: codec::number(source)?, node: source.u64()? })
    })
}

fn placed(source: &mut Source<'_>) -> Option<(GroupId, Placed)> {
    let group = source.u16()?;
    let (replicas, leaving) = (homes(source)?, homes(source)?);
    Some((group, Placed { replicas, leaving, leader: source.u64()? }))
}

#[cfg(test)]
impl Table {
    /// A table of three nodes.
    pub fn example() -> Table {
        let member = |number: u16| Member {
            name: format!("node-{number}"),
            disk: 1000 + u64::from(number),
            addresses: Addresses {
                host: "127.0.0.1".into(),
                port: 6378 + number,
                redirect_port: 11378 + number,
                peer_port: 16378 + number,
            },
        };
        Table::founding((1..=3).map(member).collect(), 2, [7, 8], 5_000).unwrap()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_table_comes_back_and_every_cut_of_it_is_refused() {
        let table = Table::example();
        let bytes = table.encode();
        assert_eq!(Table::decode(&bytes), Some(table));
        for end in 0..bytes.len() {
            assert_eq!(Table::decode(&bytes[..end]), None, "cut at {end}");
        }
    }

    /// Whoever acts on a table relies on that it holds together.
    #[test]
    fn a_table_that_does_not_hold_together_cannot_be_read() {
        let refused = |what: &str, change: &dyn Fn(&mut Table)| {
            let mut table = Table::example();
            change(&mut table);
            assert_eq!(Table::decode(&table.encode()), None, "{what}");
        };
        let of_meta = |table: &mut Table, change: &dyn Fn(&mut Placed)| {
            table.groups.get_mut(&META).into_iter().for_each(change);
        };
        refused("no cluster", &|table| table.cluster = 0);
        refused("log time in the far future", &|table| table.born_us = u64::MAX);
        refused("a version beyond all", &|table| table.version = u64::MAX);
        refused("no meta group", &|table| drop(table.groups.remove(&META)));
        refused("a group that cannot be", &|table| {
            let placed = table.groups[&0].clone();
            table.groups.insert(META + 1, placed);
        });
        refused("a replica that was not given out", &|table| table.next_replica = 9);
        refused("a replica of number 0", &|table| {
            of_meta(table, &|placed| placed.replicas[0].replica = 0);
        });
        refused("a replica twice", &|table| {
            of_meta(table, &|placed| {
                placed.leaving.push(Home { replica: 1, node: node_id("node-1") })
            })
        });
        refused("two replicas on a node", &|table| {
            of_meta(table, &|placed| placed.replicas[0].node = placed.replicas[1].node);
        });
        refused("a node that is none", &|table| drop(table.nodes.remove(&node_id("node-2"))));
        refused("a leader elsewhere", &|table| of_meta(table, &|placed| placed.leader = 5));
        refused("a name that breaks lines", &|table| {
            table.nodes.values_mut().for_each(|member| member.addresses.host = "a\nb".into());
        });
    }

    #[test]
    fn a_later_table_is_of_the_same_cluster() {
        let known = Table::example();
        let mut later = known.clone();
        assert!(later.is_founding() && later.follows(&known));
        assert!(later.apply(&Command::Rejoined(node_id("node-2"), 99, Addresses::default())));
        assert!(!later.is_founding() && later.follows(&known) && !known.follows(&later));
        let other = Table { hash_seed: 1, ..later.clone() };
        assert!(!other.follows(&known));
    }

    #[test]
    fn a_node_is_not_replaced_again_and_again_while_former_lives_are_still_there() {
        let mut table = Table::example();
        let again = |disk| Command::Rejoined(node_id("node-2"), disk, Addresses::default());
        let done = (0..100).filter(|disk| table.apply(&again(*disk))).count();
        assert_eq!(done, GROUP_LEAVING_MAX);
        assert_eq!(Table::decode(&table.encode()), Some(table));
    }

    #[test]
    fn every_group_is_on_three_nodes_with_ids_of_its_own() {
        let table = Table::example();
        assert_eq!(table.groups.keys().copied().collect::<Vec<_>>(), [0, 1, META]);
        let homes = table.groups.values().flat_map(|placed| &placed.replicas);
        let mut ids: Vec<u64> = homes.map(|home| home.replica).collect();
        ids.sort_unstable();
        assert_eq!(ids, (1..10).collect::<Vec<_>>());
        assert_eq!(table.next_replica, 10);
    }

    #[test]
    fn a_command_that_is_applied_again_changes_nothing() {
        let mut table = Table::example();
        let addresses = Addresses { host: "elsewhere".into(), ..Addresses::default() };
        let command = Command::Moved(node_id("node-2"), addresses.clone());
        assert_eq!(Command::decode(&command.encode()), Some(command.clone()));
        assert!(table.apply(&command));
        assert_eq!(table.nodes[&node_id("node-2")].addresses, addresses);
        let after = table.clone();
        assert!(!table.apply(&command));
        assert!(!table.apply(&Command::Moved(5, addresses)), "an unknown node");
        assert_eq!(table, after);
    }

    #[test]
    fn a_node_with_another_disk_gets_new_replica_ids_until_the_old_ones_left() {
        let mut table = Table::example();
        let node = node_id("node-2");
        let before = table.clone();
        let command = Command::Rejoined(node, 99, Addresses::default());
        assert_eq!(Command::decode(&command.encode()), Some(command.clone()));
        assert!(table.apply(&command) && !table.apply(&command));
        assert_eq!(table.next_replica, before.next_replica + 3);
        for (group, placed) in &table.groups {
            let old = before.replica_on(*group, node).unwrap();
            assert!(table.replica_on(*group, node).unwrap() >= table.first_later);
            assert_eq!(placed.leaving, [Home { replica: old, node }]);
        }
        let old = before.replica_on(1, node).unwrap();
        let settled = Command::Settled(1, vec![old]);
        assert_eq!(Command::decode(&settled.encode()), Some(settled.clone()));
        assert!(table.apply(&settled) && !table.apply(&settled));
        assert!(table.groups[&1].leaving.is_empty());
    }
}
