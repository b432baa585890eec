//! The driver of a cluster's node: one thread that owns its groups.
//!
//! ```text
//!   workers --Gateway--> lanes --> groups (cluster::core) --> log --> durable --.
//!      ^                   |          |  ^                                      |
//!      |                   v          v  '--------------------------------------'
//!      '-- replies <-- executor <-- applied      links <--> other nodes
//! ```
//!
//! | file | what it does |
//! |---|---|
//! | `mod` | the loop: sockets, requests, time |
//! | `setup` | what a node is set up with |
//! | [`aside`] | a log that is damaged is set aside |
//! | `obey` | doing what the core and the lanes want done |
//! | [`lanes`] | requests on their way |
//! | [`beats`] | heartbeats and answers to them, which leave together |
//! | `links` | connections to other nodes |
//! | [`log`] | the groups' log inside the write-ahead log |
//! | `refill` | how far the node is with being filled again |
//! | [`shorten`] | keeping the log short |
//! | `status` | what is told to CLUSTER and INFO |
//! | `state` | groups as this node has them: applied, cut, restored |
//!
//! Invariants: only this thread changes the keyspace; what the core asks to be durable is durable
//! before it is told so; what lets go of a lease is seen by workers before anything that follows
//! from it leaves this node. Deliberately absent: what a request means, and every decision.

pub mod aside;
pub mod beats;
pub mod lanes;
mod links;
pub mod log;
mod obey;
mod refill;
mod setup;
pub mod shorten;
mod state;
mod status;

pub use setup::{DriverError, Setup};
pub use state::lease_of;

use crate::cluster::core::message::{GroupId, NodeId, PeerMessage};
use crate::cluster::core::node::{Node, NodeInput, NodeOutput};
use crate::cluster::core::table::Table;
use crate::cluster::core::touched::GroupSet;
use crate::cluster::core::{Group, StateRole};
use crate::cluster::wire::message::Message;
use crate::commands::NodeHub;
use crate::commands::cluster::{Gateway, lease_clock_us};
use crate::limits::{
    CLUSTER_EVENTS, CLUSTER_GROUPS, CLUSTER_HAND_OVER_US, CLUSTER_LOG_BYTES, GROUP_TICK_US,
    LOG_RING_BYTES, PEER_ACCEPTS,
};
use crate::sys::disk::Disk;
use crate::sys::epoll::{Epoll, Events, Interest};
use crate::sys::socket;
use crate::wal::{Log, LogOptions, SyncMode};
use beats::Beats;
use lanes::{Lanes, Leader};
use links::{LinkEvent, Links, PeerAddress};
use log::{GroupLog, Recovered};
use refill::Refill;
use shorten::Shortening;
use state::States;
use std::collections::{BTreeMap, VecDeque};
use std::os::fd::OwnedFd;
use std::sync::Arc;

const TOKEN_BELL: u64 = 1;
const TOKEN_LISTENER: u64 = 2;

/// A node that is ready to run.
pub struct Driver<'n> {
    hub: &'n NodeHub,
    gateway: Arc<Gateway>,
    core: Node,
    states: States<'n>,
    links: Links,
    listeners: Vec<OwnedFd>,
    log: GroupLog,
    lanes: Lanes,
    beats: Beats,
    outputs: VecDeque<NodeOutput>,
    scratch: Vec<NodeOutput>,
    table: Option<Arc<Table>>,
    /// Groups whose progress is to be told.
    moved: GroupSet,
    /// Groups that came to be led here, and those that were and are no more, since it was told; by
    /// who led them before, and who leads them now.
    gained: BTreeMap<NodeId, Vec<GroupId>>,
    lost: BTreeMap<NodeId, Vec<GroupId>>,
    /// Groups whose state another node sent, since it was told.
    filled: Vec<GroupId>,
    next_tick_us: u64,
    next_status_us: u64,
    refill: Refill,
    shortening: Shortening,
    is_slow: bool,
    is_broken: bool,
    /// The disk and the cluster of a log that was set aside, until the new one has a record.
    aside: Option<(Arc<dyn Disk>, u64)>,
}

impl<'n> Driver<'n> {
    /// Reads what is on disk and begins. `hub.service.cluster` holds the gateway.
    pub fn open(
        hub: &'n NodeHub,
        gateway: &Arc<Gateway>,
        disk: &Arc<dyn Disk>,
        setup: Setup,
    ) -> Result<Driver<'n>, DriverError> {
        let (recovered, aside) = aside::recover(&**disk, setup.segment_bytes)?;
        let Recovered { start, tail, places } = recovered;
        let epoll = Epoll::new()?;
        epoll.add(gateway.bell(), TOKEN_BELL, Interest::WAKEUP)?;
        let listeners = setup::listen(&epoll, &setup.listen)?;
        let options = LogOptions {
            mode: SyncMode::Always,
            segment_bytes: setup.segment_bytes,
            ring_bytes: LOG_RING_BYTES,
        };
        let place = log::place_of(&tail, setup.core.random);
        let bell = Arc::clone(gateway);
        // It refuses only when rung 2^64 - 2 times, and then it is rung.
        let progress = Box::new(move || drop(bell.bell().ring()));
        let log = Log::open(Arc::clone(disk), options, place, progress)?;
        let life = setup.core.random;
        let name = setup.core.name.clone();
        let now_us = lease_clock_us();
        let mut first = Vec::new();
        let core = Node::new(setup.core, start, now_us, &mut first).map_err(DriverError::Node)?;
        let me = setup::greeting(name, &core);
        let peers = setup.peers.into_iter().map(|(name, address)| PeerAddress { name, address });
        let links = Links::new(epoll, me, setup.secret, peers.collect());
        let mut driver = Driver {
            hub,
            gateway: Arc::clone(gateway),
            core,
            states: States::new(&hub.service),
            links,
            listeners,
            log: GroupLog::new(log, places),
            lanes: Lanes::new(life),
            beats: Beats::default(),
            outputs: first.into(),
            scratch: Vec::new(),
            table: None,
            moved: GroupSet::default(),
            gained: BTreeMap::new(),
            lost: BTreeMap::new(),
            filled: Vec::new(),
            next_tick_us: now_us,
            next_status_us: 0,
            refill: Refill::default(),
            shortening: Shortening::default(),
            is_slow: false,
            is_broken: false,
            aside: aside.map(|cluster| (Arc::clone(disk), cluster)),
        };
        driver.settle(now_us);
        match driver.states.damaged() {
            Some(group) => Err(DriverError::State(group)),
            None => Ok(driver),
        }
    }

    /// Runs until the gateway is told to end.
    pub fn run(mut self) {
        let _guard = Guard;
        let mut events = Events::with_capacity(CLUSTER_EVENTS);
        while !self.gateway.is_ending() && !self.is_broken {
            self.round(&mut events);
        }
        if !self.is_broken {
            self.hand_over(&mut events);
        }
        if self.is_broken {
            tracing::error!(
                "the log of this node cannot be written any more: it ends here, and the other \
                 nodes go on; mend the disk and start it again"
            );
            std::process::exit(1);
        }
        self.log.log().close();
    }

    /// Hands everything that is led here to others, and answers what is under way, for a bounded
    /// time.
    fn hand_over(&mut self, events: &mut Events) {
        let now_us = lease_clock_us();
        let until_us = now_us + CLUSTER_HAND_OVER_US;
        let led = self.led();
        self.step(now_us, NodeInput::HandOver);
        self.settle(now_us);
        // It stays until others lead: its votes and acknowledgements make them quicker.
        while (!self.are_led_elsewhere(&led) || self.lanes.count() > 0)
            && lease_clock_us() < until_us
            && !self.is_broken
        {
            self.round(events);
        }
    }

    /// The groups that this node leads.
    fn led(&self) -> Vec<GroupId> {
        let leads = |core: &Group| core.role().role == StateRole::Leader;
        self.core.groups().filter(|(_, core)| leads(core)).map(|(group, _)| group).collect()
    }

    fn are_led_elsewhere(&self, groups: &[GroupId]) -> bool {
        groups.iter().filter_map(|group| self.core.group(*group)).all(|core| {
            let role = core.role();
            role.role != StateRole::Leader && role.leader != 0
        })
    }

    fn round(&mut self, events: &mut Events) {
        let now_us = lease_clock_us();
        let wait_ms = match self.links.has_unread() {
            true => 0,
            false => self.next_tick_us.saturating_sub(now_us).div_ceil(1000) as u32,
        };
        // A wait that fails finds nothing; the next round tries again after the tick.
        let _ = self.links.epoll().wait(events, Some(wait_ms));
        let now_us = lease_clock_us();
        self.links.read_on(now_us);
        for event in events.iter() {
            match event.token {
                TOKEN_BELL => {} // What it rang for is looked at below.
                TOKEN_LISTENER => self.accept(now_us),
                _ => self.links.on_event(event, now_us),
            }
        }
        self.hear(now_us);
        if let Some(number) = self.log.take_durable() {
            self.step(now_us, NodeInput::Persisted(number));
            self.shortening.look_again();
            if let Some((disk, cluster)) = self.aside.take() {
                aside::end(&*disk, cluster);
            }
        }
        if now_us >= self.next_tick_us {
            // Ticks that were missed are not made up for.
            self.next_tick_us = now_us + GROUP_TICK_US;
            self.tick(now_us);
        }
        if self.gateway.was_told_to_take_over() {
            self.step(now_us, NodeInput::TakeOver);
        }
        self.take_requests(now_us);
        self.cut_next(now_us);
        self.settle(now_us);
    }

    fn accept(&mut self, now_us: u64) {
        for listener in &self.listeners {
            for _ in 0..PEER_ACCEPTS {
                match socket::accept(listener) {
                    Ok(accepted) => self.links.accept(accepted.fd, now_us),
                    Err(_) => break,
                }
            }
        }
    }

    /// Takes in what came over the links.
    fn hear(&mut self, now_us: u64) {
        for event in self.links.take_events() {
            match event {
                LinkEvent::Up(node) => {
                    self.step(now_us, NodeInput::PeerUp(node));
                    self.lanes.retry(now_us, None, &leader_of(&self.gateway, &self.links));
                    self.show();
                }
                LinkEvent::Down(node) => {
                    self.step(now_us, NodeInput::PeerDown(node));
                    self.lanes.lost(now_us, node);
                    self.show();
                }
                LinkEvent::Message(from, message) => self.receive(now_us, from, message),
            }
        }
    }

    fn receive(&mut self, now_us: u64, from: NodeId, message: Message) {
        match message {
            Message::Raft { group, message } => {
                if message.has_snapshot() && !self.states.can_read(group, message.get_snapshot()) {
                    return self.links.bar(from, now_us, "a state that cannot be read");
                }
                let message = PeerMessage::Raft { group, message };
                self.step(now_us, NodeInput::Receive { from, message });
            }
            Message::Beats(beats) => {
                for beat in beats {
                    let (group, message) = (beat.group, beat.message());
                    let message = PeerMessage::Raft { group, message };
                    self.step(now_us, NodeInput::Receive { from, message });
                }
            }
            Message::Control(bytes) => {
                let message = PeerMessage::Control(bytes);
                self.step(now_us, NodeInput::Receive { from, message });
            }
            Message::Requests(requests) => {
                if usize::from(requests.group) < CLUSTER_GROUPS {
                    let leader = leader_of(&self.gateway, &self.links);
                    self.lanes.receive(now_us, from, requests, &leader);
                }
            }
            Message::Replies(replies) => self.lanes.replied(now_us, from, replies),
            Message::Heartbeat => {} // That it was heard is noted by the links.
        }
    }

    fn take_requests(&mut self, now_us: u64) {
        let leader = leader_of(&self.gateway, &self.links);
        for submission in self.gateway.take() {
            self.lanes.submit(now_us, submission, &leader);
        }
    }

    fn tick(&mut self, now_us: u64) {
        let wall_us = self.hub.service.engine.clock.now_us();
        self.step(now_us, NodeInput::Wall(wall_us));
        self.step(now_us, NodeInput::Tick);
        self.links.tick(now_us);
        self.lanes.tick(now_us, &leader_of(&self.gateway, &self.links));
        self.gateway.end_leases(now_us);
        self.look_at_groups(now_us);
        self.look_around(now_us);
        self.is_broken |= self.log.log().is_broken();
        let is_slow = self.log.is_slow(now_us, self.is_slow);
        if is_slow != self.is_slow {
            self.is_slow = is_slow;
            tracing::warn!(
                "the disk of the log is {}",
                if is_slow { "slow or full" } else { "quick again" }
            );
            self.step(now_us, NodeInput::SlowDisk(is_slow));
        }
        self.tell_leads();
        self.shorten(now_us);
        self.beats.tick();
    }

    /// Keeps the log short (C13, C14).
    fn shorten(&mut self, now_us: u64) {
        if !self.shortening.is_due() {
            return;
        }
        let bytes_most = self.log_bytes_most();
        let (states, log) = (&mut self.states, &mut self.log);
        let freshen = &mut |group| states.freshen(group);
        let input = self.shortening.look(now_us, &self.core, log, bytes_most, freshen);
        if let Some(input) = input {
            self.step(now_us, input);
        }
    }

    /// Bytes of the log beyond which it is made shorter (C14). All states are written anew then, so
    /// it is a multiple of these.
    fn log_bytes_most(&self) -> u64 {
        let wanted = match self.hub.service.config.values().bytes("wal-max-bytes") {
            0 => CLUSTER_LOG_BYTES,
            bytes => bytes,
        };
        wanted.max(4 * self.states.bytes())
    }

    fn step(&mut self, now_us: u64, input: NodeInput) {
        self.core.step(now_us, input, &mut self.scratch);
        self.outputs.extend(self.scratch.drain(..));
    }

    /// Does all that is to be done, until nothing is left.
    fn settle(&mut self, now_us: u64) {
        loop {
            while let Some(output) = self.outputs.pop_front() {
                self.obey(now_us, output);
            }
            self.lanes.look_again(now_us, &leader_of(&self.gateway, &self.links));
            let wishes = self.lanes.take_wishes();
            if wishes.is_empty() && self.outputs.is_empty() {
                self.core.flush(&mut self.scratch);
                self.outputs.extend(self.scratch.drain(..));
                if self.outputs.is_empty() {
                    break;
                }
            }
            self.fulfil(now_us, wishes);
        }
        self.log.pump();
        self.publish_leases();
        self.send_beats();
        self.links.flush(now_us);
    }

    /// Cuts a group that has grown long: one in each round, so that peers, ticks and requests wait
    /// for the state of one group and not of all.
    fn cut_next(&mut self, now_us: u64) {
        if let Some((group, cut)) = self.states.next_cut() {
            self.step(now_us, NodeInput::Cut { group, cut });
        }
    }

    /// Lets workers answer reads alone where that is allowed. Before anything leaves: what follows
    /// from the end of a lease must not be seen before its end is.
    fn publish_leases(&mut self) {
        let touched = self.core.take_touched();
        for group in touched {
            let lease_us = lease_of(self.core.group(group), self.states.applied(group));
            self.gateway.group(group).set_lease(lease_us);
        }
        self.moved.extend(touched);
    }
}

/// Without its driver a node answers nobody: a panic of it ends the process.
struct Guard;

impl Drop for Guard {
    fn drop(&mut self) {
        if std::thread::panicking() {
            std::process::abort();
        }
    }
}

fn leader_of<'a>(gateway: &'a Gateway, links: &'a Links) -> impl Fn(u16) -> Leader + 'a {
    |group| match gateway.group(group).leader() {
        0 => Leader::Unknown,
        node if node == gateway.me => Leader::Here,
        node if links.is_up(node) => Leader::There(node),
        _ => Leader::Unknown,
    }
}
