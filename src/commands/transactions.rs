//! Transactions: MULTI EXEC DISCARD WATCH UNWATCH.
//!
//! Commands are queued with their arguments. EXEC locks the shards of all keys of all queued
//! commands at once, in ascending order, and announces to readers that several publications
//! follow; so a transaction is seen whole or not at all. A watched key carries a mark that
//! whoever changes it sets under its shard's lock; EXEC reads the mark with its locks held.

use super::admission::{OUT_OF_MEMORY, answer_error};
use super::command_stats::Place;
use super::dispatch::{begin, marks_uses, publish_effects, shards_of};
use super::durability::{self, settle_long_body, take_long_body};
use super::evicting;
use super::node::{Local, Node};
use super::session::{Cx, Multi, Session, Watching};
use super::table::{Command, Keys, Outcome, Run, TABLE, acl, flags, flags::*, row};
use crate::config::notify;
use crate::engine::{CmdError, Moment, Read, ReadParts, Txn, TxnParts, Walk, append, seed_of};
use crate::limits::MULTI_BYTES_MAX;
use crate::net::{Flow, Io};
use crate::resp::{Args, Reply};
use crate::store::{Held, ShardSet};
use crate::sys::clock;
use crate::wal::RecordKind;
use crate::wal::record::{BODY_MAX, put_command};
use std::cell::RefCell;
use std::sync::atomic::Ordering::Relaxed;

/// The rows of this family.
pub const ROWS: &[Command] = &[
    row("multi", 1, Keys::NONE, CONTROL | FAST, acl::TRANSACTION, Run::Session(multi))
        .doc("1.2.0", "Starts a transaction."),
    row(
        "exec",
        1,
        Keys::NONE,
        CONTROL | SKIP_SLOWLOG | SKIP_MONITOR,
        acl::TRANSACTION,
        Run::Session(exec),
    )
    .doc("1.2.0", "Executes all commands in a transaction."),
    row("discard", 1, Keys::NONE, CONTROL | FAST, acl::TRANSACTION, Run::Session(discard))
        .doc("2.0.0", "Discards a transaction."),
    row("watch", -2, Keys::ALL, CONTROL | FAST, acl::TRANSACTION, Run::Session(watch))
        .doc("2.2.0", "Monitors changes to keys to determine the execution of a transaction."),
    row("unwatch", 1, Keys::NONE, UNWATCH, acl::TRANSACTION, Run::Session(unwatch_command))
        .doc("2.2.0", "Forgets about watched keys of a transaction."),
];

const CONTROL: u32 = NOSCRIPT | LOADING | STALE | AT_ONCE | ALLOW_BUSY;
const UNWATCH: u32 = NOSCRIPT | LOADING | STALE | FAST | ALLOW_BUSY;

/// Queues a command of an open transaction.
pub(super) fn queue(io: &mut Io<'_, Node>, row: usize, args: Args<'_>) -> Flow {
    let Some(multi) = &mut io.session.multi else { return Flow::Next };
    let owned = args.to_owned();
    if multi.bytes + owned.heap_bytes() > MULTI_BYTES_MAX {
        multi.failed = true;
        let error = CmdError::text("ERR transaction is too large: its commands were not queued");
        answer_error(&io.hub.service, io, &error);
        return Flow::Next;
    }
    multi.bytes += owned.heap_bytes();
    multi.queued.push((row as u16, owned));
    io.card.queued.store(multi.queued.len() as i32, Relaxed);
    Reply::new(io.out, io.session.protocol).simple("QUEUED");
    Flow::Next
}

/// MULTI
fn multi(cx: &mut Cx<'_>, _args: Args<'_>, reply: &mut Reply<'_>) -> Outcome {
    if cx.session.multi.is_some() {
        return Err(CmdError::text("ERR MULTI calls can not be nested"));
    }
    cx.session.multi = Some(Box::new(Multi::default()));
    cx.card.queued.store(0, Relaxed);
    reply.ok();
    Ok(())
}

/// DISCARD
fn discard(cx: &mut Cx<'_>, _args: Args<'_>, reply: &mut Reply<'_>) -> Outcome {
    if cx.session.multi.is_none() {
        return Err(CmdError::text("ERR DISCARD without MULTI"));
    }
    abandon(cx.node(), cx.session);
    cx.card.queued.store(-1, Relaxed);
    cx.card.watched.store(0, Relaxed);
    reply.ok();
    Ok(())
}

/// WATCH key [key ...]
fn watch(cx: &mut Cx<'_>, args: Args<'_>, reply: &mut Reply<'_>) -> Outcome {
    if cx.session.multi.is_some() {
        return Err(CmdError::text("ERR WATCH inside MULTI is not allowed"));
    }
    let (node, db, now_ms) = (cx.node(), cx.session.db, cx.now_ms);
    let watching = cx.session.watching.get_or_insert_default();
    for bytes in args.iter_from(1) {
        if watching.keys.iter().any(|(on, key, _)| *on == db && **key == *bytes) {
            continue;
        }
        let key = node.engine.store.key(bytes);
        let mut held = node.engine.store.lock_one(key.shard());
        held.watch(db, &key, &watching.mark);
        let expired = held.find(db, &key).is_some_and(|entry| entry.is_expired(now_ms));
        drop(held);
        watching.keys.push((db, bytes.into(), expired));
    }
    cx.card.watched.store(watching.keys.len() as u32, Relaxed);
    reply.ok();
    Ok(())
}

/// UNWATCH
fn unwatch_command(cx: &mut Cx<'_>, _args: Args<'_>, reply: &mut Reply<'_>) -> Outcome {
    if let Some(watching) = cx.session.watching.take() {
        unwatch(cx.node(), &watching);
    }
    cx.session.watched = None;
    cx.card.watched.store(0, Relaxed);
    reply.ok();
    Ok(())
}

/// Ends a transaction without running it, and forgets the watched keys.
pub(super) fn abandon(node: &Node, session: &mut Session) {
    (session.multi, session.watched) = (None, None);
    if let Some(watching) = session.watching.take() {
        unwatch(node, &watching);
    }
}

/// Takes the mark off all keys it was set on.
pub(super) fn unwatch(node: &Node, watching: &Watching) {
    for (db, bytes, _) in &watching.keys {
        let key = node.engine.store.key(bytes);
        node.engine.store.lock_one(key.shard()).unwatch(*db, &key, &watching.mark);
    }
}

/// EXEC
fn exec(cx: &mut Cx<'_>, args: Args<'_>, reply: &mut Reply<'_>) -> Outcome {
    let Some(multi) = cx.session.multi.take() else {
        return Err(CmdError::text("ERR EXEC without MULTI"));
    };
    let watching = cx.session.watching.take();
    cx.session.watched = None;
    cx.card.queued.store(-1, Relaxed);
    cx.card.watched.store(0, Relaxed);
    let result = if multi.failed {
        Err(CmdError::text("EXECABORT Transaction discarded because of previous errors."))
    } else if needs_memory(&multi) && !evicting::make_room(cx.node(), cx.hub, cx.local) {
        Err(CmdError::owned(format!("EXECABORT Transaction discarded because of: {OUT_OF_MEMORY}")))
    } else {
        run_all(cx, &multi, watching.as_deref(), reply);
        Ok(())
    };
    // One that was not executed has not used what of it is in the log.
    durability::drop_long_body(cx.node(), cx.session);
    let node = cx.node();
    if node.monitors.any() {
        // After the commands it ran, which is the order in which they took effect.
        node.monitors.feed(cx.hub, cx.card, cx.session.db, node.engine.clock.now_us(), args);
    }
    if let Some(watching) = watching {
        unwatch(cx.node(), &watching);
    }
    result
}

fn needs_memory(multi: &Multi) -> bool {
    multi.queued.iter().any(|(row, _)| TABLE[*row as usize].is(flags::DENYOOM))
}

/// Runs the queued commands under the locks of all their keys.
fn run_all(cx: &mut Cx<'_>, multi: &Multi, watching: Option<&Watching>, reply: &mut Reply<'_>) {
    let node = cx.node();
    let shards = shards_of_all(node, multi, watching);
    let mut held = node.engine.store.lock(&shards);
    let moment = begin(node, cx.local, &mut held, cx.now_ms);
    if watching.is_some_and(|watching| is_broken(node, &held, watching, moment.now_ms)) {
        note_seen(cx, &held);
        drop(held);
        reply.nil_array();
        return;
    }
    node.saving.align(node, &mut held, &shards);
    held.begin_exclusive();
    reply.array(multi.queued.len());
    let mut changes = Changes::new(node, cx.local);
    for (row, args) in &multi.queued {
        let (command, sub) = TABLE[*row as usize].resolve(args.as_args());
        let place = Place::new(*row as usize, sub);
        let started_ns = clock::monotonic_ns();
        let (db, dirty) = (cx.session.db, cx.local.effects.dirty);
        let seed = seed_of(moment.seed, changes.count);
        let one = Moment { seed, ..moment };
        let outcome = run_one(cx, &mut held, one, command, args.as_args(), reply);
        changes.note(cx.local.effects.dirty != dirty, db, args.as_args());
        if node.monitors.any() && !command.is(flags::SKIP_MONITOR | flags::ADMIN) {
            let now_us = node.engine.clock.now_us();
            node.monitors.feed(cx.hub, cx.card, cx.session.db, now_us, args.as_args());
        }
        let calls = node.workers[cx.local.worker].by_command.of(place);
        calls.calls.add(1);
        calls.time_ns.add(clock::monotonic_ns() - started_ns);
        if let Err(error) = outcome {
            calls.failed.add(1);
            node.note_error(cx.local.worker, &error);
            error.write_to(reply);
        }
    }
    changes.seal(cx, &mut held, moment);
    note_seen(cx, &held);
    drop(held);
    publish_effects(node, cx.hub, cx.local);
}

/// The reply has seen what the shards held contain.
fn note_seen(cx: &mut Cx<'_>, held: &Held<'_>) {
    if let Some(log) = cx.node().durability.log() {
        durability::note_seen(log, &mut cx.local.after, held.last_lsn());
    }
}

/// The commands of a transaction that changed something, as the body of its record.
struct Changes {
    /// How many there are.
    count: u64,
    body: Vec<u8>,
    /// A bit for each command, if the body lies in the log already.
    bits: Vec<u8>,
    seen: usize,
    long: bool,
    /// A log is kept; without one the commands are only counted.
    is_logged: bool,
}

impl Changes {
    fn new(node: &Node, local: &mut Local) -> Changes {
        let body = std::mem::take(local.record.body());
        let is_logged = node.durability.log().is_some();
        Changes { count: 0, body, bits: Vec::new(), seen: 0, long: false, is_logged }
    }

    fn note(&mut self, changed: bool, db: u8, args: Args<'_>) {
        self.count += u64::from(changed);
        if !self.is_logged {
            return;
        }
        if self.seen.is_multiple_of(8) {
            self.bits.push(0);
        }
        if changed {
            self.bits[self.seen / 8] |= 1 << (self.seen % 8);
            // A body too long for a record is in the log by now, and this copy is of no use.
            self.long |= self.body.len() > BODY_MAX;
            if !self.long {
                put_command(&mut self.body, db, (0..args.len()).map(|at| args.get(at)));
            }
        }
        self.seen += 1;
    }

    /// Puts the transaction into the log, if it changed anything. Nobody has seen its changes
    /// yet: readers wait for the exclusive sequence of the shards held.
    fn seal(self, cx: &mut Cx<'_>, held: &mut Held<'_>, moment: Moment) {
        let joined = take_long_body(cx.session);
        let Some(log) = cx.hub.service.durability.log() else { return };
        if self.count == 0 {
            settle_long_body(cx.node(), joined);
            return;
        }
        let body = cx.local.record.body();
        let kind = match joined {
            Some(number) => {
                body.extend_from_slice(&number.to_le_bytes());
                body.extend_from_slice(&self.bits);
                RecordKind::Joined
            }
            None => {
                *body = self.body;
                RecordKind::Commands
            }
        };
        append(log, &cx.local.record, held, kind, moment);
        settle_long_body(cx.node(), joined);
    }
}

/// The shards of all keys that the transaction touches or watches.
fn shards_of_all(node: &Node, multi: &Multi, watching: Option<&Watching>) -> ShardSet {
    let mut shards = ShardSet::new();
    for (row, args) in &multi.queued {
        let (command, _) = TABLE[*row as usize].resolve(args.as_args());
        if command.is(flags::ALL_SHARDS) || matches!(command.run, Run::Walk(_)) {
            return ShardSet::all();
        }
        shards_of(node, command, args.as_args(), &mut shards);
    }
    for (_, bytes, _) in watching.iter().flat_map(|watching| &watching.keys) {
        shards.insert(node.engine.store.key(bytes).shard());
    }
    shards
}

/// True when a watched key was changed, or has passed its deadline since WATCH.
fn is_broken(node: &Node, held: &Held<'_>, watching: &Watching, now_ms: u64) -> bool {
    watching.mark.is_marked()
        || watching.keys.iter().any(|(db, bytes, was_expired)| {
            let key = node.engine.store.key(bytes);
            !was_expired && held.find(*db, &key).is_some_and(|entry| entry.is_expired(now_ms))
        })
}

fn run_one(
    cx: &mut Cx<'_>,
    held: &mut Held<'_>,
    moment: Moment,
    command: &'static Command,
    args: Args<'_>,
    reply: &mut Reply<'_>,
) -> Outcome {
    let node = cx.node();
    let (db, worker) = (cx.session.db, cx.local.worker);
    let tally = &node.workers[worker].tally;
    let marks = marks_uses(cx.card, command);
    held.set_marks(marks);
    match command.run {
        Run::Read(run) => {
            let pin = crate::sync::reclaim::pin();
            let listened = cx.local.effects.notify_classes & notify::KEY_MISS != 0;
            let missed = listened.then(RefCell::default);
            let read = Read::new(ReadParts {
                store: &node.engine.store,
                pin: &pin,
                held: Some(held),
                tally,
                config: &node.config,
                db,
                now_ms: moment.now_ms,
                marks,
                hot: &node.hot,
            });
            let outcome = match &missed {
                Some(missed) => run(&read.noting(missed), args, reply),
                None => run(&read, args, reply),
            };
            let events = &mut cx.local.effects.events;
            events.extend(missed.map(RefCell::into_inner).unwrap_or_default());
            outcome
        }
        Run::Locked(run) => {
            let mut txn = Txn::new(TxnParts {
                held,
                effects: &mut cx.local.effects,
                tally,
                config: &node.config,
                db,
                moment,
                hashed: &[],
                bulk: None,
                journal: None,
            });
            run(&mut txn, args, reply)
        }
        Run::Walk(run) => {
            let seed = cx.local.rng.next_u64();
            let store = &node.engine.store;
            let walk = Walk::new(store, Some(held), &node.config, db, moment.now_ms, seed);
            run(&walk, args, reply)
        }
        Run::Session(run) => {
            let outer = (cx.command, cx.in_exec);
            (cx.command, cx.in_exec) = (command, true);
            let outcome = run(cx, args, reply);
            (cx.command, cx.in_exec) = outer;
            reply.set_protocol(cx.session.protocol);
            outcome
        }
    }
}
