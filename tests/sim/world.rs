//! A whole cluster in one thread: events in the order of their time, all chance from one seed.
//!
//! ```text
//!   queue --- the next event ---> world --- input ---> group of a node --- outputs --.
//!     ^----------- messages, syncs, applies, ticks, clients, faults <----------------'
//! ```

use super::clients::Clients;
use super::desk::Desk;
use super::disk::Found;
use super::faults::Replacing;
use super::links::Links;
use super::net::{NODES, Net};
use super::node::{Clock, Node, config};
use super::queue::{Event, Queue};
use super::watch::Watch;
use dse::cluster::core::NodeInput;
use dse::cluster::core::message::{GroupId, META as META_ID};
use dse::driver::beats::Beats;
use dse::engine::ProcessClock;
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
pub const LOG_BYTES: u64 = 3 * 1024 * 1024;
/// Bytes that it may be longer: files are let go of whole.
pub const LOG_BEYOND: u64 = 1024 * 1024;

/// A simulation under way.
pub struct World {
    pub rng: SplitMix64,
    /// Chance of what wall clocks do: nothing else depends on it.
    pub walls: SplitMix64,
    pub now: u64,
    queue: Queue,
    pub nodes: Vec<Node>,
    pub net: Net,
    pub links: Links,
    pub watch: Watch,
    pub clients: Clients,
    pub replacing: Option<Replacing>,
    /// Clients only read until then.
    pub quiet_until: u64,
    /// A group that is cut only where it is to be, so that its entries pin the log.
    pub rarely_cut: Option<usize>,
    pub seen: BTreeMap<&'static str, u64>,
    trace: bool,
}

/// A group's number in the core, and its place in the simulation.
pub fn id_of(group: usize) -> GroupId {
    if group == META { META_ID } else { group as GroupId }
}

pub fn place_of(group: GroupId) -> usize {
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
            links: Links::default(),
            watch: Watch::new(GROUPS),
            clients: Clients::new(),
            replacing: None,
            quiet_until: 0,
            rarely_cut: Some((seed % 4) as usize).filter(|group| *group < DATA_GROUPS),
            seen: BTreeMap::new(),
            trace,
        };
        for node in 0..NODES {
            let delay = world.rng.below(300 * MS);
            world.at(delay, Event::Start { node });
            (0..node).for_each(|caller| world.at(delay, Event::Dial { caller, called: node }));
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

    /// Whether nothing was wrong so far.
    pub fn is_right(&self) -> bool {
        self.watch.wrong.is_none()
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
                    self.tick(node);
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
            Event::Stray { from, to, bytes, is_damaged } => {
                self.stray(from, to, bytes, is_damaged);
            }
            Event::Packet { from, to, conn, bytes } => self.packet(from, to, conn, bytes),
            Event::Dial { caller, called } => self.dial(caller, called),
            Event::Closed { node, other, conn } => self.closed(node, other, conn),
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
            Event::Flush { node, life } => {
                if self.is_now(node, life, |life| Event::Flush { node, life }) {
                    self.take_requests(node);
                }
            }
            Event::Worker { node, life, client, batch } => {
                if self.is_now(node, life, |life| Event::Worker { node, life, client, batch }) {
                    self.worker_reads(client, batch);
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
            Event::Timeout { client, batch } => self.client_gives_up(client, batch),
            Event::Silence { node, until } => self.silence(node, until),
            Event::Break { node } => self.break_all(node),
            Event::Fault => self.fault(),
            Event::Mend { node } => self.mend(node),
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

    fn synced(&mut self, node: usize) {
        let newest = self.nodes[node].disk.synced();
        if let Some(number) = newest {
            self.drive(node, NodeInput::Persisted(number));
        }
        self.sync(node);
    }

    /// Keeps the log short (C13, C14).
    fn shorten(&mut self, node: usize) {
        let state = &mut self.nodes[node];
        let Some(core) = &state.core else { return };
        let (begin, _) = state.disk.extent();
        let now_us = state.clock.at(self.now);
        let (cut, input) = state.disk.shorten(now_us, core, LOG_BYTES);
        if state.disk.extent().0 > begin {
            self.count("log let go");
        }
        if let Some(input) = input {
            self.count("checkpoint");
            self.drive(node, input);
        }
        for group in cut {
            self.count("group cut that pins the log");
            if let Some(input) = self.cut(node, place_of(group)) {
                self.drive(node, input);
            }
        }
    }

    /// Has the disk write what waits.
    pub fn sync(&mut self, node: usize) {
        self.begin_sync(node, false);
    }

    /// As [`World::sync`]; a log that `is_quiet` states how far it is durable.
    fn begin_sync(&mut self, node: usize, is_quiet: bool) {
        let state = &mut self.nodes[node];
        if state.is_up() && state.disk.begin_sync(is_quiet) {
            let (latency, life) = (state.disk.latency_us, state.life);
            let delay = latency + self.rng.below(latency);
            self.after(delay, Event::Synced { node, life });
        }
    }

    /// What a driver does at each tick.
    fn tick(&mut self, node: usize) {
        self.show_time(node);
        let reading_us = self.nodes[node].shown_ns.1 / 1000;
        self.drive(node, NodeInput::Wall(reading_us));
        self.drive(node, NodeInput::Tick);
        self.tend_links(node);
        self.nodes[node].beats.tick();
        self.tick_lanes(node);
        self.tell_time(node);
        self.shorten(node);
        let now = self.now;
        let state = &mut self.nodes[node];
        if !state.is_up() {
            return;
        }
        state.disk.look_after();
        if state.disk.is_broken() {
            self.count("log broken");
            return self.crash(node);
        }
        let is_slow = state.disk.is_slow(state.clock.at(now), state.was_slow);
        let (is_full, was_slow) = (state.disk.is_full(), state.was_slow);
        if is_full {
            self.count("disk full");
        }
        if is_slow != was_slow {
            self.nodes[node].was_slow = is_slow;
            self.count("disk found slow, or quick again");
            self.drive(node, NodeInput::SlowDisk(is_slow));
        }
        self.begin_sync(node, true);
    }

    /// The process clock is compared with the wall clock, and must neither go back nor step (C3).
    fn show_time(&mut self, node: usize) {
        let state = &mut self.nodes[node];
        let boot_ns = state.clock.at(self.now) * 1000;
        state.process.tick_at(state.clock.wall(self.now) * 1000, boot_ns);
        let reading_ns = state.process.reading_ns(boot_ns);
        let before = std::mem::replace(&mut state.shown_ns, (boot_ns, reading_ns));
        self.watch.process_clock(before, (boot_ns, reading_ns));
    }

    pub fn watch_leases(&mut self, group: usize) {
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
        let config_random = self.rng.next_u64();
        let start = match self.nodes[node].disk.open(config_random) {
            Found::Whole(start) => start,
            Found::Damage(start) => {
                self.count("damage found");
                start
            }
            Found::Refused => {
                self.count("start refused by the disk");
                return self.after(200 * MS, Event::Start { node });
            }
            Found::Wrong(what) => return self.watch.note(format!("node {node}: {what}")),
        };
        self.trace(|| format!("node {node} starts behind record {}", start.last));
        let (wall_us, boot_us) = (self.nodes[node].clock.wall(self.now), now_us);
        let config = config(node, config_random, wall_us);
        let mut out = Vec::new();
        let core = dse::cluster::core::Node::new(config, start, now_us, &mut out);
        let state = &mut self.nodes[node];
        state.core = Some(core.expect("what is durable fits together"));
        state.desk = Desk::new(config_random);
        state.beats = Beats::default();
        state.process = ProcessClock::at(wall_us * 1000, boot_us * 1000);
        (state.shown_ns, state.was_slow) = ((boot_us * 1000, wall_us * 1000), false);
        state.life += 1;
        let life = state.life;
        let mut inputs = VecDeque::new();
        if !self.obey_all(node, out, &mut inputs) {
            return;
        }
        self.settle(node, inputs);
        self.after(0, Event::Tick { node, life });
    }

    /// A node ends; of what was not synced some may be there all the same.
    pub fn crash(&mut self, node: usize) {
        self.links_of_crashed(node);
        let state = &mut self.nodes[node];
        state.disk.crash(&mut self.rng);
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
