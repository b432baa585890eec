//! One node of a cluster: its replicas of all groups, its identity, one log for all of them.
//!
//! ```text
//!   driver:  Tick Receive PeerUp Propose Read Persisted Applied Cut Transfer HandOver ...
//!               `------ step(now, input, out), and flush(out) when all at hand was given ------'
//!   node:    Persist Send Begin Apply Restore Answer Fate Role Table WantSnapshot End Event
//! ```
//!
//! The driver appends each `Persist` to its log behind the one before and says `Persisted` once it
//! is durable; carries each `Send` to its node or loses it; obeys what concerns a data group in the
//! order in which it comes out. The state of the meta group is applied in here.
//!
//! Invariants: what promises something leaves after the record that it promises is durable; a
//! message counts only if it comes from the node on which its replica lives; a replica that the
//! table does not know any more is ended and never begins again (C1). Deliberately absent: bytes on
//! the wire, connections, files, threads, clocks.

mod io;

use super::fate::{Fate, Ticket};
use super::group::{Committed, Group, Input, Output, Persist, Request, Role, Start, birth};
use super::log::{Birth, Identity, NodeStart, Record, Stored};
use super::message::{Control, GroupId, META, NodeId, PeerMessage, node_id};
use super::table::{Command, Member, Table};
use super::{entry, log};
use crate::limits::{CLUSTER_GROUPS, NODE_RECORD_BYTES};
use crate::util::rng::SplitMix64;
pub use io::{Event, NodeConfig, NodeError, NodeInput, NodeOutput};
use raft::eraftpb::Snapshot;
use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::Arc;

/// A replica that runs here.
struct Replica {
    core: Group,
    /// Who leads, as was told last.
    told: Option<(Role, Option<NodeId>)>,
}

/// A record that waits to be durable: its number, and what its groups wait for in it.
struct Waiting {
    number: u64,
    tokens: Vec<(GroupId, u64)>,
}

/// One node.
pub struct Node {
    id: NodeId,
    config: NodeConfig,
    identity: Identity,
    table: Option<Arc<Table>>,
    /// The table as the meta group's applied log has it, where there is a replica of that here.
    meta: Option<Table>,
    replicas: BTreeMap<GroupId, Replica>,
    /// The node of each replica that the table knows.
    homes: HashMap<u64, NodeId>,
    record: Record,
    /// What is in the record in the making.
    tokens: Vec<(GroupId, u64)>,
    number: u64,
    waiting: VecDeque<Waiting>,
    scratch: Vec<Output>,
}

impl Node {
    /// Begins, or goes on with what is durable. Adds to `out` what is to be done first.
    pub fn new(
        config: NodeConfig,
        start: NodeStart,
        now_us: u64,
        out: &mut Vec<NodeOutput>,
    ) -> Result<Node, NodeError> {
        check_names(&config)?;
        let is_first = start.identity.is_none();
        let mut random = SplitMix64::new(config.random);
        let unborn = || Identity { disk: random.next_u64(), birth: Birth::Unborn };
        let mut node = Node {
            id: node_id(&config.name),
            identity: start.identity.unwrap_or_else(unborn),
            config,
            table: None,
            meta: None,
            replicas: BTreeMap::new(),
            homes: HashMap::new(),
            record: Record::default(),
            tokens: Vec::new(),
            number: start.last,
            waiting: VecDeque::new(),
            scratch: Vec::new(),
        };
        if is_first {
            node.record.node(&node.identity);
        }
        match node.identity.birth.clone() {
            Birth::Member(table) => {
                node.learn(table, out);
                for (group, stored) in start.groups {
                    node.begin(group, stored, now_us, out)?;
                }
            }
            // Until the nodes agree on it with each other, all of them draw the same table.
            Birth::Unborn | Birth::Prepared(_) => node.found(now_us, out)?,
        }
        node.flush(out);
        Ok(node)
    }

    /// Takes in what happened at the local time `now_us`, and adds to `out` what is to be done. The
    /// clock must run while the process is stopped and never go back.
    pub fn step(&mut self, now_us: u64, input: NodeInput, out: &mut Vec<NodeOutput>) {
        match input {
            NodeInput::Tick => self.every_group(now_us, out, |_| Some(Input::Tick)),
            NodeInput::Receive { from, message } => self.receive(now_us, from, message, out),
            NodeInput::PeerUp(_) | NodeInput::PeerDown(_) => {}
            NodeInput::Propose { group, requests } => self.propose(now_us, group, requests, out),
            NodeInput::Read { group, ticket, mode } => {
                if !self.drive(now_us, group, Input::Read(ticket, mode), out) {
                    refuse(group, vec![ticket], out);
                }
            }
            NodeInput::Persisted(number) => self.persisted(now_us, number, out),
            NodeInput::Reading(group) => self.of_group(now_us, group, Input::Reading, out),
            NodeInput::Applied { group, index } => {
                self.of_group(now_us, group, Input::Applied(index), out);
            }
            NodeInput::Cut { group, cut } => self.of_group(now_us, group, Input::Cut(cut), out),
            NodeInput::Clock(group) => self.of_group(now_us, group, Input::Clock, out),
            NodeInput::Transfer { group, to } => self.transfer(now_us, group, to, out),
            NodeInput::HandOver | NodeInput::SlowDisk(true) => self.hand_over(now_us, out),
            NodeInput::SlowDisk(false) => {}
        }
    }

    /// Makes one record of all that is to be durable since the last one. To be called when all
    /// inputs at hand were given, and before waiting.
    pub fn flush(&mut self, out: &mut Vec<NodeOutput>) {
        if self.record.is_empty() {
            return;
        }
        self.number += 1;
        let tokens = std::mem::take(&mut self.tokens);
        self.waiting.push_back(Waiting { number: self.number, tokens });
        let record = self.record.finish(self.number);
        out.push(NodeOutput::Persist { token: self.number, record });
    }

    /// This node.
    pub fn id(&self) -> NodeId {
        self.id
    }

    /// The newest table, if the node is part of a cluster.
    pub fn table(&self) -> Option<&Arc<Table>> {
        self.table.as_ref()
    }

    /// The replica of a group that runs here.
    pub fn group(&self, group: GroupId) -> Option<&Group> {
        Some(&self.replicas.get(&group)?.core)
    }

    /// All replicas that run here.
    pub fn groups(&self) -> impl Iterator<Item = (GroupId, &Group)> {
        self.replicas.iter().map(|(&group, replica)| (group, &replica.core))
    }

    fn found(&mut self, now_us: u64, out: &mut Vec<NodeOutput>) -> Result<(), NodeError> {
        let members = self.config.listed.iter().map(|(name, addresses)| Member {
            name: name.clone(),
            disk: node_id(name),
            addresses: addresses.clone(),
        });
        let members: Vec<Member> = members.collect();
        let seed = members.iter().fold(1, |seed: u64, member| seed.wrapping_add(member.disk));
        let wall_us = self.config.wall_us;
        let table = Table::founding(members, self.config.data_groups, [seed, seed], wall_us)
            .map_err(|_| NodeError::NotListed)?;
        self.born(table, now_us, out)
    }

    /// The cluster begins to exist here, in one record: who the node is, and all its replicas.
    fn born(
        &mut self,
        table: Table,
        now_us: u64,
        out: &mut Vec<NodeOutput>,
    ) -> Result<(), NodeError> {
        self.learn(table.clone(), out);
        out.push(NodeOutput::Event(Event::Born { cluster: table.cluster }));
        for (&group, placed) in &table.groups {
            let Some(replica) = table.replica_on(group, self.id) else { continue };
            let voters: Vec<u64> = placed.replicas.iter().map(|home| home.replica).collect();
            let state = if group == META { table.encode() } else { Vec::new() };
            let snapshot = birth(&voters, table.born_us, &state);
            let stored = Stored { replica, snapshot, ..Stored::default() };
            self.record.group(group, replica, &log::whole(&stored));
            self.begin(group, stored, now_us, out)?;
        }
        Ok(())
    }

    fn begin(
        &mut self,
        group: GroupId,
        stored: Stored,
        now_us: u64,
        out: &mut Vec<NodeOutput>,
    ) -> Result<(), NodeError> {
        let snapshot = stored.snapshot.clone();
        let start = Start {
            replica: stored.replica,
            hard_state: stored.hard_state,
            snapshot: stored.snapshot,
            entries: stored.entries,
            order: self.order(group),
        };
        let core = Group::new(start, now_us).map_err(|error| NodeError::Group(group, error))?;
        self.replicas.insert(group, Replica { core, told: None });
        if group == META {
            self.restore_table(&snapshot, out)?;
        } else {
            out.push(NodeOutput::Begin { group, snapshot });
        }
        Ok(())
    }

    /// The replicas of a group, the one that should lead first.
    fn order(&self, group: GroupId) -> Vec<u64> {
        let placed = self.table.as_ref().and_then(|table| table.groups.get(&group));
        let mut homes = placed.map(|placed| placed.replicas.clone()).unwrap_or_default();
        if let Some(at) = homes.iter().position(|home| Some(home.node) == placed.map(|p| p.leader))
        {
            homes[..=at].rotate_right(1);
        }
        homes.into_iter().map(|home| home.replica).collect()
    }

    /// Knows a table from now on, if it is newer than the one before.
    fn learn(&mut self, table: Table, out: &mut Vec<NodeOutput>) {
        if self.table.as_ref().is_some_and(|known| known.version >= table.version) {
            return;
        }
        self.homes = table
            .groups
            .values()
            .flat_map(|placed| placed.replicas.iter().chain(&placed.leaving))
            .map(|home| (home.replica, home.node))
            .collect();
        let birth = Birth::Member(table.clone());
        if self.identity.birth != birth {
            self.identity.birth = birth;
            self.record.node(&self.identity);
        }
        let table = Arc::new(table);
        self.table = Some(table.clone());
        out.push(NodeOutput::Table(table));
    }

    fn restore_table(
        &mut self,
        snapshot: &Snapshot,
        out: &mut Vec<NodeOutput>,
    ) -> Result<(), NodeError> {
        let Some((_, bytes)) = entry::split_time(&snapshot.data) else { return Ok(()) };
        let table = Table::decode(bytes).ok_or(NodeError::Table)?;
        self.meta = Some(table.clone());
        self.learn(table, out);
        Ok(())
    }

    fn receive(
        &mut self,
        now_us: u64,
        from: NodeId,
        message: PeerMessage,
        out: &mut Vec<NodeOutput>,
    ) {
        match message {
            PeerMessage::Raft { group, message } => {
                // A late word of a replica's former life comes from where it lived.
                if self.homes.get(&message.from) == Some(&from) {
                    self.of_group(now_us, group, Input::Receive(message), out);
                }
            }
            PeerMessage::Control(bytes) => match Control::decode(&bytes) {
                Some(Control::Table(table)) if self.is_of_cluster(&table) => self.learn(table, out),
                Some(Control::Command(bytes)) => self.command(now_us, bytes, out),
                _ => {}
            },
        }
    }

    fn is_of_cluster(&self, table: &Table) -> bool {
        self.table.as_ref().is_some_and(|known| known.cluster == table.cluster)
    }

    /// Proposes a command for the meta group, if that is led here; its sender sends it again.
    fn command(&mut self, now_us: u64, bytes: Vec<u8>, out: &mut Vec<NodeOutput>) {
        if Command::decode(&bytes).is_some() {
            let request = Request { ticket: 0, bytes };
            self.of_group(now_us, META, Input::Propose(vec![request]), out);
        }
    }

    fn propose(
        &mut self,
        now_us: u64,
        group: GroupId,
        requests: Vec<Request>,
        out: &mut Vec<NodeOutput>,
    ) {
        if group == META || !self.replicas.contains_key(&group) {
            let tickets = requests.into_iter().map(|request| request.ticket).collect();
            refuse(group, tickets, out);
        } else {
            self.of_group(now_us, group, Input::Propose(requests), out);
        }
    }

    fn persisted(&mut self, now_us: u64, number: u64, out: &mut Vec<NodeOutput>) {
        while let Some(waiting) = self.waiting.pop_front_if(|waiting| waiting.number <= number) {
            for (group, token) in waiting.tokens {
                self.of_group(now_us, group, Input::Persisted(token), out);
            }
        }
    }

    fn transfer(&mut self, now_us: u64, group: GroupId, to: NodeId, out: &mut Vec<NodeOutput>) {
        let replica = self.table.as_ref().and_then(|table| table.replica_on(group, to));
        if let Some(replica) = replica {
            self.of_group(now_us, group, Input::Transfer(replica), out);
        }
    }

    fn hand_over(&mut self, now_us: u64, out: &mut Vec<NodeOutput>) {
        self.every_group(now_us, out, |core| core.successor().map(Input::Transfer));
    }

    fn every_group(
        &mut self,
        now_us: u64,
        out: &mut Vec<NodeOutput>,
        input: impl Fn(&Group) -> Option<Input>,
    ) {
        for group in (0..CLUSTER_GROUPS as GroupId).chain([META]) {
            let input = self.replicas.get(&group).and_then(|replica| input(&replica.core));
            if let Some(input) = input {
                self.of_group(now_us, group, input, out);
            }
        }
    }

    fn of_group(&mut self, now_us: u64, group: GroupId, input: Input, out: &mut Vec<NodeOutput>) {
        self.drive(now_us, group, input, out);
    }

    /// Gives a group its input and passes its outputs on; false if it has no replica here.
    fn drive(
        &mut self,
        now_us: u64,
        group: GroupId,
        input: Input,
        out: &mut Vec<NodeOutput>,
    ) -> bool {
        let mut next = Some(input);
        while let Some(input) = next.take() {
            let Some(replica) = self.replicas.get_mut(&group) else { return false };
            let mut outputs = std::mem::take(&mut self.scratch);
            replica.core.step(now_us, input, &mut outputs);
            for output in outputs.drain(..) {
                let applied = self.obey(group, output, out);
                next = applied.or(next);
            }
            self.scratch = outputs;
        }
        if self.record.size() > NODE_RECORD_BYTES {
            self.flush(out);
        }
        true
    }

    /// Passes an output of a group on. The meta group's state is here: returns what it is to be
    /// told.
    fn obey(&mut self, group: GroupId, output: Output, out: &mut Vec<NodeOutput>) -> Option<Input> {
        match output {
            Output::Persist(write) => self.persist(group, &write),
            Output::Send(message) => {
                if let Some(&to) = self.homes.get(&message.to) {
                    let message = PeerMessage::Raft { group, message };
                    out.push(NodeOutput::Send { to, message });
                }
            }
            Output::Apply(entries) if group == META => return self.apply_table(&entries, out),
            Output::Apply(entries) => out.push(NodeOutput::Apply { group, entries }),
            Output::Restore(snapshot) if group == META => {
                let index = snapshot.get_metadata().index;
                // What cannot be read was written by a later version: nothing is known of it.
                let _ = self.restore_table(&snapshot, out);
                return Some(Input::Applied(index));
            }
            Output::Restore(snapshot) => out.push(NodeOutput::Restore { group, snapshot }),
            Output::Answer(_) | Output::Fate(..) if group == META => {}
            Output::Answer(tickets) => out.push(NodeOutput::Answer { group, tickets }),
            Output::Fate(fate, tickets) => out.push(NodeOutput::Fate { group, fate, tickets }),
            Output::Role(role) => self.tell_role(group, role, out),
            Output::WantSnapshot if group == META => return self.cut_table(),
            Output::WantSnapshot => out.push(NodeOutput::WantSnapshot { group }),
        }
        None
    }

    fn persist(&mut self, group: GroupId, write: &Persist) {
        let Some(replica) = self.replicas.get(&group) else { return };
        self.record.group(group, replica.core.id(), write);
        match self.tokens.iter_mut().find(|(of, _)| *of == group) {
            Some((_, token)) => *token = write.token,
            None => self.tokens.push((group, write.token)),
        }
    }

    fn tell_role(&mut self, group: GroupId, role: Role, out: &mut Vec<NodeOutput>) {
        let leader = self.homes.get(&role.leader).copied();
        let Some(replica) = self.replicas.get_mut(&group) else { return };
        if replica.told != Some((role, leader)) {
            replica.told = Some((role, leader));
            out.push(NodeOutput::Role { group, role, leader });
        }
    }

    fn apply_table(&mut self, entries: &[Committed], out: &mut Vec<NodeOutput>) -> Option<Input> {
        let index = entries.last()?.index;
        let mut table = self.meta.take()?;
        for batch in entries.iter().filter_map(|committed| entry::decode(&committed.data)) {
            for command in batch.requests.into_iter().filter_map(Command::decode) {
                table.apply(&command);
            }
        }
        self.learn(table.clone(), out);
        self.meta = Some(table);
        Some(Input::Applied(index))
    }

    fn cut_table(&mut self) -> Option<Input> {
        None
    }
}

fn refuse(group: GroupId, tickets: Vec<Ticket>, out: &mut Vec<NodeOutput>) {
    out.push(NodeOutput::Fate { group, fate: Fate::Refused, tickets });
}

fn check_names(config: &NodeConfig) -> Result<(), NodeError> {
    let mut ids: Vec<NodeId> = Vec::new();
    for (name, _) in &config.listed {
        if ids.contains(&node_id(name)) {
            return Err(NodeError::NameTwice(name.clone()));
        }
        ids.push(node_id(name));
    }
    if ids.contains(&node_id(&config.name)) { Ok(()) } else { Err(NodeError::NotListed) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cluster::core::log::recover;
    use crate::cluster::core::reads::ReadMode;
    use crate::limits::GROUP_CAMPAIGN_TICKS_MIN;
    use raft::StateRole;

    /// Three nodes whose disks and net are as fast as they are reliable.
    struct Trio {
        nodes: Vec<Node>,
        logs: Vec<Vec<Vec<u8>>>,
        now_us: u64,
        /// What was applied, by node: group, index and tickets.
        applied: Vec<Vec<(GroupId, u64, Vec<Ticket>)>>,
        fates: Vec<(Fate, Ticket)>,
        answered: Vec<Ticket>,
    }

    fn config(number: usize) -> NodeConfig {
        let listed = Table::example().nodes.into_values();
        NodeConfig {
            name: format!("node-{}", number + 1),
            listed: listed.map(|member| (member.name, member.addresses)).collect(),
            data_groups: CLUSTER_GROUPS as GroupId,
            random: number as u64,
            wall_us: 1_000_000,
        }
    }

    impl Trio {
        fn new() -> Trio {
            let mut trio = Trio {
                nodes: Vec::new(),
                logs: vec![Vec::new(); 3],
                now_us: 0,
                applied: vec![Vec::new(); 3],
                fates: Vec::new(),
                answered: Vec::new(),
            };
            trio.start();
            trio
        }

        fn start(&mut self) {
            self.nodes.clear();
            let mut outputs = Vec::new();
            for at in 0..3 {
                let start = recover(self.logs[at].iter().map(|record| &record[..])).unwrap();
                let mut out = Vec::new();
                self.nodes.push(Node::new(config(at), start, self.now_us, &mut out).unwrap());
                outputs.push(out);
            }
            for (at, out) in outputs.into_iter().enumerate() {
                let inputs = out.into_iter().filter_map(|output| self.obey(at, output));
                let inputs: Vec<_> = inputs.collect();
                inputs.into_iter().for_each(|(at, input)| self.step(at, input));
            }
        }

        fn at(&self, id: NodeId) -> usize {
            self.nodes.iter().position(|node| node.id() == id).unwrap()
        }

        fn pass(&mut self, ticks: usize) {
            for _ in 0..ticks {
                self.now_us += 50_000;
                (0..3).for_each(|at| self.step(at, NodeInput::Tick));
            }
        }

        fn step(&mut self, at: usize, input: NodeInput) {
            let mut inputs = VecDeque::from([(at, input)]);
            while let Some((at, input)) = inputs.pop_front() {
                let mut out = Vec::new();
                self.nodes[at].step(self.now_us, input, &mut out);
                self.nodes[at].flush(&mut out);
                inputs.extend(out.into_iter().filter_map(|output| self.obey(at, output)));
            }
        }

        fn obey(&mut self, at: usize, output: NodeOutput) -> Option<(usize, NodeInput)> {
            match output {
                NodeOutput::Persist { token, record } => {
                    self.logs[at].push(record);
                    assert_eq!(self.logs[at].len() as u64, token);
                    Some((at, NodeInput::Persisted(token)))
                }
                NodeOutput::Send { to, message } => {
                    let from = self.nodes[at].id();
                    Some((self.at(to), NodeInput::Receive { from, message }))
                }
                NodeOutput::Apply { group, entries } => {
                    let index = entries.last()?.index;
                    let of = entries.into_iter().map(|entry| (group, entry.index, entry.tickets));
                    self.applied[at].extend(of);
                    Some((at, NodeInput::Applied { group, index }))
                }
                NodeOutput::Fate { fate, tickets, .. } => {
                    self.fates.extend(tickets.into_iter().map(|ticket| (fate, ticket)));
                    None
                }
                NodeOutput::Answer { tickets, .. } => {
                    self.answered.extend(tickets);
                    None
                }
                _ => None,
            }
        }

        fn leader(&self, group: GroupId) -> Vec<usize> {
            let leads =
                |&at: &usize| self.nodes[at].group(group).unwrap().role().role == StateRole::Leader;
            (0..3).filter(leads).collect()
        }

        fn expect_leaders(&self) {
            let table = self.nodes[0].table().unwrap();
            for (&group, placed) in &table.groups {
                assert_eq!(self.leader(group), [self.at(placed.leader)], "group {group}");
            }
        }
    }

    fn write(group: GroupId, ticket: Ticket) -> NodeInput {
        NodeInput::Propose { group, requests: vec![Request { ticket, bytes: vec![7; 20] }] }
    }

    #[test]
    fn every_group_is_led_by_the_node_that_the_table_proposes() {
        let mut trio = Trio::new();
        trio.pass(GROUP_CAMPAIGN_TICKS_MIN + 2);
        assert_eq!(trio.nodes[0].groups().count(), CLUSTER_GROUPS + 1);
        trio.expect_leaders();
    }

    #[test]
    fn a_write_is_applied_everywhere_and_still_there_after_a_restart() {
        let mut trio = Trio::new();
        trio.pass(GROUP_CAMPAIGN_TICKS_MIN + 2);
        let leader = trio.leader(5)[0];
        trio.step(leader, write(5, 77));
        trio.step((leader + 1) % 3, write(5, 78));
        trio.step(leader, write(META, 79));
        assert_eq!(trio.fates, [(Fate::Refused, 78), (Fate::Refused, 79)]);
        let mode = ReadMode::Strict;
        trio.step(leader, NodeInput::Read { group: 5, ticket: 80, mode });
        assert_eq!(trio.answered, [80]);
        trio.pass(3);
        assert!(
            (0..3).all(|at| trio.applied[at].iter().any(|&(group, at, _)| (group, at) == (5, 3)))
        );
        assert!(trio.applied[leader].contains(&(5, 3, vec![77])));
        let table = trio.nodes[0].table().cloned();
        trio.applied = vec![Vec::new(); 3];
        trio.start();
        trio.pass(GROUP_CAMPAIGN_TICKS_MIN + 2);
        assert_eq!(trio.nodes[0].table().cloned(), table);
        assert!((0..3).all(|at| trio.applied[at].contains(&(5, 3, vec![]))), "applied once more");
    }

    #[test]
    fn a_node_that_ends_hands_its_groups_over() {
        let mut trio = Trio::new();
        trio.pass(GROUP_CAMPAIGN_TICKS_MIN + 2);
        trio.step(0, NodeInput::HandOver);
        let groups = (0..CLUSTER_GROUPS as GroupId).chain([META]);
        assert!(groups.clone().all(|group| trio.leader(group).len() == 1));
        assert!(groups.clone().all(|group| trio.leader(group) != [0]));
    }

    #[test]
    fn a_replica_is_heard_only_from_the_node_that_it_lives_on() {
        let mut trio = Trio::new();
        trio.pass(GROUP_CAMPAIGN_TICKS_MIN + 2);
        let core = trio.nodes[1].group(0).unwrap();
        let (to, term) = (trio.nodes[0].group(0).unwrap().id(), core.role().term + 5);
        let mut message =
            raft::eraftpb::Message { to, from: core.id(), term, ..Default::default() };
        message.set_msg_type(raft::eraftpb::MessageType::MsgAppend);
        let message = PeerMessage::Raft { group: 0, message };
        let before = trio.nodes[0].group(0).unwrap().role().term;
        let from = trio.nodes[2].id();
        trio.step(0, NodeInput::Receive { from, message });
        assert_eq!(trio.nodes[0].group(0).unwrap().role().term, before);
    }

    #[test]
    fn names_must_be_told_apart_and_the_own_one_listed() {
        let refused = |change: fn(&mut NodeConfig)| {
            let mut config = config(0);
            change(&mut config);
            Node::new(config, NodeStart::default(), 0, &mut Vec::new()).err()
        };
        assert_eq!(refused(|config| config.name = "other".into()), Some(NodeError::NotListed));
        let twice = |config: &mut NodeConfig| config.listed.push(config.listed[1].clone());
        assert_eq!(refused(twice), Some(NodeError::NameTwice("node-2".into())));
    }
}
