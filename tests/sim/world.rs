//! A whole cluster in one thread: events in the order of their time, all chance from one seed.
//!
//! ```text
//!   queue --- the next event ---> world --- input ---> group of a node --- outputs --.
//!     ^----------- messages, syncs, applies, ticks, clients, faults <----------------'
//! ```

use super::clients::Clients;
use super::disk::Stored;
use super::faults::Replacing;
use super::net::{NODES, Net};
use super::node::{Clock, Node, Replica, Work, restored};
use super::queue::{Event, Queue};
use super::watch::Watch;
use dse::cluster::core::fate::Fate;
use dse::cluster::core::group::{Committed, Cut, Input, Output, Request, birth};
use dse::cluster::core::{Message, MessageType, StateRole, entry};
use dse::util::rng::SplitMix64;
use std::collections::{BTreeMap, HashMap, VecDeque};

/// Data groups, and behind them the meta group, whose counter gives replicas their ids.
pub const DATA_GROUPS: usize = 2;
pub const GROUPS: usize = DATA_GROUPS + 1;
pub const META: usize = DATA_GROUPS;
pub const MS: u64 = 1000;
pub const SECOND: u64 = 1000 * MS;
/// Faults stop then, and everything is healed.
pub const HEALED: u64 = 15 * SECOND;
pub const END: u64 = 20 * SECOND;

/// A simulation under way.
pub struct World {
    pub rng: SplitMix64,
    pub now: u64,
    queue: Queue,
    pub nodes: Vec<Node>,
    pub net: Net,
    pub watch: Watch,
    pub clients: Clients,
    /// Where each replica that may run lives: (node, group).
    pub home: HashMap<u64, (usize, usize)>,
    pub replacing: Option<Replacing>,
    pub seen: BTreeMap<&'static str, u64>,
    scratch: Vec<Output>,
    trace: bool,
}

impl World {
    /// A cluster of three nodes that was just born. Clocks run at rates within `rate_ppm` of each
    /// other at most, as a factor in millionths.
    pub fn new(seed: u64, rate_ppm: u64, trace: bool) -> World {
        let mut rng = SplitMix64::new(seed);
        let mut home = HashMap::new();
        let nodes = (0..NODES).map(|node| {
            let rate = 1_000_000 + rng.below(rate_ppm - 1_000_000 + 1);
            let clock = Clock { offset_us: rng.below(1000 * SECOND), rate_ppm: rate };
            let stored = (0..GROUPS).map(|group| {
                home.insert(first_id(node, group), (node, group));
                newborn(first_id(node, group), group)
            });
            Node::new(clock, stored.collect())
        });
        let nodes = nodes.collect();
        let mut world = World {
            rng,
            now: 0,
            queue: Queue::default(),
            nodes,
            net: Net::new(),
            watch: Watch::new(GROUPS),
            clients: Clients::new(),
            home,
            replacing: None,
            seen: BTreeMap::new(),
            scratch: Vec::new(),
            trace,
        };
        (0..NODES).for_each(|node| world.start(node));
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
                    (0..GROUPS).for_each(|group| self.drive(node, group, Input::Tick));
                }
                let period = self.nodes[node].clock.real(50 * MS);
                if self.nodes[node].life == life && self.nodes[node].stopped_until <= self.now {
                    self.after(period, Event::Tick { node, life });
                }
            }
            Event::Late { node, life } => {
                if self.is_now(node, life, |life| Event::Late { node, life }) {
                    (0..GROUPS).for_each(|group| self.drive(node, group, Input::Tick));
                }
            }
            Event::Arrive(message) => self.arrive(message),
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
        if state.life != life || !state.is_up {
            return false;
        }
        if state.stopped_until > self.now {
            self.at(state.stopped_until, again(life));
            return false;
        }
        true
    }

    fn arrive(&mut self, message: Box<Message>) {
        let Some(&(node, group)) = self.home.get(&message.to) else {
            self.count("message to a replica that is gone");
            return;
        };
        let state = &self.nodes[node];
        if state.is_up && state.stopped_until > self.now {
            self.at(state.stopped_until, Event::Arrive(message));
        } else if state.is_up {
            self.drive(node, group, Input::Receive(*message));
        }
    }

    fn synced(&mut self, node: usize) {
        for (group, token) in self.nodes[node].disk.synced() {
            self.drive(node, group, Input::Persisted(token));
        }
        self.sync(node);
    }

    fn sync(&mut self, node: usize) {
        let state = &mut self.nodes[node];
        if state.is_up && state.disk.begin_sync() {
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
        self.drive(node, group, Input::Propose(requests));
    }

    /// Gives a group its input, and obeys its outputs.
    pub fn drive(&mut self, node: usize, group: usize, input: Input) {
        let mut inputs = VecDeque::from([input]);
        while let Some(input) = inputs.pop_front() {
            let now_us = self.nodes[node].clock.at(self.now);
            let Some(replica) = &mut self.nodes[node].replicas[group] else { return };
            let mut out = std::mem::take(&mut self.scratch);
            replica.core.step(now_us, input, &mut out);
            for output in out.drain(..) {
                if self.nodes[node].blows() {
                    self.count("crash between two outputs");
                    self.crash(node);
                    return;
                }
                self.obey(node, group, output, &mut inputs);
            }
            self.scratch = out;
        }
        self.watch_leases(group);
        self.sync(node);
    }

    fn obey(&mut self, node: usize, group: usize, output: Output, inputs: &mut VecDeque<Input>) {
        let state = &mut self.nodes[node];
        let Some(replica) = &mut state.replicas[group] else { return };
        match output {
            Output::Persist(write) => {
                self.watch.writes(group, &replica.core, &write);
                state.disk.write(group, write);
            }
            Output::Send(message) => {
                self.watch.sends(group, &state.disk.stored[group], &message);
                self.send(node, message);
            }
            Output::Apply(entries) => {
                replica.work.push_back(Work::Apply(entries));
                self.apply_soon(node, group, inputs);
            }
            Output::Restore(snapshot) => {
                replica.work.push_back(Work::Restore(snapshot));
                self.count("snapshot installed");
                self.apply_soon(node, group, inputs);
            }
            Output::Answer(tickets) => {
                for ticket in tickets {
                    self.answer_read(node, group, ticket);
                }
            }
            Output::Fate(fate, tickets) => {
                for ticket in tickets {
                    self.count(match fate {
                        Fate::Refused => "request refused",
                        Fate::NotApplied => "request proven not applied",
                        Fate::Uncertain => "request uncertain after a snapshot",
                    });
                    self.client_ends(ticket, fate);
                }
            }
            Output::Role(role) => {
                let id = replica.core.id();
                if role.role == StateRole::Leader {
                    self.watch.leads(group, &replica.core);
                    self.count("leader elected");
                }
                self.trace(|| format!("group {group}: {id} on node {node} is {role:?}"));
            }
            Output::WantSnapshot => inputs.extend(self.cut(node, group)),
        }
    }

    fn send(&mut self, node: usize, message: Message) {
        let Some(&(to, _)) = self.home.get(&message.to) else { return };
        if message.get_msg_type() == MessageType::MsgTimeoutNow {
            self.count("forced campaign");
        }
        for delay in self.net.delays(&mut self.rng, self.now, node, to).into_iter().flatten() {
            self.after(delay, Event::Arrive(Box::new(message.clone())));
        }
    }

    fn apply_soon(&mut self, node: usize, group: usize, inputs: &mut VecDeque<Input>) {
        let life = self.nodes[node].life;
        let Some(replica) = &mut self.nodes[node].replicas[group] else { return };
        if replica.lags {
            return;
        }
        if self.rng.below(12) == 0 {
            replica.lags = true;
            let delay = self.rng.below(30 * MS);
            self.after(delay, Event::Apply { node, life, group });
        } else {
            inputs.extend(self.do_work(node, group));
        }
    }

    fn work(&mut self, node: usize, group: usize) {
        for input in self.do_work(node, group) {
            self.drive(node, group, input);
        }
    }

    /// Applies and restores what waits; returns what the group is to be told.
    fn do_work(&mut self, node: usize, group: usize) -> Vec<Input> {
        let Some(replica) = &mut self.nodes[node].replicas[group] else { return Vec::new() };
        replica.lags = false;
        let mut answers = Vec::new();
        for work in std::mem::take(&mut replica.work) {
            match work {
                Work::Apply(entries) => {
                    for entry in entries {
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
        let applied = replica.machine.applied;
        let is_due = applied >= replica.cut + 60;
        let mut inputs = vec![Input::Applied(applied)];
        // A disk that was just lost may be one of those that made up the majority.
        let needed = if self.replacing.is_some() { 1 } else { 2 };
        for (ticket, entry, value) in answers {
            let stored = self.nodes.iter().map(|node| &node.disk.stored[group]);
            self.watch.answers(group, entry, stored, needed);
            self.client_is_told(ticket, value);
        }
        if is_due {
            inputs.extend(self.cut(node, group));
        }
        inputs
    }

    fn cut(&mut self, node: usize, group: usize) -> Option<Input> {
        let keep = self.rng.below(40);
        let replica = self.nodes[node].replicas[group].as_mut()?;
        let machine = &replica.machine;
        replica.cut = machine.applied;
        self.count("snapshot cut");
        Some(Input::Cut(cut_of(self.nodes[node].replicas[group].as_ref()?, keep)))
    }

    fn answer_read(&mut self, node: usize, group: usize, ticket: u64) {
        let Some(replica) = &self.nodes[node].replicas[group] else { return };
        let value = replica.machine.value(self.clients.key_of(ticket));
        self.client_is_told(ticket, value);
    }

    fn watch_leases(&mut self, group: usize) {
        let replicas = self.nodes.iter().filter_map(|node| {
            let core = &node.replicas[group].as_ref()?.core;
            Some((core, node.clock.at(self.now) < core.lease_until_us()))
        });
        let replicas: Vec<_> = replicas.collect();
        self.watch.leases(group, &replicas);
    }

    /// A node starts on what its disk has.
    pub fn start(&mut self, node: usize) {
        let now_us = self.nodes[node].clock.at(self.now);
        let state = &mut self.nodes[node];
        if state.is_up {
            return;
        }
        state.is_up = true;
        state.life += 1;
        for (replica, stored) in state.replicas.iter_mut().zip(&state.disk.stored) {
            let has_replica = stored.replica != 0;
            *replica = has_replica.then(|| Replica::start(stored, order(), now_us));
        }
        let life = state.life;
        self.trace(|| format!("node {node} starts"));
        self.after(0, Event::Tick { node, life });
    }

    /// A node ends; of what was not synced some may be there all the same.
    pub fn crash(&mut self, node: usize) {
        let state = &mut self.nodes[node];
        let waiting = state.disk.waiting() as u64;
        state.disk.crash(self.rng.below(waiting + 1) as usize);
        state.replicas.iter_mut().for_each(|replica| *replica = None);
        (state.is_up, state.fuse, state.stopped_until) = (false, None, 0);
        state.life += 1;
        self.count("crash");
        self.trace(|| format!("node {node} crashes"));
        self.clients_of_crashed(node);
        let delay = if self.rng.below(3) == 0 { 5 * MS } else { self.rng.below(2 * SECOND) };
        self.after(delay, Event::Start { node });
    }

    /// The node on which a replica of the group runs that leads in the latest term.
    pub fn leader(&self, group: usize) -> Option<usize> {
        let leading = |node: &usize| {
            let role =
                self.nodes[*node].replicas[group].as_ref().map(|replica| replica.core.role());
            role.filter(|role| role.role == StateRole::Leader).map(|role| role.term)
        };
        (0..NODES).filter(|node| leading(node).is_some()).max_by_key(leading)
    }
}

/// Replica ids that the cluster is born with.
pub fn first_id(node: usize, group: usize) -> u64 {
    (1 + node + NODES * group) as u64
}

/// Ids in the order of the ring; replicas that come later stand behind.
pub fn order() -> Vec<u64> {
    (0..NODES).flat_map(|node| (0..GROUPS).map(move |group| first_id(node, group))).collect()
}

fn newborn(replica: u64, group: usize) -> Stored {
    let voters: Vec<u64> = (0..NODES).map(|node| first_id(node, group)).collect();
    let snapshot = birth(&voters, 1_000_000, &[]);
    Stored { replica, snapshot, ..Stored::default() }
}

fn cut_of(replica: &Replica, keep: u64) -> Cut {
    let machine = &replica.machine;
    Cut {
        index: machine.applied,
        time_us: machine.time_us,
        data: machine.to_bytes(),
        keep_from: (machine.applied + 1).saturating_sub(keep),
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
