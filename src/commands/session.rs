//! What the server remembers of one connection, and what a command sees of both.

use super::cluster::WatchedSlots;
use super::durability::LongBody;
use super::node::{Local, Node, NodeHub};
use super::table::Command;
use crate::net::{Card, ConnId};
use crate::resp::{OwnedArgs, Protocol};
use crate::store::Watch;
use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

/// State of one connection.
#[derive(Default)]
pub struct Session {
    /// The selected database.
    pub db: u8,
    /// The protocol version replies are written in.
    pub protocol: Protocol,
    /// False until the password was given, where one is asked for.
    pub authenticated: bool,
    /// What becomes of replies (CLIENT REPLY).
    pub reply_mode: ReplyMode,
    /// The open transaction.
    pub multi: Option<Box<Multi>>,
    /// The watched keys.
    pub watching: Option<Box<Watching>>,
    /// Channels and patterns subscribed to.
    pub subscriptions: Option<Box<Subscriptions>>,
    /// True after MONITOR.
    pub monitor: bool,
    /// Parameters of CLIENT TRACKING, NO-EVICT and NO-TOUCH, to be given back.
    pub client_flags: u32,
    /// A request whose body goes into the log before it is executed.
    pub long_body: Option<Box<LongBody>>,
    /// The snapshot that a SAVE waits for.
    pub save: Option<u64>,
    /// The change of the storage that a CONFIG SET waits for.
    pub switch: Option<u64>,
    /// Set once the replies to what the driver of the cluster was given are on their way.
    pub forwarded: Option<Arc<AtomicBool>>,
    /// What it watches in a cluster.
    pub watched: Option<WatchedSlots>,
    /// The connection came to the port that answers where keys are.
    pub is_redirected: bool,
}

/// What becomes of replies.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ReplyMode {
    /// They are sent.
    #[default]
    On,
    /// None is sent.
    Off,
    /// The one of the command after this one is not sent.
    SkipNext,
    /// The one of this command is not sent.
    Skip,
}

/// An open transaction.
#[derive(Default)]
pub struct Multi {
    /// Commands to run, with their indices in the command table.
    pub queued: Vec<(u16, OwnedArgs)>,
    /// Bytes of the queued commands.
    pub bytes: usize,
    /// A command was refused while queueing: EXEC will abort.
    pub failed: bool,
    /// In a cluster, the slot of all its keys.
    pub slot: Option<u16>,
}

/// Watched keys with the mark that changes of them set.
#[derive(Default)]
pub struct Watching {
    /// Set by whoever changes a watched key.
    pub mark: Arc<Watch>,
    /// Database, key, and whether it was already past its deadline when WATCH came.
    pub keys: Vec<(u8, Box<[u8]>, bool)>,
}

/// Channels and patterns of one subscriber.
#[derive(Default)]
pub struct Subscriptions {
    /// SUBSCRIBE.
    pub channels: BTreeSet<Box<[u8]>>,
    /// PSUBSCRIBE.
    pub patterns: BTreeSet<Box<[u8]>>,
    /// SSUBSCRIBE.
    pub shard_channels: BTreeSet<Box<[u8]>>,
}

impl Subscriptions {
    /// How many there are in all.
    pub fn len(&self) -> usize {
        self.channels.len() + self.patterns.len() + self.shard_channels.len()
    }

    /// True when there is none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

impl Session {
    /// True when the connection may only manage its subscriptions (RESP2).
    pub fn in_subscribed_mode(&self) -> bool {
        self.protocol == Protocol::Resp2
            && self.subscriptions.as_ref().is_some_and(|subscriptions| !subscriptions.is_empty())
    }
}

/// What a command that concerns the connection or the server may touch.
pub struct Cx<'a> {
    /// All connections, and the server behind them.
    pub hub: &'a NodeHub,
    /// This connection.
    pub id: ConnId,
    /// Its public side.
    pub card: &'a Card,
    /// Its state.
    pub session: &'a mut Session,
    /// The worker's state.
    pub local: &'a mut Local,
    /// The row of the command that runs.
    pub command: &'a Command,
    /// The process clock, ms since 1970.
    pub now_ms: u64,
    /// True inside EXEC.
    pub in_exec: bool,
    /// How the connection goes on after this command.
    pub flow: crate::net::Flow,
}

impl<'a> Cx<'a> {
    /// The server.
    pub fn node(&self) -> &'a Node {
        &self.hub.service
    }
}
