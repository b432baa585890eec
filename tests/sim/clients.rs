//! Clients that read and write through whatever node they think of, some requests at a time.
//!
//! A request begins when its node has it and ends when the node answers, which is stricter than
//! what a client could tell. Requests that are sent together are executed in their order, group by
//! group. A write is never sent twice.

use super::desk::reply;
use super::history::{End, Kind, Op};
use super::machine::encode;
use super::net::NODES;
use super::queue::Event;
use super::world::{DATA_GROUPS, END, HEALED, LOG_BEYOND, LOG_BYTES, MS, SECOND, World, id_of};
use dse::commands::cluster::{Combine, Part, Place, Submission};
use dse::net::ConnId;
use dse::resp::Protocol;
use std::ops::Range;
use std::sync::Arc;

const CLIENTS: usize = 5;
/// The connection by which everything is read at the end.
pub const MANAGER: usize = CLIENTS;
/// Keys of a group at a time, and for how long: keys that are used for ever would make histories
/// too long to judge.
const KEYS: u64 = 4;
const KEYS_LAST_US: u64 = 2 * SECOND;
/// What a ticket sets a key to, less the ticket.
const FIRST_VALUE: u64 = 1_000_000;
/// How often a key is read at the end until it counts as lost.
const READ_TRIES: usize = 10;
/// Requests that are sent together at most.
const BATCH: u64 = 4;

/// Whether a key is set until a deadline mostly; it is no counter then.
fn has_deadline(key: u16) -> bool {
    key % 4 == 3
}

/// A connection, by its number and how often it was opened.
pub type Conn = (usize, u32);

/// Requests under way on a connection.
struct Batch {
    node: usize,
    /// Those that are not answered.
    tickets: Range<u64>,
}

/// All requests so far, by ticket, and what is known of their senders.
pub struct Clients {
    pub ops: Vec<Op>,
    batches: u64,
    waits: [Option<Batch>; CLIENTS + 1],
    opened: [u32; CLIENTS + 1],
    /// The node that answered last, by group.
    hint: [usize; DATA_GROUPS],
}

impl Clients {
    pub fn new() -> Clients {
        let hint = [0; DATA_GROUPS];
        Clients {
            ops: Vec::new(),
            batches: 0,
            waits: Default::default(),
            opened: [0; CLIENTS + 1],
            hint,
        }
    }

    /// Writes of a group that were answered since.
    pub fn written_since(&self, group: usize, since: u64) -> bool {
        let answered = |op: &Op| matches!(op.end, End::Answered { at, .. } if at >= since);
        self.ops.iter().any(|op| op.group == group && op.kind != Kind::Read && answered(op))
    }

    fn conn(&self, client: usize) -> Conn {
        (client, self.opened[client])
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
        let count = 1 + self.rng.below(2) * self.rng.below(BATCH);
        let mut asked: Vec<(usize, u16, Kind)> = Vec::new();
        for _ in 0..count {
            let (group, key) = match asked.last() {
                Some(&(group, key, _)) if self.rng.below(2) == 0 => (group, key),
                Some(&(group, ..)) if self.rng.below(3) > 0 => (group, self.any_key()),
                _ => (self.rng.below(DATA_GROUPS as u64) as usize, self.any_key()),
            };
            let ticket = (self.clients.ops.len() + asked.len()) as u64;
            let is_quiet = self.now < self.quiet_until;
            let kind = match if is_quiet { 10 } else { self.rng.below(20) } {
                0..6 if has_deadline(key) => {
                    Kind::SetFor(FIRST_VALUE + ticket, 20 * MS + self.rng.below(600 * MS))
                }
                0..6 => Kind::Set(FIRST_VALUE + ticket),
                6..9 if has_deadline(key) => Kind::Set(FIRST_VALUE + ticket),
                6..9 => Kind::Increment,
                _ => Kind::Read,
            };
            asked.push((group, key, kind));
        }
        let node = match self.rng.below(4) {
            0 => self.rng.below(NODES as u64) as usize,
            _ => self.clients.hint[asked[0].0],
        };
        let patience = if self.rng.below(4) == 0 { 700 * MS } else { 2500 * MS };
        let batch = self.ask(client, node, &asked);
        self.after(patience, Event::Timeout { client, batch });
    }

    fn any_key(&mut self) -> u16 {
        let epoch = self.now / KEYS_LAST_US;
        (epoch * KEYS + self.rng.below(KEYS)) as u16
    }

    /// Sends requests to a node, as a batch of this number.
    fn ask(&mut self, client: usize, node: usize, asked: &[(usize, u16, Kind)]) -> u64 {
        let first = self.clients.ops.len() as u64;
        self.clients.batches += 1;
        let (batch, conn) = (self.clients.batches, self.clients.conn(client));
        for &(group, key, kind) in asked {
            let op = Op { group, key, kind, began: self.now, end: End::Open, conn, batch };
            self.clients.ops.push(op);
        }
        let tickets = first..self.clients.ops.len() as u64;
        let state = &self.nodes[node];
        let is_there = state.is_up() && state.stopped_until <= self.now;
        self.clients.waits[client] = Some(Batch { node, tickets: tickets.clone() });
        if !is_there {
            // Nobody took the connection: it was never sent.
            for ticket in tickets {
                self.clients.ops[ticket as usize].end = End::NotApplied;
            }
            self.looks_elsewhere(first);
            self.client_goes_on(client);
        } else {
            self.worker_serves(client);
        }
        batch
    }

    /// The worker of a connection answers reads that it may, and hands in the rest.
    fn worker_serves(&mut self, client: usize) {
        let Some(Batch { node, tickets }) = &self.clients.waits[client] else { return };
        let (node, ticket) = (*node, tickets.start);
        if tickets.is_empty() {
            return self.client_goes_on(client);
        }
        let op = &self.clients.ops[ticket as usize];
        let (group, batch) = (op.group, op.batch);
        if client == MANAGER || op.kind != Kind::Read || !self.may_read(node, group) {
            return self.hand_in(client);
        }
        if self.rng.below(30) > 0 {
            return self.worker_reads(client, batch);
        }
        // Something else is executed by the processor meanwhile; briefly, once all is healed.
        let is_long = self.rng.below(4) == 0 && self.now < HEALED;
        let most = if is_long { 2 * SECOND } else { 20 * MS };
        let (delay, life) = (self.rng.below(most), self.nodes[node].life);
        self.count("worker held up");
        self.after(delay, Event::Worker { node, life, client, batch });
    }

    /// The worker has looked at the lease, and reads.
    pub fn worker_reads(&mut self, client: usize, batch: u64) {
        let Some(Batch { node, tickets }) = &self.clients.waits[client] else { return };
        let (node, ticket) = (*node, tickets.start);
        let op = &self.clients.ops[ticket as usize];
        let (group, key) = (op.group, op.key);
        if op.batch != batch {
            return;
        }
        let Some(replica) = &self.nodes[node].replicas[group] else { return self.hand_in(client) };
        let value = replica.machine.value(key);
        self.count("read answered by a worker");
        self.is_told(client, &reply(value));
        self.worker_serves(client);
    }

    fn hand_in(&mut self, client: usize) {
        let Some(Batch { node, tickets }) = &self.clients.waits[client] else { return };
        let (node, tickets) = (*node, tickets.clone());
        let place = |ticket: u64| {
            let op = &self.clients.ops[ticket as usize];
            let bytes = encode(op.key, op.kind, ticket);
            let part = Part { group: id_of(op.group), is_write: op.kind != Kind::Read, bytes };
            Place { combine: Combine::Only, parts: vec![part], is_silent: false }
        };
        let (number, opened) = self.clients.conn(client);
        let submission = Submission {
            conn: ConnId { index: number as u32, generation: opened },
            protocol: Protocol::Resp2,
            places: tickets.map(place).collect(),
            done: Arc::default(),
        };
        self.submit(node, submission);
    }

    /// A node gives a connection the replies to all that was handed in.
    pub fn connection_is_told(&mut self, conn: ConnId, bytes: &[u8]) {
        let client = conn.index as usize;
        if self.clients.opened[client] == conn.generation {
            self.is_told(client, bytes);
            self.worker_serves(client);
        }
    }

    /// The next requests of a client have these replies.
    fn is_told(&mut self, client: usize, bytes: &[u8]) {
        let lines = bytes.split_inclusive(|&byte| byte == b'\n');
        for line in lines {
            let next = self.clients.waits[client].as_mut().and_then(|batch| {
                let ticket = batch.tickets.next()?;
                Some((batch.node, ticket))
            });
            let Some((node, ticket)) = next else {
                return self.watch.note(format!("client {client} has a reply too many"));
            };
            let text = String::from_utf8_lossy(line);
            let op = &mut self.clients.ops[ticket as usize];
            let (group, is_read) = (op.group, op.kind == Kind::Read);
            if let Some(value) = text.strip_prefix(':') {
                let value = value.trim_end().parse().expect("a number");
                op.end = End::Answered { at: self.now, value };
                self.clients.hint[group] = node;
                self.count(if is_read { "read answered" } else { "write answered" });
            } else if text.starts_with("-TRYAGAIN") {
                op.end = End::NotApplied;
                self.looks_elsewhere(ticket);
                self.count("answered TRYAGAIN");
            } else if text.starts_with("-UNCERTAIN") && !is_read {
                self.looks_elsewhere(ticket);
                self.count("answered UNCERTAIN");
            } else {
                self.watch.note(format!("request {ticket} was answered {text:?}"));
            }
        }
    }

    fn looks_elsewhere(&mut self, ticket: u64) {
        let group = self.clients.ops[ticket as usize].group;
        self.clients.hint[group] = self.rng.below(NODES as u64) as usize;
    }

    /// A client closes its connection, and asks something else over another one.
    pub fn client_gives_up(&mut self, client: usize, batch: u64) {
        let Some(Batch { tickets, .. }) = &self.clients.waits[client] else { return };
        let ticket = tickets.start;
        if self.clients.ops[ticket as usize].batch == batch {
            self.count("client gave up");
            self.looks_elsewhere(ticket);
            self.client_goes_on(client);
        }
    }

    fn client_goes_on(&mut self, client: usize) {
        let Some(batch) = self.clients.waits[client].take() else { return };
        if !batch.tickets.is_empty() {
            self.clients.opened[client] += 1;
        }
        if client != MANAGER {
            let pause = MS + self.rng.below(25 * MS);
            self.after(pause, Event::Client(client));
        }
    }

    /// The connections of a node that crashed are gone, and with them what was asked there.
    pub fn clients_of_crashed(&mut self, node: usize) {
        for client in 0..=CLIENTS {
            if self.clients.waits[client].as_ref().is_some_and(|batch| batch.node == node) {
                self.client_goes_on(client);
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
        let ticket = self.clients.ops.len();
        self.ask(MANAGER, node, &[(group, key, Kind::Read)]);
        while self.clients.waits[MANAGER].is_some() && self.now < until && self.is_right() {
            self.run_until(self.now + MS);
        }
        self.client_goes_on(MANAGER);
        matches!(self.clients.ops[ticket].end, End::Answered { .. })
    }

    /// Lets replicas catch up with what was written last, and a lost disk be replaced; an election,
    /// or bytes that have to be sent again, may be under way.
    pub fn wait_for_agreement(&mut self) {
        let until = self.now + 8 * SECOND;
        let agree = |world: &World| {
            let is_settled = |group| world.agree(group) && !world.has_deadlines(group);
            world.replacing.is_none() && (0..DATA_GROUPS).all(is_settled)
        };
        while self.now < until && !agree(self) && self.is_right() {
            self.run_until(self.now + 50 * MS);
        }
    }

    /// Whether some key of a group has a deadline on some node.
    fn has_deadlines(&self, group: usize) -> bool {
        let mut states = self.nodes.iter().filter_map(|node| node.replicas[group].as_ref());
        states.any(|replica| replica.machine.has_deadlines())
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
    /// nodes, whose logs are short again (C14).
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
        // Nobody writes any more: log time must have been told.
        if (0..DATA_GROUPS).any(|group| self.has_deadlines(group)) {
            self.watch.note("a key outlives its deadline".into());
        }
        for node in 0..NODES {
            let (_, bytes) = self.nodes[node].disk.extent();
            if bytes > LOG_BYTES + LOG_BEYOND {
                self.watch.note(format!("node {node} keeps {bytes} bytes of its log"));
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
