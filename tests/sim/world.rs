//! A whole cluster in one thread: events in the order of their time, all chance from one seed.
//!
//! ```text
//!   queue --- the next event ---> world --- input ---> group of a node --- outputs --.
//!     ^----------- messages, syncs, applies, ticks, clients, faults <----------------'
//! ```

use super::clients::Clients;
use super::disk::{Found, before};
use super::faults::Replacing;
use super::net::{NODES, Net};
use super::node::{BORN_US, Clock, Node, Replica, Work, config, name, restored};
use super::queue::{Event, Queue};
use super::watch::Watch;
use dse::cluster::core::fate::Fate;
use dse::cluster::core::group::{Committed, Cut, Request};
use dse::cluster::core::log::{Birth, Item, NodeStart, read};
use dse::cluster::core::message::{GroupId, META as META_ID, NodeId, PeerMessage, node_id};
use dse::cluster::core::node::Event as Happening;
use dse::cluster::core::{Message, MessageType, NodeInput, NodeOutput, StateRole, entry};
use dse::util::rng::SplitMix64;
use std::collections::{BTreeMap, VecDeque};

/// Data groups, and behind them the meta group.
pub const DATA_GROUPS: usize = 2;
pub const GROUPS: usize = DATA_GROUPS + 1;
pub const META: usize = DATA_GROUPS;
pub const MS: u64 = 1000;
pub const SECOND: u64 = 1000 * MS;
/// Faults stop then, and everything is healed.
pub const HEALED: u64 = 15 * SECOND;
pub const END: u64 = 20 * SECOND;
/// Bytes of a log beyond which it is to be let go of.
const LOG_BYTES: usize = 24 * 1024;

/// A simulation under way.
pub struct World {
    pub rng: SplitMix64,
    /// Chance of what wall clocks do: nothing else depends on it.
    pub walls: SplitMix64,
    pub now: u64,
    queue: Queue,
    pub nodes: Vec<Node>,
    pub net: Net,
    pub watch: Watch,
    pub clients: Clients,
    pub replacing: Option<Replacing>,
    /// Clients only read until then.
    pub quiet_until: u64,
    pub seen: BTreeMap<&'static str, u64>,
    trace: bool,
}

/// A group's number in the core, and its place in the simulation.
pub fn id_of(group: usize) -> GroupId {
    if group == META { META_ID } else { group as GroupId }
}

fn place_of(group: GroupId) -> usize {
    usize::from(group).min(META)
}

impl World {
    /// Three nodes that were never part of a cluster. Clocks run at rates within `rate_ppm` of each
    /// other at most, as a factor in millionths.
    pub fn new(seed: u64, rate_ppm: u64, trace: bool) -> World {
        let mut rng = SplitMix64::new(seed);
        let nodes = (0..NODES).map(|_| {
            let rate = 1_000_000 + rng.below(rate_ppm - 1_000_000 + 1);
            let offset_us = rng.below(1000 * SECOND);
            Node::new(Clock { offset_us, rate_ppm: rate, wall_ahead_us: 0 })
        });
        let nodes = nodes.collect();
        let mut world = World {
            rng,
            walls: SplitMix64::new(!seed),
            now: 0,
            queue: Queue::default(),
            nodes,
            net: Net::new(),
            watch: Watch::new(GROUPS),
            clients: Clients::new(),
            replacing: None,
            quiet_until: 0,
            seen: BTreeMap::new(),
            trace,
        };
        for node in 0..NODES {
            let delay = world.rng.below(300 * MS);
            world.at(delay, Event::Start { node });
        }
        world
    }

    pub fn count(&mut self, what: &'static str) {
        *self.seen.entry(what).or_default() += 1;
    }

    pub fn trace(&self, what: impl FnOnce() -> String) {
        if self.trace {
            println!("{:>9} {}", self.now, what());
        }
    }

    pub fn at(&mut self, time: u64, event: Event) {
        self.queue.push(time.max(self.now), event);
    }

    pub fn after(&mut self, delay: u64, event: Event) {
        self.at(self.now + delay, event);
    }

    /// Lets things happen until the given time, or until something is wrong.
    pub fn run_until(&mut self, end: u64) {
        while self.watch.wrong.is_none() {
            let Some((time, event)) = self.queue.pop_until(end) else {
                self.now = end;
                return;
            };
            self.now = time;
            self.happen(event);
        }
    }

    fn happen(&mut self, event: Event) {
        match event {
            Event::Tick { node, life } => {
                if self.is_now(node, life, |life| Event::Tick { node, life }) {
                    let wall_us = self.nodes[node].clock.wall(self.now);
                    self.drive(node, NodeInput::Wall(wall_us));
                    self.drive(node, NodeInput::Tick);
                }
                let period = self.nodes[node].clock.real(50 * MS);
                if self.nodes[node].life == life && self.nodes[node].stopped_until <= self.now {
                    self.after(period, Event::Tick { node, life });
                }
            }
            Event::Late { node, life } => {
                if self.is_now(node, life, |life| Event::Late { node, life }) {
                    self.drive(node, NodeInput::Tick);
                }
            }
            Event::Arrive { from, to, message } => self.arrive(from, to, message),
            Event::Synced { node, life } => {
                if self.is_now(node, life, |life| Event::Synced { node, life }) {
                    self.synced(node);
                }
            }
            Event::Apply { node, life, group } => {
                if self.is_now(node, life, |life| Event::Apply { node, life, group }) {
                    self.work(node, group);
                }
            }
            Event::Flush { node, life, group } => {
                if self.is_now(node, life, |life| Event::Flush { node, life, group }) {
                    self.flush(node, group);
                }
            }
            Event::Start { node } => self.start(node),
            Event::End { node, life } => {
                if self.is_now(node, life, |life| Event::End { node, life }) {
                    self.crash(node);
                }
            }
            Event::Forget { leader, node } => self.forget(leader, node),
            Event::Client(client) => self.client_asks(client),
            Event::Timeout { client, ticket } => self.client_gives_up(client, ticket),
            Event::Fault => self.fault(),
            Event::Manage => self.manage(),
        }
    }

    /// True if something may happen to this life of a node now; if it is stopped, `again` happens
    /// later.
    fn is_now(&mut self, node: usize, life: u64, again: impl Fn(u64) -> Event) -> bool {
        let state = &self.nodes[node];
        if state.life != life || !state.is_up() {
            return false;
        }
        if state.stopped_until > self.now {
            self.at(state.stopped_until, again(life));
            return false;
        }
        true
    }

    fn arrive(&mut self, from: (usize, u64), to: usize, message: Box<PeerMessage>) {
        let state = &self.nodes[to];
        // What nodes say of themselves belongs to a connection; replicas' words may be late.
        let is_old = self.nodes[from.0].life != from.1;
        if !state.is_up() || is_old && matches!(*message, PeerMessage::Control(_)) {
            return;
        }
        if state.stopped_until > self.now {
            return self.at(state.stopped_until, Event::Arrive { from, to, message });
        }
        if let PeerMessage::Raft { group, message } = &*message {
            let runs = state.core.as_ref().and_then(|core| core.group(*group));
            if runs.is_none_or(|core| core.id() != message.to) {
                self.count("message to a replica that is gone");
            }
        }
        let from = node_id(&name(from.0));
        self.drive(to, NodeInput::Receive { from, message: *message });
    }

    fn synced(&mut self, node: usize) {
        let number = self.nodes[node].disk.synced();
        self.drive(node, NodeInput::Persisted(number));
        let state = &mut self.nodes[node];
        let Some(core) = &state.core else { return };
        let before = state.disk.size();
        state.disk.let_go(core.needed_from().0);
        if state.disk.size() < before {
            self.count("log let go");
        } else if before > LOG_BYTES && self.rng.below(20) == 0 {
            self.count("checkpoint");
            self.drive(node, NodeInput::Checkpoint);
        }
        self.sync(node);
    }

    fn sync(&mut self, node: usize) {
        let state = &mut self.nodes[node];
        if state.is_up() && state.disk.begin_sync() {
            let (latency, life) = (state.disk.latency_us, state.life);
            let delay = latency + self.rng.below(latency);
            self.after(delay, Event::Synced { node, life });
        }
    }

    /// Requests that came together share an entry.
    pub fn submit(&mut self, node: usize, group: usize, ticket: u64, bytes: Vec<u8>) {
        let life = self.nodes[node].life;
        let Some(replica) = &mut self.nodes[node].replicas[group] else { return };
        replica.requests.push((ticket, bytes));
        if replica.requests.len() == 1 {
            let delay = self.rng.below(2 * MS);
            self.after(delay, Event::Flush { node, life, group });
        }
    }

    fn flush(&mut self, node: usize, group: usize) {
        let Some(replica) = &mut self.nodes[node].replicas[group] else { return };
        let waiting = std::mem::take(&mut replica.requests).into_iter();
        let requests = waiting.map(|(ticket, bytes)| Request { ticket, bytes }).collect();
        self.drive(node, NodeInput::Propose { group: id_of(group), requests });
    }

    /// Gives a node its input, and obeys its outputs.
    pub fn drive(&mut self, node: usize, input: NodeInput) {
        let mut inputs = VecDeque::from([input]);
        while let Some(input) = inputs.pop_front() {
            let now_us = self.nodes[node].clock.at(self.now);
            let Some(core) = &mut self.nodes[node].core else { return };
            let mut out = Vec::new();
            core.step(now_us, input, &mut out);
            core.flush(&mut out);
            if !self.obey_all(node, out, &mut inputs) {
                return;
            }
        }
        (0..GROUPS).for_each(|group| self.watch_leases(group));
        self.sync(node);
    }

    /// False if the node crashed meanwhile.
    fn obey_all(
        &mut self,
        node: usize,
        out: Vec<NodeOutput>,
        inputs: &mut VecDeque<NodeInput>,
    ) -> bool {
        for output in out {
            if self.nodes[node].blows() {
                self.count("crash between two outputs");
                self.crash(node);
                return false;
            }
            self.obey(node, output, inputs);
        }
        true
    }

    fn obey(&mut self, node: usize, output: NodeOutput, inputs: &mut VecDeque<NodeInput>) {
        match output {
            NodeOutput::Persist { token, record } => self.write(node, token, &record),
            NodeOutput::Send { to, message } => self.send(node, to, message),
            NodeOutput::Begin { group, snapshot } => {
                let replica = Replica::begin(&snapshot);
                self.nodes[node].replicas[place_of(group)] = Some(replica);
            }
            NodeOutput::End { group } => self.nodes[node].replicas[place_of(group)] = None,
            NodeOutput::Apply { group, entries } => {
                self.enqueue(node, place_of(group), Work::Apply(entries), inputs);
            }
            NodeOutput::Restore { group, snapshot } => {
                self.count("snapshot installed");
                self.enqueue(node, place_of(group), Work::Restore(snapshot), inputs);
            }
            NodeOutput::Answer { group, tickets } => {
                for ticket in tickets {
                    self.answer_read(node, place_of(group), ticket);
                }
            }
            NodeOutput::Fate { fate, tickets, .. } => {
                for ticket in tickets {
                    self.count(match fate {
                        Fate::Refused => "request refused",
                        Fate::NotApplied => "request proven not applied",
                        Fate::Uncertain => "request uncertain after a snapshot",
                    });
                    self.client_ends(ticket, fate);
                }
            }
            NodeOutput::Role { group, role, .. } => {
                let Some(core) = self.nodes[node].group(place_of(group)) else { return };
                if role.role == StateRole::Leader {
                    self.watch.leads(place_of(group), core);
                    self.count("leader elected");
                    self.slow_down(node, place_of(group));
                }
                self.trace(|| format!("group {group}: node {node} is {role:?}"));
            }
            NodeOutput::Table(table) => self.watch.table(&table),
            NodeOutput::WantSnapshot { group } => inputs.extend(self.cut(node, place_of(group))),
            NodeOutput::Nonsense { why, .. } => self.watch.honest(false, why),
            NodeOutput::Event(event) => {
                let lacks = matches!(event, Happening::Lacks { .. });
                self.watch.honest(!lacks, "a replica lacks what it promised");
                self.trace(|| format!("node {node}: {event:?}"));
            }
        }
    }

    fn write(&mut self, node: usize, number: u64, record: &[u8]) {
        let disk = &mut self.nodes[node].disk;
        disk.write(number, record);
        let (of, items) = read(record).expect("a record that was just made");
        assert_eq!(of, number, "a record knows its number");
        for item in items {
            let before = before(&disk.written, &item);
            if let Item::Group(group, _, write) = &item {
                self.watch.writes(place_of(*group), &write.entries, before);
            }
            disk.written.take(number, item);
        }
    }

    fn send(&mut self, node: usize, to: NodeId, message: PeerMessage) {
        let Some(to) = (0..NODES).find(|&at| node_id(&name(at)) == to) else { return };
        if let PeerMessage::Raft { group, message } = &message {
            self.watch_send(node, *group, message);
        }
        let from = (node, self.nodes[node].life);
        for delay in self.net.delays(&mut self.rng, self.now, node, to).into_iter().flatten() {
            let message = Box::new(message.clone());
            self.after(delay, Event::Arrive { from, to, message });
        }
    }

    fn watch_send(&mut self, node: usize, group: GroupId, message: &Message) {
        if message.get_msg_type() == MessageType::MsgTimeoutNow {
            self.count("forced campaign");
        }
        let durable = &self.nodes[node].disk.durable;
        let birth = durable.identity.as_ref().map(|identity| &identity.birth);
        let is_member = matches!(birth, Some(Birth::Member(_)));
        let stored = durable.groups.get(&group).filter(|stored| stored.replica == message.from);
        let stored = stored.cloned().unwrap_or_default();
        self.watch.takes_part(is_member, place_of(group), message);
        self.watch.sends(place_of(group), &stored, message);
    }

    fn enqueue(&mut self, node: usize, group: usize, work: Work, inputs: &mut VecDeque<NodeInput>) {
        let life = self.nodes[node].life;
        let Some(replica) = &mut self.nodes[node].replicas[group] else { return };
        replica.work.push_back(work);
        if replica.lags {
            return;
        }
        // Loading what was received takes its time, and so does catching up for a new leader.
        let takes_long = match replica.work.back() {
            Some(Work::Restore(_)) => self.rng.below(3) == 0,
            _ => self.now < replica.slow_until,
        };
        if takes_long || self.rng.below(12) == 0 {
            replica.lags = true;
            let delay = match replica.work.back() {
                Some(Work::Restore(_)) if takes_long => self.rng.below(1500 * MS),
                _ if takes_long => replica.slow_until - self.now,
                _ => self.rng.below(30 * MS),
            };
            self.after(delay, Event::Apply { node, life, group });
        } else {
            inputs.extend(self.do_work(node, group));
        }
    }

    fn slow_down(&mut self, node: usize, group: usize) {
        let is_slow = self.rng.below(3) == 0;
        let until = self.now + self.rng.below(200 * MS);
        let replica = self.nodes[node].replicas.get_mut(group).and_then(Option::as_mut);
        if let Some(replica) = replica.filter(|_| is_slow) {
            replica.slow_until = until;
        }
    }

    fn work(&mut self, node: usize, group: usize) {
        for input in self.do_work(node, group) {
            self.drive(node, input);
        }
    }

    /// Applies and restores what waits; returns what the node is to be told.
    fn do_work(&mut self, node: usize, group: usize) -> Vec<NodeInput> {
        let Some(replica) = &mut self.nodes[node].replicas[group] else { return Vec::new() };
        replica.lags = false;
        let mut answers = Vec::new();
        for work in std::mem::take(&mut replica.work) {
            match work {
                Work::Apply(entries) => {
                    for entry in entries {
                        self.watch.now = self.now;
                        apply(group, replica, &mut self.watch, &entry, &mut answers);
                    }
                }
                Work::Restore(snapshot) => {
                    replica.machine = restored(&snapshot);
                    replica.cut = replica.machine.applied;
                    self.watch.has_state(group, &replica.machine);
                }
            }
        }
        let index = replica.machine.applied;
        let is_due = index >= replica.cut + 20;
        let mut inputs = vec![NodeInput::Applied { group: id_of(group), index }];
        // A disk that was just lost may be one of those that made up the majority.
        let needed = if self.replacing.is_some() { 1 } else { 2 };
        for (ticket, entry, value) in answers {
            let stored = self.nodes.iter().filter_map(|n| n.disk.durable.groups.get(&id_of(group)));
            self.watch.answers(group, entry, stored, needed);
            self.client_is_told(ticket, value);
        }
        if is_due {
            inputs.extend(self.cut(node, group));
        }
        inputs
    }

    fn cut(&mut self, node: usize, group: usize) -> Option<NodeInput> {
        let keep = self.rng.below(4) * self.rng.below(12);
        let replica = self.nodes[node].replicas[group].as_mut()?;
        let machine = &replica.machine;
        replica.cut = machine.applied;
        let cut = Cut {
            index: machine.applied,
            time_us: machine.time_us,
            data: machine.to_bytes(),
            keep_from: (machine.applied + 1).saturating_sub(keep),
        };
        self.count("snapshot cut");
        Some(NodeInput::Cut { group: id_of(group), cut })
    }

    fn answer_read(&mut self, node: usize, group: usize, ticket: u64) {
        let Some(replica) = &self.nodes[node].replicas[group] else { return };
        let value = replica.machine.value(self.clients.key_of(ticket));
        self.client_is_told(ticket, value);
    }

    fn watch_leases(&mut self, group: usize) {
        let replicas = self.nodes.iter().filter_map(|node| {
            let core = node.group(group)?;
            Some((core, node.clock.at(self.now) < core.lease_until_us()))
        });
        let replicas: Vec<_> = replicas.collect();
        self.watch.leases(group, &replicas);
    }

    /// A node starts on what its disk has.
    pub fn start(&mut self, node: usize) {
        let now_us = self.nodes[node].clock.at(self.now);
        if self.nodes[node].is_up() {
            return;
        }
        let start = match self.nodes[node].disk.open() {
            Found::Whole(start) => start,
            Found::Damage => {
                self.count("damage found");
                NodeStart { lost: Some(self.watch.cluster.unwrap_or(0)), ..NodeStart::default() }
            }
        };
        self.trace(|| format!("node {node} starts behind record {}", start.last));
        let config = config(node, self.rng.next_u64(), BORN_US + self.now);
        let mut out = Vec::new();
        let core = dse::cluster::core::Node::new(config, start, now_us, &mut out);
        let state = &mut self.nodes[node];
        state.core = Some(core.expect("what is durable fits together"));
        state.life += 1;
        let life = state.life;
        let mut inputs = VecDeque::new();
        if !self.obey_all(node, out, &mut inputs) {
            return;
        }
        inputs.into_iter().for_each(|input| self.drive(node, input));
        self.sync(node);
        self.after(0, Event::Tick { node, life });
        for other in (0..NODES).filter(|&other| other != node) {
            self.drive(node, NodeInput::PeerUp(node_id(&name(other))));
            self.drive(other, NodeInput::PeerDown(node_id(&name(node))));
            self.drive(other, NodeInput::PeerUp(node_id(&name(node))));
        }
    }

    /// A node ends; of what was not synced some may be there all the same.
    pub fn crash(&mut self, node: usize) {
        let state = &mut self.nodes[node];
        let waiting = state.disk.waiting() as u64;
        state.disk.crash(self.rng.below(waiting + 1) as usize);
        state.replicas.iter_mut().for_each(|replica| *replica = None);
        state.core = None;
        (state.fuse, state.stopped_until) = (None, 0);
        state.life += 1;
        self.count("crash");
        self.trace(|| format!("node {node} crashes"));
        self.clients_of_crashed(node);
        let delay = if self.rng.below(3) == 0 { 5 * MS } else { self.rng.below(2 * SECOND) };
        self.after(delay, Event::Start { node });
    }

    /// The node on which a replica of the group runs that leads in the latest term.
    pub fn leader(&self, group: usize) -> Option<usize> {
        let leads = |node: &usize| self.nodes[*node].leads(group);
        (0..NODES).filter(|node| leads(node).is_some()).max_by_key(leads)
    }
}

/// Applies one entry, and collects the answers to its requests.
fn apply(
    group: usize,
    replica: &mut Replica,
    watch: &mut Watch,
    committed: &Committed,
    answers: &mut Vec<(u64, (u64, u64), u64)>,
) {
    watch.applies(group, &replica.machine, committed);
    replica.machine.applied = committed.index;
    if let Some(batch) = entry::decode(&committed.data) {
        watch.time(group, replica.machine.time_us, batch.time_us);
        replica.machine.time_us = batch.time_us;
        let mut tickets = committed.tickets.iter();
        for request in batch.requests {
            let value = replica.machine.apply(request);
            let entry = (committed.index, committed.term);
            answers.extend(tickets.next().map(|&ticket| (ticket, entry, value)));
        }
    }
    watch.has_state(group, &replica.machine);
}
