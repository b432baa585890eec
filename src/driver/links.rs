//! Connections to the other nodes: made, kept, read and written on the driver's thread.
//!
//! One connection for each pair of nodes, called by the one whose name comes first. A node that is
//! called again by somebody who is connected already takes the new connection: the old one died and
//! nobody was told. What is queued is bounded; a link that does not move is as good as lost, and
//! what does not fit is dropped, which the consensus stands.
//!
//! Invariant: nothing is read from a peer before it has proved that it knows the secret.

use crate::cluster::core::message::{NodeId, node_id};
use crate::cluster::wire::frame::{Incoming, Outgoing, Stream};
use crate::cluster::wire::handshake::{Greeting, Handshake, Step};
use crate::cluster::wire::message::Message;
use crate::limits::{
    PEER_BARRED_US, PEER_HANDSHAKE_US, PEER_HEARTBEAT_US, PEER_QUEUE_BYTES_MAX, PEER_READ_BYTES,
    PEER_READS_MAX, PEER_RETRY_US_MAX, PEER_RETRY_US_MIN, PEER_SILENT_US, PEER_STRANGERS_MAX,
    PEER_WRITE_BYTES,
};
use crate::sys::epoll::{Epoll, Event, Interest};
use crate::sys::socket;
use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, ErrorKind};
use std::net::SocketAddr;
use std::os::fd::{AsFd, OwnedFd};

/// Tokens from here on are connections.
const FIRST_TOKEN: u64 = 16;

/// What happened on the links.
#[derive(Debug)]
pub(super) enum LinkEvent {
    /// There is a connection to this node now.
    Up(NodeId),
    /// There is none any more.
    Down(NodeId),
    /// It sent this.
    Message(NodeId, Message),
}

/// A node to be connected to.
#[derive(Clone, Debug)]
pub(super) struct PeerAddress {
    /// Its name.
    pub(super) name: String,
    /// Where its peer port is.
    pub(super) address: SocketAddr,
}

struct Peer {
    name: String,
    address: SocketAddr,
    /// This node calls that one.
    calls: bool,
    conn: Option<u64>,
    /// When it is called again, and how long after that.
    next_us: u64,
    backoff_us: u64,
    /// What was wrong last time: it is said once.
    told: String,
    /// It sent what no node sends, and is not let in before.
    barred_us: u64,
}

enum Stage {
    /// The socket is not connected yet.
    Connecting,
    Shaking(Handshake),
    Open(NodeId, Incoming),
}

struct Conn {
    fd: OwnedFd,
    stage: Stage,
    /// Whom it calls.
    calls: Option<NodeId>,
    out: Outgoing,
    buf: Vec<u8>,
    sent: usize,
    is_blocked: bool,
    began_us: u64,
    /// When a whole part of a message came last.
    heard_us: u64,
}

/// All connections to other nodes.
pub(super) struct Links {
    epoll: Epoll,
    me: Greeting,
    secret: Vec<u8>,
    peers: BTreeMap<NodeId, Peer>,
    conns: BTreeMap<u64, Conn>,
    next_token: u64,
    next_heartbeat_us: u64,
    read: Vec<u8>,
    /// Connections of which more can be read at once.
    unread: BTreeSet<u64>,
    events: Vec<LinkEvent>,
}

/// Why a connection is closed.
struct Closed(String);

impl From<io::Error> for Closed {
    fn from(error: io::Error) -> Closed {
        Closed(error.to_string())
    }
}

impl Links {
    /// No connection yet. `me` is what this node says of itself.
    pub(super) fn new(
        epoll: Epoll,
        me: Greeting,
        secret: Vec<u8>,
        peers: Vec<PeerAddress>,
    ) -> Links {
        let peers = peers.into_iter().map(|PeerAddress { name, address }| {
            let calls = me.name < name;
            let peer = Peer {
                calls,
                address,
                conn: None,
                next_us: 0,
                backoff_us: PEER_RETRY_US_MIN,
                told: String::new(),
                barred_us: 0,
                name,
            };
            (node_id(&peer.name), peer)
        });
        Links {
            peers: peers.collect(),
            epoll,
            me,
            secret,
            conns: BTreeMap::new(),
            next_token: FIRST_TOKEN,
            next_heartbeat_us: 0,
            read: vec![0; PEER_READ_BYTES],
            unread: BTreeSet::new(),
            events: Vec::new(),
        }
    }

    /// The set that the connections are watched in.
    pub(super) fn epoll(&self) -> &Epoll {
        &self.epoll
    }

    /// This node belongs to this cluster now; who greets it is told so.
    pub(super) fn set_cluster(&mut self, cluster: u64) {
        self.me.cluster = cluster;
    }

    /// Whether there is a connection to a node.
    pub(super) fn is_up(&self, node: NodeId) -> bool {
        self.conn_of(node).is_some()
    }

    fn conn_of(&self, node: NodeId) -> Option<u64> {
        let token = self.peers.get(&node)?.conn?;
        matches!(self.conns.get(&token)?.stage, Stage::Open(..)).then_some(token)
    }

    /// What happened since the last call.
    pub(super) fn take_events(&mut self) -> Vec<LinkEvent> {
        std::mem::take(&mut self.events)
    }

    /// Queues a message. False, and it was not sent, if there is no connection or no room.
    pub(super) fn send(&mut self, to: NodeId, message: &Message, stream: Stream) -> bool {
        let conn = self.conn_of(to).and_then(|token| self.conns.get_mut(&token));
        let Some(conn) = conn.filter(|conn| conn.out.bytes() < PEER_QUEUE_BYTES_MAX) else {
            return false;
        };
        conn.out.push(stream, message.encode());
        true
    }

    /// Writes what is queued, as far as the sockets take it.
    pub(super) fn flush(&mut self, now_us: u64) {
        let tokens: Vec<u64> = self.conns.keys().copied().collect();
        for token in tokens {
            if let Some(conn) = self.conns.get_mut(&token)
                && !conn.is_blocked
                && !matches!(conn.stage, Stage::Connecting)
                && let Err(why) = conn.write()
            {
                self.close(token, now_us, &why);
            }
        }
    }

    /// Calls those who are to be called, and gives up on handshakes that take too long and on nodes
    /// that are silent: TCP alone would notice that much later, and take long to come back.
    pub(super) fn tick(&mut self, now_us: u64) {
        let is_late = |conn: &Conn| match conn.stage {
            Stage::Open(..) => now_us > conn.heard_us + PEER_SILENT_US,
            _ => now_us > conn.began_us + PEER_HANDSHAKE_US,
        };
        let late: Vec<u64> =
            self.conns.iter().filter(|(_, conn)| is_late(conn)).map(|(token, _)| *token).collect();
        for token in late {
            self.close(token, now_us, &Closed("it does not answer".into()));
        }
        if now_us >= self.next_heartbeat_us {
            self.next_heartbeat_us = now_us + PEER_HEARTBEAT_US;
            for conn in self.conns.values_mut() {
                if matches!(conn.stage, Stage::Open(..)) {
                    conn.out.push(Stream::Urgent, Message::Heartbeat.encode());
                }
            }
        }
        let is_due = |peer: &Peer| peer.calls && peer.conn.is_none() && now_us >= peer.next_us;
        let due: Vec<NodeId> =
            self.peers.iter().filter(|(_, peer)| is_due(peer)).map(|(node, _)| *node).collect();
        for node in due {
            self.call(node, now_us);
        }
    }

    fn call(&mut self, node: NodeId, now_us: u64) {
        let Some(peer) = self.peers.get_mut(&node) else { return };
        peer.next_us = now_us + peer.backoff_us;
        peer.backoff_us = (peer.backoff_us * 2).min(PEER_RETRY_US_MAX);
        match socket::connect_tcp(peer.address) {
            Ok(fd) => {
                if let Some(token) = self.keep(fd, Stage::Connecting, Some(node), now_us)
                    && let Some(peer) = self.peers.get_mut(&node)
                {
                    peer.conn = Some(token);
                }
            }
            Err(error) => tell(peer, &error.to_string()),
        }
    }

    /// Takes in a connection that was accepted.
    pub(super) fn accept(&mut self, fd: OwnedFd, now_us: u64) {
        let strangers = self.conns.values().filter(|conn| !matches!(conn.stage, Stage::Open(..)));
        if strangers.count() >= PEER_STRANGERS_MAX {
            return;
        }
        let handshake = Handshake::answer(self.me.clone(), &self.secret, nonce());
        self.keep(fd, Stage::Shaking(handshake), None, now_us);
    }

    fn keep(
        &mut self,
        fd: OwnedFd,
        stage: Stage,
        calls: Option<NodeId>,
        now_us: u64,
    ) -> Option<u64> {
        let token = self.next_token;
        self.next_token += 1;
        // Without it small messages would wait for the acknowledgement of those before.
        let _ = socket::set_nodelay(&fd);
        if let Err(error) = self.epoll.add(&fd, token, Interest::CONNECTION) {
            tracing::warn!(%error, "a connection between nodes cannot be watched");
            return None;
        }
        let conn = Conn {
            fd,
            stage,
            calls,
            out: Outgoing::default(),
            buf: Vec::new(),
            sent: 0,
            is_blocked: false,
            began_us: now_us,
            heard_us: now_us,
        };
        self.conns.insert(token, conn);
        Some(token)
    }

    /// Whether there is more to be read at once.
    pub(super) fn has_unread(&self) -> bool {
        !self.unread.is_empty()
    }

    /// Reads on where it was left off for the sake of others.
    pub(super) fn read_on(&mut self, now_us: u64) {
        for token in std::mem::take(&mut self.unread) {
            if let Err(why) = self.work(token, now_us) {
                self.close(token, now_us, &why);
            }
        }
    }

    /// Closes the connection to a node that sent what no node sends, and does not let it in for a
    /// while.
    pub(super) fn bar(&mut self, node: NodeId, now_us: u64, why: &str) {
        let Some(peer) = self.peers.get_mut(&node) else { return };
        peer.barred_us = now_us + PEER_BARRED_US;
        if let Some(token) = peer.conn {
            self.close(token, now_us, &Closed(format!("it sent what no node sends: {why}")));
        }
    }

    /// Something happened on a connection.
    pub(super) fn on_event(&mut self, event: Event, now_us: u64) {
        let Some(conn) = self.conns.get_mut(&event.token) else { return };
        if event.writable() {
            conn.is_blocked = false;
        }
        if let Err(why) = self.work(event.token, now_us) {
            self.close(event.token, now_us, &why);
        }
    }

    fn work(&mut self, token: u64, now_us: u64) -> Result<(), Closed> {
        let Some(conn) = self.conns.get_mut(&token) else { return Ok(()) };
        if matches!(conn.stage, Stage::Connecting) {
            if let Some(error) = socket::take_error(&conn.fd)? {
                return Err(error.into());
            }
            let name = conn.calls.and_then(|node| self.peers.get(&node)).map(|peer| &peer.name);
            let me = Greeting { calls: name.cloned().unwrap_or_default(), ..self.me.clone() };
            let handshake = Handshake::call(me, &self.secret, nonce(), &mut conn.buf);
            conn.stage = Stage::Shaking(handshake);
        }
        self.unread.insert(token);
        for _ in 0..PEER_READS_MAX {
            let Some(conn) = self.conns.get_mut(&token) else { return Ok(()) };
            let len = match socket::recv(&conn.fd, &mut self.read) {
                Ok(0) => return Err(Closed("it has closed the connection".into())),
                Ok(len) => len,
                Err(error) if error.kind() == ErrorKind::WouldBlock => {
                    self.unread.remove(&token);
                    break;
                }
                Err(error) => return Err(error.into()),
            };
            let read = std::mem::take(&mut self.read);
            let outcome = self.received(token, &read[..len], now_us);
            self.read = read;
            outcome?;
        }
        match self.conns.get_mut(&token) {
            Some(conn) => conn.write(),
            None => Ok(()),
        }
    }

    fn received(&mut self, token: u64, bytes: &[u8], now_us: u64) -> Result<(), Closed> {
        let Some(conn) = self.conns.get_mut(&token) else { return Ok(()) };
        if let Stage::Shaking(handshake) = &mut conn.stage {
            let step = handshake.receive(bytes, &mut conn.buf);
            let Step::Done(peer, rest) = step.map_err(|why| Closed(why.to_string()))? else {
                return Ok(());
            };
            self.open(token, &peer.greeting.name, rest, now_us)?;
        } else if let Stage::Open(_, incoming) = &mut conn.stage {
            incoming.receive(bytes);
        }
        let Some(conn) = self.conns.get_mut(&token) else { return Ok(()) };
        let Stage::Open(node, incoming) = &mut conn.stage else { return Ok(()) };
        let before = incoming.parts();
        while let Some(bytes) = incoming.next_message().map_err(|why| Closed(why.to_string()))? {
            let message = match Message::decode(&bytes) {
                Ok(message) => message,
                Err(why) => {
                    let (node, why) = (*node, why.to_string());
                    self.bar(node, now_us, &why);
                    return Ok(());
                }
            };
            self.events.push(LinkEvent::Message(*node, message));
        }
        if incoming.parts() > before {
            conn.heard_us = now_us;
        }
        Ok(())
    }

    fn open(&mut self, token: u64, name: &str, rest: Vec<u8>, now_us: u64) -> Result<(), Closed> {
        let node = node_id(name);
        let Some(peer) = self.peers.get_mut(&node).filter(|peer| peer.name == name) else {
            return Err(Closed(format!("'{name}' is not among the peers of this node")));
        };
        if now_us < peer.barred_us {
            return Err(Closed(format!("'{name}' sent what no node sends, a moment ago")));
        }
        peer.backoff_us = PEER_RETRY_US_MIN;
        peer.told.clear();
        if let Some(old) = peer.conn.filter(|old| *old != token) {
            self.close(old, now_us, &Closed("it has called again".into()));
        }
        let (Some(peer), Some(conn)) = (self.peers.get_mut(&node), self.conns.get_mut(&token))
        else {
            return Ok(());
        };
        peer.conn = Some(token);
        let mut incoming = Incoming::default();
        incoming.receive(&rest);
        (conn.stage, conn.heard_us) = (Stage::Open(node, incoming), now_us);
        tracing::info!("connected to {name}");
        self.events.push(LinkEvent::Up(node));
        Ok(())
    }

    fn close(&mut self, token: u64, now_us: u64, why: &Closed) {
        let Some(conn) = self.conns.remove(&token) else { return };
        self.unread.remove(&token);
        let node = match conn.stage {
            Stage::Open(node, _) => Some(node),
            _ => conn.calls,
        };
        let Some(peer) = node.and_then(|node| self.peers.get_mut(&node)) else {
            tracing::warn!("a connection to the peer port was closed: {}", why.0);
            return;
        };
        if peer.conn == Some(token) {
            peer.conn = None;
            peer.next_us = (now_us + peer.backoff_us).max(peer.barred_us);
        }
        if let Stage::Open(node, _) = conn.stage {
            tracing::warn!("the connection to {} is lost: {}", peer.name, why.0);
            self.events.push(LinkEvent::Down(node));
        } else {
            tell(peer, &why.0);
        }
    }
}

/// Says what is wrong with a peer, once.
fn tell(peer: &mut Peer, why: &str) {
    if peer.told != why {
        tracing::warn!(
            "{} at {} is not reached: {why}; it is tried again",
            peer.name,
            peer.address
        );
        peer.told = why.to_owned();
    }
}

fn nonce() -> [u8; 32] {
    let mut nonce = [0; 32];
    for part in nonce.chunks_exact_mut(8) {
        part.copy_from_slice(&crate::commands::random_seed().to_le_bytes());
    }
    nonce
}

impl Conn {
    fn write(&mut self) -> Result<(), Closed> {
        loop {
            while self.buf.len() - self.sent < PEER_WRITE_BYTES
                && matches!(self.stage, Stage::Open(..))
                && self.out.frame_next(&mut self.buf)
            {}
            if self.sent == self.buf.len() {
                self.buf.clear();
                self.buf.shrink_to(PEER_WRITE_BYTES * 2);
                self.sent = 0;
                return Ok(());
            }
            match socket::send(self.fd.as_fd(), &self.buf[self.sent..]) {
                Ok(bytes) => self.sent += bytes,
                Err(error) if error.kind() == ErrorKind::WouldBlock => {
                    self.is_blocked = true;
                    self.buf.drain(..self.sent);
                    self.sent = 0;
                    return Ok(());
                }
                Err(error) => return Err(error.into()),
            }
        }
    }
}
