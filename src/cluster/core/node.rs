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
//! message counts only if it comes from the node on which its replica lives, and that node said on
//! this connection which cluster and disk it is of; a replica that the table does not know any more
//! is ended and never begins again (C1). Deliberately absent: bytes on the wire, connections,
//! files, threads, clocks.

mod birth;
mod io;
mod members;
mod meta;
mod statement;
mod take_over;

use super::birth::{Council, Refusal};
use super::fate::{Fate, Ticket};
use super::group::{Checkpoint, Group, Input, Output, Persist, Request, Role, Start, Wrong};
use super::log::{Birth, Identity, NodeStart, Places, Record, Stored};
use super::message::{GroupId, META, NodeId, PeerMessage, Stage, node_id};
use super::table::Table;
use super::touched::GroupSet;
use crate::limits::{CLUSTER_GROUPS, NODE_RECORD_BYTES};
use crate::util::rng::SplitMix64;
pub use io::{Event, NodeConfig, NodeError, NodeInput, NodeOutput, Reason};
use meta::Meta;
use raft::eraftpb::Snapshot;
use statement::Statement;
use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::sync::Arc;
use take_over::TakeOvers;

/// A replica that runs here.
struct Replica {
    core: Group,
    /// Who leads, as was told last.
    told: Option<(Role, Option<NodeId>)>,
    /// The records in which its entries lie.
    places: Places,
    /// The last snapshot that was handed over for writing.
    snapshot: Snapshot,
    /// When its leadership was handed over last.
    handed_us: u64,
    /// The durable record that states everything of it but entries.
    stated: u64,
}

/// A record that waits to be durable: its number, and what follows then.
struct Waiting {
    number: u64,
    /// Groups that wait for their writes in it.
    tokens: Vec<(GroupId, u64)>,
    /// What the node may say of itself.
    stage: Option<Stage>,
    /// What is stated in it.
    statement: Statement,
}

/// What is known of the log that was written.
#[derive(Default)]
struct Log {
    record: Record,
    /// What is in the record in the making.
    tokens: Vec<(GroupId, u64)>,
    stage: Option<Stage>,
    statement: Statement,
    number: u64,
    waiting: VecDeque<Waiting>,
    /// The durable record that states who the node is.
    stated: u64,
}

/// One node.
pub struct Node {
    id: NodeId,
    config: NodeConfig,
    random: SplitMix64,
    identity: Identity,
    /// How far the birth has come, durably; nothing while not even the disk number is, which nobody
    /// is told before: after a crash it would be another one, and others would miss the first.
    stage: Option<Stage>,
    council: Council,
    /// What was refused last, so that it is told once.
    refused: Option<Refusal>,
    /// The nodes that a birth waits for, as was told last.
    waits_for: Option<Vec<String>>,
    table: Option<Arc<Table>>,
    meta: Option<Meta>,
    replicas: BTreeMap<GroupId, Replica>,
    /// Data groups that may be another than when they were looked at last.
    touched: GroupSet,
    removed: BTreeSet<(GroupId, u64)>,
    /// Group and node of each replica that the table knows.
    homes: HashMap<u64, (GroupId, NodeId)>,
    log: Log,
    hello_us: u64,
    manage_us: u64,
    take_overs: TakeOvers,
    /// How far wall time is ahead of the local time, if that was told.
    wall_ahead_us: Option<i64>,
    /// The disk is quick enough.
    is_quick: bool,
    /// It is about to end.
    ends: bool,
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
        let mut random = SplitMix64::new(config.random);
        let is_first = start.identity.is_none();
        let nothing = start.lost.map_or(Birth::Unborn, Birth::Lost);
        let new = || Identity { disk: random.next_u64(), birth: nothing.clone() };
        let identity = start.identity.unwrap_or_else(new);
        let mut node = Node {
            id: node_id(&config.name),
            config,
            random,
            stage: (!is_first).then(|| stage_of(&identity.birth)),
            identity,
            council: Council::default(),
            refused: None,
            waits_for: None,
            table: None,
            meta: None,
            replicas: BTreeMap::new(),
            touched: GroupSet::default(),
            removed: start.removed,
            homes: HashMap::new(),
            log: Log { number: start.last, ..Log::default() },
            hello_us: 0,
            manage_us: 0,
            take_overs: TakeOvers::default(),
            wall_ahead_us: None,
            is_quick: true,
            ends: false,
            scratch: Vec::new(),
        };
        if is_first {
            node.set_birth(nothing);
        }
        if let Birth::Member(table) = node.identity.birth.clone() {
            node.know(table, out);
            for (group, stored) in start.groups {
                node.begin(now_us, group, stored, out)?;
            }
            if node.table.clone().is_some_and(|table| !node.may_begin(&table)) {
                return Err(NodeError::Lacks);
            }
            node.follow_table(now_us, out);
        }
        node.flush(out);
        Ok(node)
    }

    /// Takes in what happened at the local time `now_us`, and adds to `out` what is to be done. The
    /// clock must run while the process is stopped and never go back.
    pub fn step(&mut self, now_us: u64, input: NodeInput, out: &mut Vec<NodeOutput>) {
        match input {
            NodeInput::Tick => self.tick(now_us, out),
            NodeInput::Wall(wall_us) => {
                self.wall_ahead_us = Some(wall_us.wrapping_sub(now_us) as i64);
            }
            NodeInput::Receive { from, message } => self.receive(now_us, from, message, out),
            NodeInput::PeerUp(node) => self.say_hello(node, out),
            NodeInput::PeerDown(node) => self.council.lose(node),
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
            NodeInput::TakeOver => self.begin_to_take_over(now_us, out),
            NodeInput::HandOver => {
                self.ends = true;
                self.tell_fitness(now_us, out);
            }
            NodeInput::SlowDisk(is_slow) => {
                self.is_quick = !is_slow;
                self.tell_fitness(now_us, out);
            }
            NodeInput::Checkpoint => self.state_anew(now_us, usize::MAX, out),
            NodeInput::State(bytes) => self.state_anew(now_us, bytes, out),
        }
    }

    /// Makes one record of all that is to be durable since the last one. To be called when all
    /// inputs at hand were given, and before waiting.
    pub fn flush(&mut self, out: &mut Vec<NodeOutput>) {
        let log = &mut self.log;
        if log.record.is_empty() {
            return;
        }
        log.number += 1;
        log.waiting.push_back(Waiting {
            number: log.number,
            tokens: std::mem::take(&mut log.tokens),
            stage: log.stage.take(),
            statement: std::mem::take(&mut log.statement),
        });
        let record = log.record.finish(log.number);
        out.push(NodeOutput::Persist { token: log.number, record });
    }

    /// This node.
    pub fn id(&self) -> NodeId {
        self.id
    }

    /// Who it is, as far as its disk will have it.
    pub fn identity(&self) -> &Identity {
        &self.identity
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

    /// The data groups of which role, log, lease or reads may be other than at the last call, those
    /// that came and went among them.
    pub fn take_touched(&mut self) -> GroupSet {
        std::mem::take(&mut self.touched)
    }

    /// The node on which a replica lives, as far as the table knows it.
    pub fn home_of(&self, replica: u64) -> Option<NodeId> {
        self.homes.get(&replica).map(|(_, node)| *node)
    }

    fn tick(&mut self, now_us: u64, out: &mut Vec<NodeOutput>) {
        for group in (0..CLUSTER_GROUPS as GroupId).chain([META]) {
            self.drive(now_us, group, Input::Tick, out);
        }
        self.advance_birth(now_us, out);
        self.manage(now_us, out);
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
                // A late word of a replica's former life does not come from where it lives.
                let lives = self.homes.get(&message.from) == Some(&(group, from));
                if group == META && message.has_snapshot() && !self.fits(message.get_snapshot()) {
                    let why = "a table that does not follow upon the one that is known";
                    out.push(NodeOutput::Nonsense { from, why });
                } else if lives && self.is_vouched_for(from) {
                    self.of_group(now_us, group, Input::Receive(message), out);
                }
            }
            PeerMessage::Control(bytes) => self.control(now_us, from, &bytes, out),
        }
    }

    fn is_vouched_for(&self, node: NodeId) -> bool {
        let Some(table) = &self.table else { return false };
        let disk = table.nodes.get(&node).map(|member| member.disk);
        disk.is_some_and(|disk| self.council.vouches(node, table.cluster, disk))
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
        self.replicas.values_mut().for_each(|replica| replica.places.durable(number));
        while let Some(waiting) = self.log.waiting.pop_front_if(|w| w.number <= number) {
            self.stated(waiting.number, &waiting.statement);
            if let Some(stage) = waiting.stage {
                self.reached(stage, out);
            }
            for (group, token) in waiting.tokens {
                self.of_group(now_us, group, Input::Persisted(token), out);
            }
        }
    }

    /// A replica begins to run here.
    fn begin(
        &mut self,
        now_us: u64,
        group: GroupId,
        stored: Stored,
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
        let (places, snapshot) = (stored.places, snapshot);
        let (handed_us, stated) = (0, 0);
        let copy = snapshot.clone();
        let replica = Replica { core, told: None, places, snapshot: copy, handed_us, stated };
        self.replicas.insert(group, replica);
        self.touched.insert(group);
        if group == META {
            self.meta = Some(Meta::of(&snapshot).ok_or(NodeError::Table)?);
        } else {
            out.push(NodeOutput::Begin { group, snapshot });
        }
        Ok(())
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
        // What follows from an input is rare, so the queue mostly takes no memory.
        let (mut next, mut inputs) = (Some(input), VecDeque::new());
        while let Some(input) = next.take().or_else(|| inputs.pop_front()) {
            let Some(replica) = self.replicas.get_mut(&group) else { return false };
            let mut outputs = std::mem::take(&mut self.scratch);
            replica.core.set_wall(self.wall_ahead_us);
            if replica.core.step(now_us, input, &mut outputs) {
                self.touched.insert(group);
            }
            for output in outputs.drain(..) {
                if group == META {
                    self.obey_meta(now_us, output, &mut inputs, out);
                } else {
                    self.obey(group, output, out);
                }
            }
            self.scratch = outputs;
        }
        if self.log.record.size() > NODE_RECORD_BYTES {
            self.flush(out);
        }
        true
    }

    fn obey(&mut self, group: GroupId, output: Output, out: &mut Vec<NodeOutput>) {
        match output {
            Output::Persist(write) => self.persist(group, &write),
            Output::Send(message) => {
                if let Some(&(_, to)) = self.homes.get(&message.to) {
                    let message = PeerMessage::Raft { group, message };
                    out.push(NodeOutput::Send { to, message });
                }
            }
            Output::Apply(entries) => out.push(NodeOutput::Apply { group, entries }),
            Output::Restore(snapshot) => out.push(NodeOutput::Restore { group, snapshot }),
            Output::Answer(tickets) => out.push(NodeOutput::Answer { group, tickets }),
            Output::Fate(fate, tickets) => out.push(NodeOutput::Fate { group, fate, tickets }),
            Output::Role(role) => self.tell_role(group, role, out),
            Output::WantSnapshot => out.push(NodeOutput::WantSnapshot { group }),
            Output::Wrong(_, Wrong::Lacks) => out.push(NodeOutput::Event(Event::Lacks { group })),
            Output::Wrong(from, Wrong::Nonsense(why)) => {
                out.extend(self.home_of(from).map(|from| NodeOutput::Nonsense { from, why }));
            }
        }
    }

    fn persist(&mut self, group: GroupId, write: &Persist) {
        let Some(replica) = self.replicas.get_mut(&group) else { return };
        replica.places.take(self.log.number + 1, write);
        if let Some(Checkpoint::Own(snapshot) | Checkpoint::Received(snapshot)) = &write.checkpoint
        {
            replica.snapshot = snapshot.clone();
            self.log.statement.groups.push(group);
        }
        self.log.record.group(group, replica.core.id(), write);
        match self.log.tokens.iter_mut().find(|(of, _)| *of == group) {
            Some((_, token)) => *token = write.token,
            None => self.log.tokens.push((group, write.token)),
        }
    }

    fn tell_role(&mut self, group: GroupId, role: Role, out: &mut Vec<NodeOutput>) {
        let leader = self.home_of(role.leader);
        let Some(replica) = self.replicas.get_mut(&group) else { return };
        if replica.told != Some((role, leader)) {
            replica.told = Some((role, leader));
            out.push(NodeOutput::Role { group, role, leader });
        }
    }
}

fn refuse(group: GroupId, tickets: Vec<Ticket>, out: &mut Vec<NodeOutput>) {
    out.push(NodeOutput::Fate { group, fate: Fate::Refused, tickets });
}

fn stage_of(birth: &Birth) -> Stage {
    match birth {
        Birth::Unborn => Stage::Unborn,
        Birth::Lost(cluster) => Stage::Lost { cluster: *cluster },
        Birth::Prepared(table) => Stage::Prepared { cluster: table.cluster },
        Birth::Member(table) => Stage::Member { cluster: table.cluster, version: table.version },
    }
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
    use crate::cluster::core::group::Cut;
    use crate::cluster::core::log::recover;
    use crate::cluster::core::message::Control;
    use crate::cluster::core::reads::ReadMode;
    use crate::cluster::core::table::{Addresses, Member};
    use crate::limits::{GROUP_ELECTION_TICKS, NODE_KEEP_US};
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
        events: Vec<(usize, Event)>,
    }

    fn config(number: usize) -> NodeConfig {
        let listed = (1..4).map(|node| (format!("node-{node}"), Addresses::default()));
        NodeConfig {
            name: format!("node-{}", number + 1),
            listed: listed.collect(),
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
                events: Vec::new(),
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
            (0..3).for_each(|at| self.connect(at));
        }

        fn connect(&mut self, at: usize) {
            for other in (0..3).filter(|&other| other != at) {
                let (id, other_id) = (self.nodes[at].id(), self.nodes[other].id());
                self.step(at, NodeInput::PeerUp(other_id));
                self.step(other, NodeInput::PeerDown(id));
                self.step(other, NodeInput::PeerUp(id));
            }
        }

        /// One node starts with this log.
        fn restart(&mut self, at: usize, log: Vec<Vec<u8>>) {
            self.logs[at] = log;
            let start = recover(self.logs[at].iter().map(|record| &record[..])).unwrap();
            let mut out = Vec::new();
            let config = NodeConfig { random: self.now_us, ..config(at) };
            self.nodes[at] = Node::new(config, start, self.now_us, &mut out).unwrap();
            self.applied[at].clear();
            let inputs: Vec<_> = out.into_iter().filter_map(|o| self.obey(at, o)).collect();
            inputs.into_iter().for_each(|(at, input)| self.step(at, input));
            self.connect(at);
        }

        /// Born, and led as the table proposes.
        fn led() -> Trio {
            let mut trio = Trio::new();
            trio.pass(60);
            trio.expect_leaders();
            trio
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

        /// Cuts all groups of a node at what is committed.
        fn cut_all(&mut self, at: usize) {
            for group in 0..CLUSTER_GROUPS as GroupId {
                let index = self.nodes[at].group(group).unwrap().committed();
                let cut = Cut { index, time_us: 9, data: vec![3], keep_from: 1 };
                self.step(at, NodeInput::Cut { group, cut });
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
                NodeOutput::Restore { group, snapshot } => {
                    let index = snapshot.get_metadata().index;
                    Some((at, NodeInput::Applied { group, index }))
                }
                NodeOutput::WantSnapshot { group } => {
                    let of_group = self.applied[at].iter().filter(|(of, ..)| *of == group);
                    let index = of_group.map(|&(_, index, _)| index).max()?;
                    let cut = Cut { index, time_us: 9, data: Vec::new(), keep_from: index };
                    Some((at, NodeInput::Cut { group, cut }))
                }
                NodeOutput::Event(event) => {
                    self.events.push((at, event));
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
        let trio = Trio::led();
        assert_eq!(trio.nodes[0].groups().count(), CLUSTER_GROUPS + 1);
        let tables: Vec<_> = trio.nodes.iter().map(|node| node.table().cloned()).collect();
        assert!(tables[0].is_some() && tables[0] == tables[1] && tables[1] == tables[2]);
    }

    #[test]
    fn a_node_leads_what_it_was_told_to_and_gives_it_back_later() {
        let mut trio = Trio::led();
        trio.step(1, NodeInput::TakeOver);
        trio.pass(60);
        let all_lead = |trio: &Trio, at| {
            let groups: Vec<GroupId> = trio.nodes[0].groups().map(|(group, _)| group).collect();
            groups.into_iter().all(|group| trio.leader(group) == [at])
        };
        assert!(all_lead(&trio, 1));
        trio.pass(100);
        assert!(all_lead(&trio, 1), "the table wants others, and waits");
        trio.step(2, NodeInput::TakeOver);
        trio.pass(60);
        assert!(all_lead(&trio, 2), "who is told last leads");
        trio.now_us += NODE_KEEP_US;
        trio.pass(800);
        trio.expect_leaders();
        let asked = trio.events.iter().filter(|(_, event)| matches!(event, Event::TakesOver(_)));
        assert_eq!(asked.count(), 2);
    }

    /// Nodes are told to take over before any of them hears of the other, with wall clocks that are
    /// this far ahead; who leads everything then.
    fn told_at_once(walls: [u64; 2], reversed: bool) -> Vec<usize> {
        let mut trio = Trio::led();
        let mut words = Vec::new();
        for (at, wall_us) in [1, 2].into_iter().zip(walls) {
            let mut out = Vec::new();
            trio.nodes[at].step(trio.now_us, NodeInput::Wall(trio.now_us + wall_us), &mut out);
            trio.nodes[at].step(trio.now_us, NodeInput::TakeOver, &mut out);
            words.push((at, out));
        }
        if reversed {
            words.reverse();
        }
        for (at, out) in words {
            let inputs: Vec<_> = out.into_iter().filter_map(|o| trio.obey(at, o)).collect();
            inputs.into_iter().for_each(|(at, input)| trio.step(at, input));
        }
        trio.pass(400);
        let of = |group| <[usize; 1]>::try_from(trio.leader(group)).unwrap()[0];
        let mut leaders: Vec<usize> = trio.nodes[0].groups().map(|(group, _)| of(group)).collect();
        leaders.sort_unstable();
        leaders.dedup();
        leaders
    }

    #[test]
    fn of_two_nodes_that_are_told_to_take_over_at_once_the_later_one_leads() {
        for reversed in [false, true] {
            assert_eq!(told_at_once([5, 6], reversed), [2]);
            assert_eq!(told_at_once([6, 5], reversed), [1]);
            let greater = if node_id("node-2") > node_id("node-3") { 1 } else { 2 };
            assert_eq!(told_at_once([5, 5], reversed), [greater], "at the same moment");
        }
    }

    #[test]
    fn who_is_told_last_leads_although_its_wall_clock_is_behind() {
        let mut trio = Trio::led();
        let now_us = trio.now_us;
        trio.step(1, NodeInput::Wall(now_us + 3_600_000_000));
        trio.step(1, NodeInput::TakeOver);
        trio.pass(60);
        trio.step(2, NodeInput::TakeOver);
        trio.pass(60);
        assert_eq!(trio.leader(5), [2], "it knows of the other order, which asked it for groups");
        let called_off = Event::CalledOff { by: trio.nodes[2].id() };
        assert!(trio.events.contains(&(1, called_off)), "{:?}", trio.events.last());
    }

    #[test]
    fn a_node_without_its_disk_gets_new_replicas_and_leads_again() {
        let mut trio = Trio::led();
        let before = trio.nodes[2].table().unwrap().clone();
        trio.step(trio.leader(5)[0], write(5, 77));
        trio.restart(2, Vec::new());
        assert_eq!(trio.nodes[2].groups().count(), 0, "it does not vote");
        trio.pass(300);
        let after = trio.nodes[2].table().unwrap().clone();
        assert!(trio.events.contains(&(2, Event::Joined { cluster: after.cluster })));
        for (group, placed) in &after.groups {
            assert!(placed.leaving.is_empty(), "group {group}");
            let id = trio.nodes[2].id();
            assert_ne!(after.replica_on(*group, id), before.replica_on(*group, id));
            let wanted: Vec<u64> = placed.replicas.iter().map(|home| home.replica).collect();
            assert!(trio.nodes[2].group(*group).unwrap().is_settled(&wanted), "group {group}");
        }
        trio.expect_leaders();
        let log = trio.logs[2].clone();
        trio.restart(2, log);
        trio.pass(100);
        trio.expect_leaders();
    }

    #[test]
    fn a_directory_that_was_replaced_does_not_come_back() {
        let mut trio = Trio::led();
        let old = trio.logs[2].clone();
        trio.restart(2, Vec::new());
        trio.pass(200);
        trio.restart(2, old);
        trio.pass(30);
        assert!(trio.events.contains(&(2, Event::Refused(Refusal::Retired))));
        assert_eq!(trio.nodes[2].groups().count(), 0);
    }

    #[test]
    fn nobody_is_born_while_one_is_silent() {
        let mut trio = Trio::new();
        let start = NodeStart::default();
        let mut out = Vec::new();
        trio.nodes[2] = Node::new(config(2), start, 0, &mut out).unwrap();
        let mut alone = Node::new(config(0), NodeStart::default(), 0, &mut out).unwrap();
        alone.step(0, NodeInput::Persisted(1), &mut out);
        (1..100).for_each(|tick| alone.step(tick * 50_000, NodeInput::Tick, &mut out));
        alone.flush(&mut out);
        assert_eq!(alone.groups().count(), 0);
        let waits = |output: &NodeOutput| matches!(output, NodeOutput::Event(Event::Waits(_)));
        assert_eq!(out.iter().filter(|output| waits(output)).count(), 1, "said once");
    }

    /// Told before, it would be awaited for ever after a crash, from which it comes back as another
    /// disk.
    #[test]
    fn a_node_says_who_it_is_when_that_is_durable() {
        let mut out = Vec::new();
        let mut node = Node::new(config(1), NodeStart::default(), 0, &mut out).unwrap();
        let is_word = |output: &NodeOutput| matches!(output, NodeOutput::Send { .. });
        node.step(1, NodeInput::PeerUp(node_id("node-1")), &mut out);
        node.step(50_000, NodeInput::Tick, &mut out);
        assert!(!out.iter().any(is_word), "{out:?}");
        node.step(50_001, NodeInput::Persisted(1), &mut out);
        assert_eq!(out.iter().filter(|output| is_word(output)).count(), 2, "to both others");
    }

    #[test]
    fn a_node_says_that_it_agreed_when_that_is_durable() {
        let mut out = Vec::new();
        let mut node = Node::new(config(1), NodeStart::default(), 0, &mut out).unwrap();
        let members = config(1).listed.into_iter().map(|(name, addresses)| {
            let disk = if name == "node-2" { node.identity().disk } else { 5 };
            Member { name, disk, addresses }
        });
        let table = Table::founding(members.collect(), 2, [7, 8], 9).unwrap();
        let found = Control::Found(table).encode();
        let from = node_id("node-1");
        let said = |node: &mut Node| {
            let mut out = Vec::new();
            node.step(1, NodeInput::PeerUp(from), &mut out);
            let [NodeOutput::Send { message: PeerMessage::Control(bytes), .. }] = &out[..] else {
                panic!("{out:?}")
            };
            let Some(Control::Hello(hello)) = Control::decode(bytes) else { panic!() };
            hello.stage
        };
        node.step(1, NodeInput::Persisted(1), &mut out);
        let message = PeerMessage::Control(found);
        node.step(1, NodeInput::Receive { from, message }, &mut out);
        node.flush(&mut out);
        assert_eq!(said(&mut node), Stage::Unborn);
        node.step(1, NodeInput::Persisted(2), &mut out);
        assert_eq!(said(&mut node), Stage::Prepared { cluster: 7 });
    }

    #[test]
    fn behind_a_checkpoint_the_log_before_it_is_needed_for_entries_only() {
        let mut trio = Trio::led();
        let leader = trio.leader(5)[0];
        trio.step(leader, write(5, 77));
        assert_eq!(trio.nodes[leader].needed_from().0, 0, "no checkpoint yet");
        trio.cut_all(leader);
        trio.step(leader, NodeInput::Checkpoint);
        let last = trio.logs[leader].len() as u64;
        assert_eq!(trio.nodes[leader].needed_from(), (last, None));
        trio.nodes[leader].step(trio.now_us, NodeInput::Checkpoint, &mut Vec::new());
        assert_eq!(trio.nodes[leader].needed_from(), (last, None), "one that is not durable");
        trio.restart(leader, trio.logs[leader].clone());
        trio.pass(60);
        let leader = trio.leader(5)[0];
        trio.cut_all(leader);
        trio.step(leader, NodeInput::Checkpoint);
        let last = trio.logs[leader].len() as u64;
        trio.step(leader, write(5, 78));
        let whole = trio.logs[leader].clone();
        let needed = &whole[last as usize - 1..];
        let start = |log: &[Vec<u8>]| {
            let mut start = recover(log.iter().map(|record| &record[..])).unwrap();
            // Where entries lay that are needed no more is not known without them.
            start.groups.values_mut().for_each(|stored| stored.places = Places::default());
            start
        };
        assert!(start(needed) == start(&whole));
        for (group, core) in trio.nodes[leader].groups() {
            let stored = &start(needed).groups[&group].hard_state;
            let live = core.log().hard_state();
            assert_eq!((stored.term, stored.vote), (live.term, live.vote), "group {group}");
        }
        assert_eq!(start(needed).groups[&5].snapshot.data.len(), 9);
        assert_eq!(start(needed).groups[&5].entries.len(), 1);
    }

    #[test]
    fn stated_in_parts_the_log_is_whole_from_where_it_is_needed_on() {
        let mut trio = Trio::led();
        let at = trio.leader(5)[0];
        trio.step(at, NodeInput::Checkpoint);
        trio.cut_all(at);
        let since = trio.nodes[at].last_record();
        let mut parts = 0;
        while trio.nodes[at].stated_from() <= since {
            trio.step(trio.leader(5)[0], write(5, 1000 + parts));
            trio.step(at, NodeInput::State(1));
            assert!(!trio.nodes[at].is_stating(), "it is durable");
            let whole = &trio.logs[at];
            let (from, _) = trio.nodes[at].needed_from();
            let needed = &whole[from as usize - 1..];
            let start = |log: &[Vec<u8>]| {
                let mut start = recover(log.iter().map(|record| &record[..])).unwrap();
                start.groups.values_mut().for_each(|stored| stored.places = Places::default());
                start
            };
            assert!(start(needed) == start(whole), "after {parts} parts");
            parts += 1;
            assert!(parts < 1000, "it comes to an end");
        }
        assert_eq!(parts, CLUSTER_GROUPS as u64 + 1, "one group in each");
        trio.cut_all(at);
        assert!(trio.nodes[at].needed_from().0 > since);
    }

    #[test]
    fn a_write_is_applied_everywhere_and_still_there_after_a_restart() {
        let mut trio = Trio::led();
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
        trio.pass(40);
        assert_eq!(trio.nodes[0].table().cloned(), table);
        assert!((0..3).all(|at| trio.applied[at].contains(&(5, 3, vec![]))), "applied once more");
    }

    #[test]
    fn a_group_in_which_nothing_happens_is_not_touched() {
        let mut trio = Trio::led();
        trio.pass(40);
        let touched = |trio: &mut Trio| -> Vec<Vec<GroupId>> {
            trio.nodes.iter_mut().map(|node| node.take_touched().collect()).collect()
        };
        touched(&mut trio);
        trio.pass(40);
        assert_eq!(touched(&mut trio), vec![Vec::<GroupId>::new(); 3], "heartbeats change nothing");
        let leader = trio.leader(5)[0];
        trio.step(leader, write(5, 77));
        assert_eq!(touched(&mut trio), vec![vec![5]; 3]);
        trio.step(leader, NodeInput::Reading(5));
        touched(&mut trio);
        trio.pass(2 * GROUP_ELECTION_TICKS - 1);
        assert_eq!(touched(&mut trio)[leader], [5], "its lease is kept up");
        assert!(trio.nodes[leader].group(5).unwrap().lease_until_us() > trio.now_us);
    }

    #[test]
    fn a_node_that_ends_hands_its_groups_over() {
        let mut trio = Trio::led();
        trio.step(0, NodeInput::HandOver);
        let groups = (0..CLUSTER_GROUPS as GroupId).chain([META]);
        assert!(groups.clone().all(|group| trio.leader(group).len() == 1));
        assert!(groups.clone().all(|group| trio.leader(group) != [0]));
        // Less than what passes between two of its words about itself.
        trio.pass(8);
        let to_it = trio.nodes[0].id();
        let comes_back =
            |(_, event): &(_, Event)| matches!(event, Event::HandsOver { to, .. } if *to == to_it);
        assert!(!trio.events.iter().any(comes_back), "it said that it ends");
    }

    #[test]
    fn a_replica_is_heard_only_from_the_node_that_it_lives_on() {
        let mut trio = Trio::led();
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
