//! Clients that read and write through whatever node they think of, one request at a time.
//!
//! A request begins when its node has it and ends when the node answers, which is stricter than
//! what a client could tell. A write is never sent twice.

use super::history::{End, Kind, Op};
use super::machine::encode;
use super::net::NODES;
use super::queue::Event;
use super::world::{DATA_GROUPS, END, HEALED, MS, SECOND, World, id_of};
use dse::cluster::core::NodeInput;
use dse::cluster::core::fate::Fate;
use dse::cluster::core::reads::ReadMode;

const CLIENTS: usize = 5;
/// Keys of a group at a time, and for how long: keys that are used for ever would make histories
/// too long to judge.
const KEYS: u64 = 4;
const KEYS_LAST_US: u64 = 2 * SECOND;
/// How often a key is read at the end until it counts as lost.
const READ_TRIES: usize = 10;
const PATIENCE_US: u64 = 1500 * MS;

/// All requests so far, by ticket, and what is known of their senders.
pub struct Clients {
    pub ops: Vec<Op>,
    /// The client of each request (none for the one that manages), and its node.
    of: Vec<(Option<usize>, usize)>,
    /// What each client waits for.
    waits: [Option<u64>; CLIENTS],
    /// The node that answered last, by group.
    hint: [usize; DATA_GROUPS],
}

impl Clients {
    pub fn new() -> Clients {
        let hint = [0; DATA_GROUPS];
        Clients { ops: Vec::new(), of: Vec::new(), waits: [None; CLIENTS], hint }
    }

    pub fn key_of(&self, ticket: u64) -> u16 {
        self.ops[ticket as usize].key
    }

    /// Writes of a group that were answered since.
    pub fn written_since(&self, group: usize, since: u64) -> bool {
        let answered = |op: &Op| matches!(op.end, End::Answered { at, .. } if at >= since);
        self.ops.iter().any(|op| op.group == group && op.kind != Kind::Read && answered(op))
    }
}

impl World {
    pub fn start_clients(&mut self) {
        (0..CLIENTS).for_each(|client| self.at(300 * MS + client as u64, Event::Client(client)));
    }

    pub fn client_asks(&mut self, client: usize) {
        if self.now >= END || self.clients.waits[client].is_some() {
            return;
        }
        let group = self.rng.below(DATA_GROUPS as u64) as usize;
        let epoch = self.now / KEYS_LAST_US;
        let key = (epoch * KEYS + self.rng.below(KEYS)) as u16;
        let node = match self.rng.below(4) {
            0 => self.rng.below(NODES as u64) as usize,
            _ => self.clients.hint[group],
        };
        let ticket = self.clients.ops.len() as u64;
        let is_quiet = self.now < self.quiet_until;
        let (kind, mode) = match if is_quiet { 10 } else { self.rng.below(20) } {
            0..6 => (Kind::Set(1_000_000 + ticket), None),
            6..9 => (Kind::Increment, None),
            9..17 => (Kind::Read, Some(ReadMode::Linearizable)),
            _ => (Kind::Read, Some(ReadMode::Strict)),
        };
        self.clients.waits[client] = Some(ticket);
        self.after(PATIENCE_US, Event::Timeout { client, ticket });
        self.ask(
            Some(client),
            node,
            Op { group, key, kind, began: self.now, end: End::Open },
            mode,
        );
    }

    /// Sends a request to a node; a read with its mode.
    pub fn ask(
        &mut self,
        client: Option<usize>,
        node: usize,
        op: Op,
        mode: Option<ReadMode>,
    ) -> u64 {
        let ticket = self.clients.ops.len() as u64;
        let (group, bytes) = (op.group, encode(op.key, op.kind));
        self.clients.ops.push(op);
        self.clients.of.push((client, node));
        let state = &self.nodes[node];
        if !state.is_up() || state.stopped_until > self.now || state.replicas[group].is_none() {
            // Nobody took the connection: it was never sent.
            self.client_ends(ticket, Fate::Refused);
        } else if let Some(mode) = mode {
            self.drive(node, NodeInput::Read { group: id_of(group), ticket, mode });
        } else {
            self.submit(node, group, ticket, bytes);
        }
        ticket
    }

    pub fn client_is_told(&mut self, ticket: u64, value: u64) {
        let op = &mut self.clients.ops[ticket as usize];
        if op.end != End::Open {
            self.watch.note(format!("request {ticket} has two ends"));
            return;
        }
        op.end = End::Answered { at: self.now, value };
        let is_read = op.kind == Kind::Read;
        let (group, node) = (op.group, self.clients.of[ticket as usize].1);
        self.clients.hint[group] = node;
        self.count(if is_read { "read answered" } else { "write answered" });
        self.client_goes_on(ticket);
    }

    pub fn client_ends(&mut self, ticket: u64, fate: Fate) {
        let op = &mut self.clients.ops[ticket as usize];
        if op.end != End::Open {
            self.watch.note(format!("request {ticket} has two ends"));
            return;
        }
        if fate != Fate::Uncertain {
            op.end = End::NotApplied;
        }
        let group = op.group;
        self.clients.hint[group] = self.rng.below(NODES as u64) as usize;
        self.client_goes_on(ticket);
    }

    pub fn client_gives_up(&mut self, client: usize, ticket: u64) {
        if self.clients.waits[client] == Some(ticket) {
            self.count("client gave up");
            let group = self.clients.ops[ticket as usize].group;
            self.clients.hint[group] = self.rng.below(NODES as u64) as usize;
            self.client_goes_on(ticket);
        }
    }

    fn client_goes_on(&mut self, ticket: u64) {
        let Some(client) = self.clients.of[ticket as usize].0 else { return };
        if self.clients.waits[client] == Some(ticket) {
            self.clients.waits[client] = None;
            let pause = MS + self.rng.below(25 * MS);
            self.after(pause, Event::Client(client));
        }
    }

    /// The connections of a node that crashed are gone, and with them what was asked there.
    pub fn clients_of_crashed(&mut self, node: usize) {
        for client in 0..CLIENTS {
            let Some(ticket) = self.clients.waits[client] else { continue };
            if self.clients.of[ticket as usize].1 == node {
                self.client_goes_on(ticket);
            }
        }
    }

    /// After everything: every key that was ever used is read once more, which shows what is lost.
    pub fn read_everything(&mut self) {
        let mut keys: Vec<(usize, u16)> =
            self.clients.ops.iter().map(|op| (op.group, op.key)).collect();
        keys.sort_unstable();
        keys.dedup();
        for (group, key) in keys {
            if !(0..READ_TRIES).any(|_| self.reads(group, key)) {
                self.watch.note(format!("group {group}: key {key} cannot be read at the end"));
            }
        }
    }

    /// Reads a key; false if that was not answered.
    fn reads(&mut self, group: usize, key: u16) -> bool {
        let until = self.now + SECOND;
        let Some(node) = self.leader(group) else {
            self.run_until(self.now + 50 * MS);
            return false;
        };
        let op = Op { group, key, kind: Kind::Read, began: self.now, end: End::Open };
        let ticket = self.ask(None, node, op, Some(ReadMode::Strict));
        while self.clients.ops[ticket as usize].end == End::Open && self.now < until {
            self.run_until(self.now + MS);
        }
        matches!(self.clients.ops[ticket as usize].end, End::Answered { .. })
    }

    /// Lets replicas catch up with what was written last; an election, or bytes that have to be sent
    /// again, may be under way.
    pub fn wait_for_agreement(&mut self) {
        let until = self.now + 2 * SECOND;
        while self.now < until && !(0..DATA_GROUPS).all(|group| self.agree(group)) {
            self.run_until(self.now + 50 * MS);
        }
    }

    fn agree(&self, group: usize) -> bool {
        let applied = self.applied(group);
        applied.len() == NODES && applied.iter().all(|&at| at == applied[0])
    }

    fn applied(&self, group: usize) -> Vec<u64> {
        let states = self.nodes.iter().filter_map(|node| node.replicas[group].as_ref());
        states.map(|replica| replica.machine.applied).collect()
    }

    /// After everything is healed each group must have a leader, be written to, and be equal on all
    /// nodes.
    pub fn expect_life(&mut self) {
        for group in 0..DATA_GROUPS {
            if !self.clients.written_since(group, HEALED + 2 * SECOND) {
                self.watch.note(format!("group {group} does not come back after healing"));
            }
            if !self.agree(group) {
                let applied = self.applied(group);
                self.watch.note(format!("group {group}: replicas do not agree: {applied:?}"));
            }
        }
        let tables = self.nodes.iter().map(|node| node.core.as_ref()?.table().cloned());
        let tables: Vec<_> = tables.collect();
        if tables.iter().any(|table| table.is_none() || *table != tables[0]) {
            self.watch.note(format!("tables do not agree: {tables:?}"));
        }
        if self.replacing.is_some() {
            self.watch.note("the lost disk was not replaced".into());
        }
    }
}
