//! Publish and subscribe.
//!
//! The registry maps each channel and each pattern to its listeners. Publishing encodes a
//! message once for each protocol version and leaves it in the inboxes of the listeners, whose
//! turns send it in order with their other replies; so a publisher never waits for a listener.

use super::node::NodeHub;
use super::session::{Cx, Session, Subscriptions};
use super::table::{Command, Keys, Outcome, Run, acl, flags::*, row};
use crate::engine::CmdError;
use crate::net::{Card, ConnId};
use crate::resp::{Args, OutQueue, Protocol, Reply};
use crate::util::glob;
use std::collections::{BTreeSet, HashMap};
use std::sync::atomic::Ordering::Relaxed;
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

const LISTEN: u32 = PUBSUB | NOSCRIPT | LOADING | STALE | IN_SUBSCRIBED;
const PUBLISH: u32 = PUBSUB | LOADING | STALE | FAST | MAY_REPLICATE;
const LOOK: u32 = PUBSUB | LOADING | STALE;

/// The rows of this family.
pub const ROWS: &[Command] = &[
    row("subscribe", -2, Keys::NONE, LISTEN, acl::PUBSUB, Run::Session(subscribe))
        .doc("2.0.0", "Listens for messages published to channels."),
    row("unsubscribe", -1, Keys::NONE, LISTEN, acl::PUBSUB, Run::Session(unsubscribe))
        .doc("2.0.0", "Stops listening to messages posted to channels."),
    row("psubscribe", -2, Keys::NONE, LISTEN, acl::PUBSUB, Run::Session(psubscribe))
        .doc("2.0.0", "Listens for messages published to channels that match patterns."),
    row("punsubscribe", -1, Keys::NONE, LISTEN, acl::PUBSUB, Run::Session(punsubscribe))
        .doc("2.0.0", "Stops listening to channels that match patterns."),
    row("ssubscribe", -2, Keys::NONE, LISTEN, acl::PUBSUB, Run::Session(ssubscribe))
        .doc("7.0.0", "Listens for messages published to shard channels."),
    row("sunsubscribe", -1, Keys::NONE, LISTEN, acl::PUBSUB, Run::Session(sunsubscribe))
        .doc("7.0.0", "Stops listening to messages posted to shard channels."),
    row("publish", 3, Keys::NONE, PUBLISH, acl::PUBSUB, Run::Session(publish))
        .doc("2.0.0", "Posts a message to a channel."),
    row("spublish", 3, Keys::NONE, PUBLISH, acl::PUBSUB, Run::Session(spublish))
        .doc("7.0.0", "Posts a message to a shard channel."),
    row("pubsub", -2, Keys::NONE, 0, acl::PUBSUB, Run::Session(pubsub))
        .doc("2.8.0", "A container for commands that tell about channels.")
        .subs(PUBSUB_SUBS),
];

const PUBSUB_SUBS: &[Command] = &[
    row("channels", -2, Keys::NONE, LOOK, acl::PUBSUB, Run::Session(pubsub))
        .doc("2.8.0", "Returns the active channels."),
    row("help", 2, Keys::NONE, LOADING | STALE, 0, Run::Session(pubsub))
        .doc("6.2.0", "Returns helpful text about the sub-commands."),
    row("numpat", 2, Keys::NONE, LOOK, acl::PUBSUB, Run::Session(pubsub))
        .doc("2.8.0", "Returns the number of patterns that are listened to."),
    row("numsub", -2, Keys::NONE, LOOK, acl::PUBSUB, Run::Session(pubsub))
        .doc("2.8.0", "Returns the number of listeners of channels."),
    row("shardchannels", -2, Keys::NONE, LOOK, acl::PUBSUB, Run::Session(pubsub))
        .doc("7.0.0", "Returns the active shard channels."),
    row("shardnumsub", -2, Keys::NONE, LOOK, acl::PUBSUB, Run::Session(pubsub))
        .doc("7.0.0", "Returns the number of listeners of shard channels."),
];

type Listeners = HashMap<Box<[u8]>, Vec<ConnId>>;

#[derive(Default)]
struct Maps {
    channels: Listeners,
    patterns: Listeners,
    shard_channels: Listeners,
}

/// Who listens to what.
#[derive(Default)]
pub struct Registry {
    maps: RwLock<Maps>,
}

/// The three things that can be listened to.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Topic {
    Channel,
    Pattern,
    Shard,
}

impl Topic {
    fn of(self, subscriptions: &mut Subscriptions) -> &mut BTreeSet<Box<[u8]>> {
        match self {
            Topic::Channel => &mut subscriptions.channels,
            Topic::Pattern => &mut subscriptions.patterns,
            Topic::Shard => &mut subscriptions.shard_channels,
        }
    }

    fn listeners(self, maps: &mut Maps) -> &mut Listeners {
        match self {
            Topic::Channel => &mut maps.channels,
            Topic::Pattern => &mut maps.patterns,
            Topic::Shard => &mut maps.shard_channels,
        }
    }

    fn verbs(self) -> (&'static str, &'static str) {
        match self {
            Topic::Channel => ("subscribe", "unsubscribe"),
            Topic::Pattern => ("psubscribe", "punsubscribe"),
            Topic::Shard => ("ssubscribe", "sunsubscribe"),
        }
    }

    /// The number that replies show: shard channels are counted apart, as in Redis.
    fn count(self, subscriptions: &Subscriptions) -> usize {
        match self {
            Topic::Shard => subscriptions.shard_channels.len(),
            _ => subscriptions.channels.len() + subscriptions.patterns.len(),
        }
    }
}

impl Registry {
    /// Sends `message` to all who listen to `channel`, by name or by pattern; how many.
    pub fn publish(&self, hub: &NodeHub, channel: &[u8], message: &[u8], after: u64) -> usize {
        let maps = self.read();
        let mut count = 0;
        if let Some(listeners) = maps.channels.get(channel) {
            count += deliver(hub, listeners, &[b"message", channel, message], after);
        }
        for (pattern, listeners) in &maps.patterns {
            if glob::matches(pattern, channel, false) {
                let parts: [&[u8]; 4] = [b"pmessage", pattern, channel, message];
                count += deliver(hub, listeners, &parts, after);
            }
        }
        count
    }

    /// Sends `message` to all who listen to the shard channel; how many.
    pub fn publish_to_shard(&self, hub: &NodeHub, channel: &[u8], message: &[u8]) -> usize {
        match self.read().shard_channels.get(channel) {
            Some(listeners) => deliver(hub, listeners, &[b"smessage", channel, message], 0),
            None => 0,
        }
    }

    /// Forgets a connection that is gone.
    pub fn forget(&self, id: ConnId, subscriptions: &Subscriptions) {
        let mut maps = self.write();
        for (topic, names) in [
            (Topic::Channel, &subscriptions.channels),
            (Topic::Pattern, &subscriptions.patterns),
            (Topic::Shard, &subscriptions.shard_channels),
        ] {
            for name in names {
                remove(topic.listeners(&mut maps), name, id);
            }
        }
    }

    /// Channels, patterns and shard channels that anyone listens to.
    pub fn counts(&self) -> (usize, usize, usize) {
        let maps = self.read();
        (maps.channels.len(), maps.patterns.len(), maps.shard_channels.len())
    }

    fn add(&self, topic: Topic, name: &[u8], id: ConnId) {
        topic.listeners(&mut self.write()).entry(name.into()).or_default().push(id);
    }

    fn remove(&self, topic: Topic, name: &[u8], id: ConnId) {
        remove(topic.listeners(&mut self.write()), name, id);
    }

    fn read(&self) -> RwLockReadGuard<'_, Maps> {
        self.maps.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, Maps> {
        self.maps.write().unwrap_or_else(PoisonError::into_inner)
    }
}

fn remove(listeners: &mut Listeners, name: &[u8], id: ConnId) {
    if let Some(ids) = listeners.get_mut(name) {
        ids.retain(|other| *other != id);
        if ids.is_empty() {
            listeners.remove(name);
        }
    }
}

/// Leaves a message for each listener, in the protocol it speaks.
fn deliver(hub: &NodeHub, listeners: &[ConnId], parts: &[&[u8]], after: u64) -> usize {
    let mut encoded: [Option<Arc<[u8]>>; 2] = [None, None];
    let mut count = 0;
    for id in listeners {
        let Some(card) = hub.card(*id) else { continue };
        let is3 = card.resp.load(Relaxed) == 3;
        let message = encoded[is3 as usize].get_or_insert_with(|| encode(parts, is3));
        count += hub.send(*id, message, after) as usize;
    }
    count
}

fn encode(parts: &[&[u8]], is3: bool) -> Arc<[u8]> {
    let mut queue = OutQueue::default();
    let protocol = if is3 { Protocol::Resp3 } else { Protocol::Resp2 };
    let mut reply = Reply::new(&mut queue, protocol);
    reply.push(parts.len());
    for part in parts {
        reply.bulk(part);
    }
    queue.buf_mut().as_slice().into()
}

/// SUBSCRIBE channel [channel ...]
fn subscribe(cx: &mut Cx<'_>, args: Args<'_>, reply: &mut Reply<'_>) -> Outcome {
    listen(cx, Topic::Channel, args, reply)
}

/// PSUBSCRIBE pattern [pattern ...]
fn psubscribe(cx: &mut Cx<'_>, args: Args<'_>, reply: &mut Reply<'_>) -> Outcome {
    listen(cx, Topic::Pattern, args, reply)
}

/// SSUBSCRIBE channel [channel ...]
fn ssubscribe(cx: &mut Cx<'_>, args: Args<'_>, reply: &mut Reply<'_>) -> Outcome {
    listen(cx, Topic::Shard, args, reply)
}

/// UNSUBSCRIBE [channel ...]
fn unsubscribe(cx: &mut Cx<'_>, args: Args<'_>, reply: &mut Reply<'_>) -> Outcome {
    unlisten(cx, Topic::Channel, args, reply)
}

/// PUNSUBSCRIBE [pattern ...]
fn punsubscribe(cx: &mut Cx<'_>, args: Args<'_>, reply: &mut Reply<'_>) -> Outcome {
    unlisten(cx, Topic::Pattern, args, reply)
}

/// SUNSUBSCRIBE [channel ...]
fn sunsubscribe(cx: &mut Cx<'_>, args: Args<'_>, reply: &mut Reply<'_>) -> Outcome {
    unlisten(cx, Topic::Shard, args, reply)
}

fn listen(cx: &mut Cx<'_>, topic: Topic, args: Args<'_>, reply: &mut Reply<'_>) -> Outcome {
    let (node, id) = (cx.node(), cx.id);
    let subscriptions = cx.session.subscriptions.get_or_insert_default();
    for name in args.iter_from(1) {
        if topic.of(subscriptions).insert(name.into()) {
            node.pubsub.add(topic, name, id);
        }
        reply.push(3);
        reply.bulk(topic.verbs().0.as_bytes());
        reply.bulk(name);
        reply.int(topic.count(subscriptions) as i64);
    }
    show_counts(cx.session, cx.card);
    Ok(())
}

fn unlisten(cx: &mut Cx<'_>, topic: Topic, args: Args<'_>, reply: &mut Reply<'_>) -> Outcome {
    let (node, id) = (cx.node(), cx.id);
    let subscriptions = cx.session.subscriptions.get_or_insert_default();
    let names: Vec<Box<[u8]>> = match args.len() {
        1 => topic.of(subscriptions).iter().cloned().collect(),
        _ => args.iter_from(1).map(Into::into).collect(),
    };
    for name in &names {
        if topic.of(subscriptions).remove(name) {
            node.pubsub.remove(topic, name, id);
        }
        answer_unlisten(reply, topic, Some(name), subscriptions);
    }
    if names.is_empty() {
        answer_unlisten(reply, topic, None, subscriptions);
    }
    if subscriptions.is_empty() {
        cx.session.subscriptions = None;
    }
    show_counts(cx.session, cx.card);
    Ok(())
}

fn answer_unlisten(
    reply: &mut Reply<'_>,
    topic: Topic,
    name: Option<&[u8]>,
    subscriptions: &Subscriptions,
) {
    reply.push(3);
    reply.bulk(topic.verbs().1.as_bytes());
    match name {
        Some(name) => reply.bulk(name),
        None => reply.nil(),
    }
    reply.int(topic.count(subscriptions) as i64);
}

/// Ends all subscriptions without a reply (RESET).
pub(super) fn end_all(cx: &mut Cx<'_>) {
    if let Some(subscriptions) = cx.session.subscriptions.take() {
        cx.node().pubsub.forget(cx.id, &subscriptions);
    }
    show_counts(cx.session, cx.card);
}

fn show_counts(session: &Session, card: &Card) {
    let (channels, patterns) = match &session.subscriptions {
        Some(subscriptions) => (
            subscriptions.channels.len() + subscriptions.shard_channels.len(),
            subscriptions.patterns.len(),
        ),
        None => (0, 0),
    };
    card.channels.store(channels as u32, Relaxed);
    card.patterns.store(patterns as u32, Relaxed);
}

/// PUBLISH channel message
fn publish(cx: &mut Cx<'_>, args: Args<'_>, reply: &mut Reply<'_>) -> Outcome {
    reply.int(cx.node().pubsub.publish(cx.hub, args.get(1), args.get(2), 0) as i64);
    Ok(())
}

/// SPUBLISH channel message
fn spublish(cx: &mut Cx<'_>, args: Args<'_>, reply: &mut Reply<'_>) -> Outcome {
    reply.int(cx.node().pubsub.publish_to_shard(cx.hub, args.get(1), args.get(2)) as i64);
    Ok(())
}

/// PUBSUB CHANNELS | NUMSUB | NUMPAT | SHARDCHANNELS | SHARDNUMSUB | HELP
fn pubsub(cx: &mut Cx<'_>, args: Args<'_>, reply: &mut Reply<'_>) -> Outcome {
    let maps = cx.node().pubsub.read();
    match (args.get(1).to_ascii_lowercase().as_slice(), args.len()) {
        (b"channels", 2..=3) => names(&maps.channels, args.try_get(2), reply),
        (b"shardchannels", 2..=3) => names(&maps.shard_channels, args.try_get(2), reply),
        (b"numsub", _) => numbers(&maps.channels, args, reply),
        (b"shardnumsub", _) => numbers(&maps.shard_channels, args, reply),
        (b"numpat", 2) => reply.int(maps.patterns.len() as i64),
        (b"help", 2) => super::help::reply(reply, HELP),
        _ => return Err(CmdError::wrong_subcommand("pubsub", args.get(1))),
    }
    Ok(())
}

const HELP: &[&str] = &[
    "PUBSUB <subcommand> [argument ...], where the subcommand is one of:",
    "CHANNELS [pattern]",
    "    Names of the channels that have listeners, of those that match a pattern if one is given.",
    "NUMPAT",
    "    How many different patterns are listened to.",
    "NUMSUB [channel ...]",
    "    Each channel with its number of listeners; those by pattern are not counted.",
    "SHARDCHANNELS [pattern]",
    "    As CHANNELS, for shard channels.",
    "SHARDNUMSUB [channel ...]",
    "    As NUMSUB, for shard channels.",
    "HELP",
    "    These lines.",
];

fn names(listeners: &Listeners, pattern: Option<&[u8]>, reply: &mut Reply<'_>) {
    let fits = |name: &&[u8]| pattern.is_none_or(|p| glob::matches(p, name, false));
    let names: Vec<&[u8]> = listeners.keys().map(|name| &**name).filter(fits).collect();
    reply.array(names.len());
    for name in names {
        reply.bulk(name);
    }
}

fn numbers(listeners: &Listeners, args: Args<'_>, reply: &mut Reply<'_>) {
    reply.array(2 * (args.len() - 2));
    for name in args.iter_from(2) {
        reply.bulk(name);
        reply.int(listeners.get(name).map_or(0, Vec::len) as i64);
    }
}
