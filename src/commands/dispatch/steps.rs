//! What every way to execute a command has in common: its shards, its moment, its effects.

use crate::commands::client::MARK_NO_TOUCH;
use crate::commands::events;
use crate::commands::node::{Local, Node, NodeHub};
use crate::commands::session::Cx;
use crate::commands::table::{Command, flags};
use crate::engine::{CmdError, Effects, Moment};
use crate::limits::BATCH_COMMANDS;
use crate::net::{Card, Flow, Io};
use crate::resp::{Args, Reply};
use crate::store::{Held, Key, Pin, ShardSet};
use std::sync::atomic::Ordering::Relaxed;

/// Adds the shards of a request's keys to `shards`.
pub(in crate::commands) fn shards_of(
    node: &Node,
    command: &Command,
    args: Args<'_>,
    shards: &mut ShardSet,
) {
    if command.is(flags::ALL_SHARDS) {
        *shards = ShardSet::all();
        return;
    }
    for at in command.keys.positions(args.len()) {
        shards.insert(node.engine.store.key(args.get(at)).shard());
    }
}

/// The first keys of a request of several, hashed once and asked for before a lock is taken.
pub(super) struct KeysAhead<'k> {
    keys: [Key<'k>; BATCH_COMMANDS],
    count: usize,
}

impl<'k> KeysAhead<'k> {
    pub(super) fn none() -> KeysAhead<'k> {
        KeysAhead { keys: [Key::default(); BATCH_COMMANDS], count: 0 }
    }

    /// The keys, in the order of the request.
    pub(super) fn as_slice(&self) -> &[Key<'k>] {
        &self.keys[..self.count]
    }

    /// As [`shards_of`], with the keys noted and the processor asked for what they lead to.
    pub(super) fn shards_of(
        &mut self,
        node: &Node,
        (pin, db): (&Pin, u8),
        command: &Command,
        args: Args<'k>,
        shards: &mut ShardSet,
    ) {
        if command.is(flags::ALL_SHARDS) {
            *shards = ShardSet::all();
            return;
        }
        for at in command.keys.positions(args.len()) {
            let key = node.engine.store.key(args.get(at));
            shards.insert(key.shard());
            if let Some(place) = self.keys.get_mut(self.count) {
                *place = key;
                self.count += 1;
            }
        }
        node.engine.store.prefetch_many(pin, db, self.as_slice());
    }
}

/// Fixes clock and seed of a request under its locks.
pub(in crate::commands) fn begin(
    node: &Node,
    local: &mut Local,
    held: &mut Held<'_>,
    now_ms: u64,
) -> Moment {
    let now_ms = now_ms.max(held.clock());
    held.raise_clock(now_ms);
    local.effects.notify_classes = events::classes(node);
    Moment { now_ms, seed: local.rng.next_u64() }
}

/// Whether a command's lookups count as uses of their keys.
#[inline]
pub(in crate::commands) fn marks_uses(card: &Card, command: &Command) -> bool {
    !command.is(flags::NO_TOUCH) && card.marks.load(Relaxed) & MARK_NO_TOUCH == 0
}

/// Publishes notifications and counts changes, after the locks were released.
pub(in crate::commands) fn publish_effects(node: &Node, hub: &NodeHub, local: &mut Local) {
    if local.effects.dirty != 0 {
        node.workers[local.worker].tally.dirty.add(local.effects.dirty);
        local.effects.dirty = 0;
    }
    if !local.effects.events.is_empty() {
        let Effects { events, .. } = &mut local.effects;
        events::publish(node, hub, std::mem::take(events), local.after);
    }
}

/// Runs a command that concerns the connection or the server.
pub(in crate::commands) fn call_session(
    io: &mut Io<'_, Node>,
    command: &Command,
    run: fn(&mut Cx<'_>, Args<'_>, &mut Reply<'_>) -> Result<(), CmdError>,
    args: Args<'_>,
    now_ms: u64,
) -> (Result<(), CmdError>, Flow) {
    let mut reply = Reply::new(io.out, io.session.protocol);
    let mut cx = Cx {
        hub: io.hub,
        id: io.id,
        card: io.card,
        session: io.session,
        local: io.local,
        command,
        now_ms,
        in_exec: false,
        flow: Flow::Next,
    };
    let outcome = run(&mut cx, args, &mut reply);
    (outcome, cx.flow)
}
