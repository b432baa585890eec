//! Connections between nodes: streams of bytes, made and read by the real wire.
//!
//! ```text
//!   message --encode--> Outgoing --frames--> packets --> Incoming --decode--> message
//!                                (late, damaged, missing)
//!   a word of a replica --encode, framed alone--> lost, doubled, late, on its own way
//! ```
//!
//! A connection is made by the real handshake and keeps its order, as TCP does; what is cut waits
//! until the link is whole again, or until one end has heard nothing for three seconds. What a
//! stream cannot do (lose, double and overtake single messages) happens to the words of replicas
//! that travel alone: the consensus must stand it.
//!
//! Looked at here: what is decoded is what was encoded; of a connection comes what was sent, in
//! order, and nothing else, whatever happened to its bytes; a handshake that was tampered with is
//! not believed.

use super::machine::hash_bytes;
use super::net::NODES;
use super::node::{id_of_node, name};
use super::queue::Event;
use super::world::{HEALED, MS, World};
use dse::cluster::core::message::{GroupId, PeerMessage};
use dse::cluster::core::{Message as RaftMessage, MessageType, NodeInput};
use dse::cluster::wire::frame::{Incoming, Outgoing, Stream};
use dse::cluster::wire::handshake::{Greeting, Handshake, Step, VERSIONS};
use dse::cluster::wire::message::Message;
use dse::limits::{PEER_HEARTBEAT_US, PEER_SILENT_US};
use std::collections::VecDeque;

/// One end of a connection.
struct End {
    /// Names the connection.
    conn: u64,
    out: Outgoing,
    incoming: Incoming,
    /// Hashes of what the other end has sent and this one has not got, by stream.
    expected: [VecDeque<u64>; 2],
    heard: u64,
    beats: u64,
    /// When the last packet from here arrives.
    arrives: u64,
}

/// All connections: by whose end it is, and with whom.
#[derive(Default)]
pub struct Links {
    ends: [[Option<End>; NODES]; NODES],
    made: u64,
}

/// Why two ends did not connect.
enum Shaken {
    Both,
    No,
    /// Both believed bytes that were changed on the way.
    Fooled,
}

impl Links {
    /// Whether there is a connection from a node to another one.
    pub fn is_up(&self, node: usize, other: usize) -> bool {
        self.ends[node][other].is_some()
    }

    fn end(&mut self, node: usize, other: usize, conn: u64) -> Option<&mut End> {
        self.ends[node][other].as_mut().filter(|end| end.conn == conn)
    }
}

impl World {
    /// Two nodes connect if they can, and look again later.
    pub fn dial(&mut self, caller: usize, called: usize) {
        let pause = 50 * MS + self.rng.below(100 * MS);
        self.after(pause, Event::Dial { caller, called });
        let runs = |world: &World, node: usize| {
            world.nodes[node].is_up() && world.nodes[node].stopped_until <= world.now
        };
        let can =
            runs(self, caller) && runs(self, called) && self.net.is_whole(self.now, caller, called);
        if !can || self.links.is_up(caller, called) {
            return;
        }
        match self.shake_hands(caller, called) {
            Shaken::Both => {}
            Shaken::No => return self.count("handshake refused"),
            Shaken::Fooled => return self.watch.note("a changed handshake was believed".into()),
        }
        // Who is called may not have noticed that the former connection is gone.
        self.hang_up(called, caller);
        self.links.made += 1;
        let conn = self.links.made;
        for (node, other) in [(caller, called), (called, caller)] {
            self.links.ends[node][other] = Some(End {
                conn,
                out: Outgoing::default(),
                incoming: Incoming::default(),
                expected: Default::default(),
                heard: self.now,
                beats: self.now,
                arrives: self.now,
            });
        }
        self.meet(caller, called);
        self.meet(called, caller);
    }

    /// The real handshake, of whose bytes one bit may be changed on the way.
    fn shake_hands(&mut self, caller: usize, called: usize) -> Shaken {
        const SECRET: &[u8] = b"known to all nodes";
        let greeting = |world: &World, node: usize, calls: String| {
            let core = world.nodes[node].core.as_ref().expect("it is up");
            let cluster = core.table().map_or(0, |table| table.cluster);
            let disk = core.identity().disk;
            Greeting { cluster, disk, name: name(node), calls, versions: VERSIONS }
        };
        let (ours, theirs) =
            (greeting(self, caller, name(called)), greeting(self, called, String::new()));
        let mut nonce = || {
            let mut nonce = [0; 32];
            let words = nonce.as_chunks_mut::<8>().0;
            words.iter_mut().for_each(|word| *word = self.rng.next_u64().to_le_bytes());
            nonce
        };
        let (first, second) = (nonce(), nonce());
        let flips = self.is_rough() && self.rng.below(20) == 0;
        let mut flipped = false;
        let at = self.rng.next_u64();
        let mut tamper = |bytes: &mut Vec<u8>, number: u64| {
            if flips && !flipped && at % 3 == number && !bytes.is_empty() {
                let len = bytes.len() as u64;
                bytes[(at / 24 % len) as usize] ^= 1 << (at / 3 % 8);
                flipped = true;
            }
        };
        let mut to_called = Vec::new();
        let mut one = Handshake::call(ours, SECRET, first, &mut to_called);
        let mut other = Handshake::answer(theirs, SECRET, second);
        tamper(&mut to_called, 0);
        let mut to_caller = Vec::new();
        let Ok(_) = other.receive(&to_called, &mut to_caller) else { return Shaken::No };
        tamper(&mut to_caller, 1);
        let mut proof = Vec::new();
        let Ok(end) = one.receive(&to_caller, &mut proof) else { return Shaken::No };
        tamper(&mut proof, 2);
        let mut nothing = Vec::new();
        let Ok(other_end) = other.receive(&proof, &mut nothing) else { return Shaken::No };
        match (end, other_end) {
            (Step::Done(..), Step::Done(..)) if flipped => Shaken::Fooled,
            (Step::Done(..), Step::Done(..)) => Shaken::Both,
            _ => Shaken::No,
        }
    }

    /// Faults of bytes happen.
    fn is_rough(&self) -> bool {
        self.now < HEALED
    }

    /// Queues a message; false, and it was not sent, if there is no connection.
    pub fn push(&mut self, node: usize, to: usize, message: &Message, stream: Stream) -> bool {
        let Some(end) = &mut self.links.ends[node][to] else { return false };
        let bytes = message.encode();
        let (conn, hash) = (end.conn, hash_bytes(&bytes));
        end.out.push(stream, bytes);
        if let Some(other) = self.links.end(to, node, conn) {
            other.expected[usize::from(stream == Stream::Bulk)].push_back(hash);
        }
        true
    }

    /// What replicas say: with everything else, or on its own way.
    pub fn say(&mut self, node: usize, to: usize, message: &Message, stream: Stream) {
        let bytes = message.encode();
        let is_same = Message::decode(&bytes).is_ok_and(|decoded| decoded == *message);
        self.watch.wire(is_same, message);
        if self.rng.below(2) == 0 {
            self.push(node, to, message, stream);
            return;
        }
        let delays = self.net.delays(&mut self.rng, self.now, node, to);
        for delay in delays.into_iter().flatten() {
            let mut alone = Outgoing::default();
            alone.push(stream, bytes.clone());
            let mut bytes = Vec::new();
            while alone.frame_next(&mut bytes) {}
            let is_damaged = self.damage(&mut bytes);
            self.after(delay, Event::Stray { from: node, to, bytes, is_damaged });
        }
    }

    /// Now and then a bit is turned on the way.
    fn damage(&mut self, bytes: &mut [u8]) -> bool {
        let is_damaged = self.is_rough() && self.rng.below(2000) == 0;
        if is_damaged {
            let at = self.rng.below(bytes.len() as u64 * 8) as usize;
            bytes[at / 8] ^= 1 << (at % 8);
        }
        is_damaged
    }

    /// Sends what is queued on a node.
    pub fn flush_links(&mut self, node: usize) {
        for to in 0..NODES {
            let Some(end) = &mut self.links.ends[node][to] else { continue };
            let mut bytes = Vec::new();
            while end.out.frame_next(&mut bytes) {}
            let conn = end.conn;
            if bytes.is_empty() {
                continue;
            }
            let mut copies = 1;
            if self.is_rough() {
                copies = match self.rng.below(5000) {
                    0 => 0,
                    1 => 2,
                    _ => 1,
                };
                if self.damage(&mut bytes) || copies != 1 {
                    self.count("bytes of a connection damaged");
                }
            }
            let delay = self.net.stream_delay(&mut self.rng, self.now, node, to);
            let at = self.now + delay;
            let Some(end) = self.links.end(node, to, conn) else { continue };
            end.arrives = end.arrives.max(at);
            let at = end.arrives;
            for _ in 0..copies {
                self.at(at, Event::Packet { from: node, to, conn, bytes: bytes.clone() });
            }
        }
    }

    /// Bytes of a connection arrive.
    pub fn packet(&mut self, from: usize, to: usize, conn: u64, bytes: Vec<u8>) {
        let state = &self.nodes[to];
        let knows = self.links.ends[to][from].as_ref().is_some_and(|end| end.conn == conn);
        if !state.is_up() || !knows {
            // The system says that there is no such connection, if it is heard.
            let delay = self.net.stream_delay(&mut self.rng, self.now, to, from);
            return self.after(delay, Event::Closed { node: from, other: to, conn });
        }
        if state.stopped_until > self.now {
            return self.at(state.stopped_until, Event::Packet { from, to, conn, bytes });
        }
        let now = self.now;
        let Some(end) = self.links.end(to, from, conn) else { return };
        let before = end.incoming.parts();
        end.incoming.receive(&bytes);
        loop {
            let Some(end) = self.links.end(to, from, conn) else { return };
            match end.incoming.next_message() {
                Ok(None) if end.incoming.parts() == before => return,
                Ok(None) => {
                    end.heard = now;
                    return;
                }
                Ok(Some(bytes)) => self.message(from, to, conn, &bytes),
                Err(_) => {
                    self.count("damaged frame refused");
                    self.hang_up(to, from);
                    return;
                }
            }
        }
    }

    fn message(&mut self, from: usize, to: usize, conn: u64, bytes: &[u8]) {
        let Some(end) = self.links.end(to, from, conn) else { return };
        let hash = hash_bytes(bytes);
        let queue = end.expected.iter_mut().find(|queue| queue.front() == Some(&hash));
        let is_expected = queue.and_then(VecDeque::pop_front).is_some();
        self.watch.honest(is_expected, "of a connection came what was not sent, or not then");
        match Message::decode(bytes) {
            Ok(message) => self.hear(from, to, message),
            Err(why) => self.watch.honest(false, why.0),
        }
    }

    /// A word of a replica that travelled alone arrives.
    pub fn stray(&mut self, from: usize, to: usize, bytes: Vec<u8>, is_damaged: bool) {
        let state = &self.nodes[to];
        if !state.is_up() {
            return;
        }
        if state.stopped_until > self.now {
            let again = Event::Stray { from, to, bytes, is_damaged };
            return self.at(state.stopped_until, again);
        }
        let mut incoming = Incoming::default();
        incoming.receive(&bytes);
        let Ok(Some(bytes)) = incoming.next_message() else {
            self.watch.honest(is_damaged, "a frame that nobody damaged was refused");
            return self.count("damaged frame refused");
        };
        self.watch.honest(!is_damaged, "a damaged frame was believed");
        match Message::decode(&bytes) {
            Ok(message) => self.hear(from, to, message),
            Err(why) => self.watch.honest(false, why.0),
        }
    }

    fn hear(&mut self, from: usize, to: usize, message: Message) {
        let message = match message {
            Message::Raft { group, message } => {
                let runs = self.nodes[to].core.as_ref().and_then(|core| core.group(group));
                if runs.is_none_or(|core| core.id() != message.to) {
                    self.count("message to a replica that is gone");
                }
                self.trace_vote(to, group, &message);
                PeerMessage::Raft { group, message }
            }
            Message::Beats(beats) => {
                for beat in beats {
                    let (group, message) = (beat.group, beat.message());
                    self.hear(from, to, Message::Raft { group, message });
                }
                return;
            }
            Message::Control(bytes) => PeerMessage::Control(bytes),
            Message::Requests(requests) => return self.requests(from, to, requests),
            Message::Replies(replies) => return self.replies(from, to, replies),
            Message::Heartbeat => return,
        };
        let from = id_of_node(from);
        self.drive(to, NodeInput::Receive { from, message });
    }

    /// Who asks whom for a vote, and what is answered.
    fn trace_vote(&self, to: usize, group: GroupId, message: &RaftMessage) {
        use MessageType::*;
        let kind = message.get_msg_type();
        let votes =
            [MsgRequestPreVote, MsgRequestPreVoteResponse, MsgRequestVote, MsgRequestVoteResponse];
        if votes.contains(&kind) {
            let (from, term, no) = (message.from, message.term, message.reject);
            self.trace(|| {
                format!("group {group}: node {to} hears {kind:?} of {from} in {term}, no: {no}")
            });
        }
    }

    /// Heartbeats, and what follows from silence.
    pub fn tend_links(&mut self, node: usize) {
        for other in 0..NODES {
            let now = self.now;
            let Some(end) = &mut self.links.ends[node][other] else { continue };
            if now > end.heard + PEER_SILENT_US {
                self.count("connection silent");
                self.hang_up(node, other);
            } else if now >= end.beats + PEER_HEARTBEAT_US {
                end.beats = now;
                self.push(node, other, &Message::Heartbeat, Stream::Urgent);
            }
        }
        self.flush_links(node);
    }

    /// A node closes its end of a connection; the other one may learn of it.
    pub fn hang_up(&mut self, node: usize, other: usize) {
        let Some(end) = self.links.ends[node][other].take() else { return };
        let conn = end.conn;
        if self.net.is_whole(self.now, node, other) {
            let delay = self.net.stream_delay(&mut self.rng, self.now, node, other);
            self.after(delay, Event::Closed { node: other, other: node, conn });
        }
        self.lose(node, other);
    }

    /// An end learns that the other one is closed.
    pub fn closed(&mut self, node: usize, other: usize, conn: u64) {
        let until = self.nodes[node].stopped_until;
        if until > self.now {
            return self.at(until, Event::Closed { node, other, conn });
        }
        if self.links.end(node, other, conn).is_some() {
            self.links.ends[node][other] = None;
            self.lose(node, other);
        }
    }

    /// A node is gone, and with it its ends. What it had queued may have left before.
    pub fn links_of_crashed(&mut self, node: usize) {
        if self.rng.below(2) == 0 {
            self.flush_links(node);
        }
        for other in 0..NODES {
            let Some(end) = self.links.ends[node][other].take() else { continue };
            if self.net.is_whole(self.now, node, other) {
                let delay = self.net.stream_delay(&mut self.rng, self.now, node, other);
                let at = end.arrives.max(self.now + delay);
                self.at(at, Event::Closed { node: other, other: node, conn: end.conn });
            }
        }
    }
}
