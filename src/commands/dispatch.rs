//! From parsed requests to functions: the service behind the network layer.
//!
//! A batch of requests goes through three passes. The first finds the rows and hashes the keys,
//! and asks the CPU for the buckets; the second asks for the entries; the third executes in
//! order. So the cache misses of up to sixteen commands overlap.

use super::admission::{admit, answer_error, refuse, settle_reply_mode, unknown_command};
use super::command_stats::Place;
use super::durability::{self, settle_long_body, take_long_body};
use super::node::{Local, Node, NodeHub};
use super::session::Session;
use super::table::{Command, Keys, Run, TABLE, flags};
use super::{cluster, events, expiry, transactions};
use crate::config::notify;
use crate::engine::{CmdError, Journal, Read, ReadParts, Txn, TxnParts, Walk};
use crate::limits::{BATCH_COMMANDS, OUTPUT_HIGH_WATER, STRING_LEN_MAX};
use crate::net::{Admission, Batch, Bounds, Card, ConnId, Flow, Io, Served, Service, TickOutcome};
use crate::resp::{Args, Mark, OutQueue, ParseLimits, Reply};
use crate::store::{Hint, Key, Pin, ShardSet};
use crate::sync::reclaim;
use crate::sys::bulk::BulkBuf;
use crate::sys::clock;
use std::cell::RefCell;
use std::sync::atomic::Ordering::Relaxed;

mod numbers;
mod prepare;
mod steps;

use numbers::is_short;
use prepare::Known;
pub(super) use prepare::Prepared;
use steps::KeysAhead;
pub(super) use steps::{begin, call_session, marks_uses, publish_effects, shards_of};

impl Service for Node {
    type Session = Session;
    type Local = Local;

    fn local(&self, index: usize) -> Local {
        Local::new(index, self.workers.len())
    }

    fn now_ms(&self) -> u64 {
        self.engine.clock.now_ms()
    }

    fn released_lsn(&self) -> u64 {
        // Without a log every reply may leave at once.
        self.durability.log().map_or(u64::MAX, |log| log.released())
    }

    fn gives_up(&self) -> bool {
        self.durability.log().is_some_and(|log| log.is_broken())
    }

    fn fail_held(&self, session: &Session, out: &mut OutQueue, released: u64) -> bool {
        durability::fail_held(self, session, out, released)
    }

    fn open(&self, card: &Card) -> Result<Session, Vec<u8>> {
        super::connection::admit(self, card)
    }

    fn parse_limits(&self, session: &Session) -> ParseLimits {
        ParseLimits {
            bulk_len_max: (self.config.hot.proto_max_bulk_len() as usize).min(STRING_LEN_MAX),
            authenticated: session.authenticated,
            ..ParseLimits::default()
        }
    }

    fn serve(&self, io: &mut Io<'_, Node>, batch: Batch<'_>) -> Served {
        let stats = &self.workers[io.local.worker];
        stats.reads.add(1);
        stats.writes.add(1);
        let received = batch.bytes();
        stats.input_bytes.add(received as u64);
        // What CLIENT LIST shows for the connection that asks: the request is not done yet.
        io.card.query_bytes.store(received, Relaxed);
        if let Some(gateway) = self.cluster.get() {
            return cluster::serve(self, gateway, io, batch);
        }
        // What is prepared for one request is much less to lay out than what is for sixteen.
        match batch.len() {
            1 => self.serve_up_to::<1>(io, batch),
            _ => self.serve_up_to::<BATCH_COMMANDS>(io, batch),
        }
    }

    fn reject(&self, session: &Session, error: &str, out: &mut OutQueue) {
        Reply::new(out, session.protocol).error(&format!("ERR {error}"));
    }

    fn close(&self, hub: &NodeHub, id: ConnId, _card: &Card, session: Session) {
        super::connection::leave(hub, id, session);
    }

    fn tick(&self, hub: &NodeHub, local: &mut Local, worker: usize) -> TickOutcome {
        expiry::tick(hub, local, worker)
    }

    fn settle(&self, local: &mut Local) {
        if std::mem::take(&mut local.unwritten)
            && let Some(log) = self.durability.log()
        {
            log.write_here();
        }
    }

    fn idle(&self, _local: &mut Local) {
        reclaim::flush();
    }

    fn admission(&self) -> Admission {
        Admission {
            connections_max: self.config.hot.maxclients() as usize,
            refusal: b"-ERR max number of clients reached\r\n",
            keepalive_s: self.config.hot.tcp_keepalive_s() as u32,
        }
    }

    fn bounds(&self, card: &Card) -> Bounds {
        super::connection::bounds(self, card)
    }
}

impl Node {
    /// Serves a batch of at most `MOST` requests.
    #[inline(always)]
    fn serve_up_to<const MOST: usize>(
        &self,
        io: &mut Io<'_, Node>,
        mut batch: Batch<'_>,
    ) -> Served {
        let count = batch.len();
        let pin = reclaim::pin();
        let mut prepared = [Prepared::default(); MOST];
        self.prepare(&pin, io.session.db, &batch, &mut prepared);
        let prepared = &prepared;
        let mut run = ExecutionRun::new(self, &pin, io);
        for (at, prepared) in prepared.iter().enumerate().take(count) {
            let flow = run.execute(io, &mut batch, at, prepared);
            let executed = if flow == Flow::Park { at } else { at + 1 };
            if flow != Flow::Next {
                run.end(io);
                return Served { executed, flow };
            }
            if io.out.len() > OUTPUT_HIGH_WATER && executed < count {
                run.end(io);
                return Served { executed, flow: Flow::Next };
            }
        }
        run.end(io);
        Served { executed: count, flow: Flow::Next }
    }
}

/// The third pass over one batch.
pub(super) struct ExecutionRun<'a> {
    node: &'a Node,
    pin: &'a Pin,
    /// The keyspace without a lock.
    read: Read<'a>,
    now_ms: u64,
    /// When the command before ended, ns of the clock that leases are judged by.
    last_ns: u64,
    /// Commands that ran since, without a look at the clock: the last ones of the worker's times.
    untimed: usize,
    /// Times of the worker that are of this batch.
    timed: usize,
    /// Commands that ran, and what replies there were, when they were last counted.
    commands: u64,
    unsent: usize,
}

/// A request on its way to its function.
struct Call<'a, 'h> {
    /// Index of the command in the table.
    row: usize,
    /// The row that runs: the command's, or its sub-command's.
    command: &'static Command,
    place: Place,
    args: Args<'a>,
    /// About its first key, where the first pass has hashed it.
    hint: Option<&'h Hint<'h>>,
}

impl<'h> Call<'_, 'h> {
    /// Its only key, if that was hashed.
    #[inline(always)]
    fn only_key(&self) -> Option<(Key<'_>, &'h Hint<'h>)> {
        let hint = self.hint.filter(|_| self.command.keys == Keys::ONE)?;
        Some((hint.key(self.args.get(1)), hint))
    }
}

impl<'a> ExecutionRun<'a> {
    #[inline(always)]
    pub(super) fn new(node: &'a Node, pin: &'a Pin, io: &Io<'_, Node>) -> ExecutionRun<'a> {
        let now_ms = node.engine.clock.now_ms();
        let read = Read::new(ReadParts {
            store: &node.engine.store,
            pin,
            held: None,
            tally: &node.workers[io.local.worker].tally,
            config: &node.config,
            db: io.session.db,
            now_ms,
            marks: true,
            hot: &node.hot,
        });
        ExecutionRun {
            node,
            pin,
            read,
            now_ms,
            last_ns: clock::boot_ns(),
            untimed: 0,
            timed: 0,
            commands: 0,
            unsent: io.out.len(),
        }
    }

    /// What is executed from now on sees this clock, in ms since 1970.
    pub(super) fn set_now(&mut self, now_ms: u64) {
        self.now_ms = now_ms;
        self.read.set_now(now_ms);
    }

    #[inline(always)]
    pub(super) fn end(&mut self, io: &mut Io<'_, Node>) {
        let after = std::mem::take(&mut io.local.after);
        if after > 0 {
            if let Some(log) = self.node.durability.log() {
                io.local.unwritten |= log.kick_or_keep();
            }
            io.out.gate(after);
        }
        self.settle_counts(io);
        self.settle_short(io.local);
        if self.timed > 0 && self.node.config.hot.latency_tracking() {
            let times = &io.local.times[..self.timed];
            self.node.workers[io.local.worker].by_command.record(times);
        }
    }

    pub(super) fn execute(
        &mut self,
        io: &mut Io<'_, Node>,
        batch: &mut Batch<'_>,
        at: usize,
        prepared: &'a Prepared<'a>,
    ) -> Flow {
        let node = self.node;
        let args = batch.args(at);
        let Some(Known { row, command, place }) = prepared.known else {
            refuse(node, io, None, &unknown_command(args));
            return Flow::Next;
        };
        let (command, place) = if command.subs.is_empty() {
            (command, place)
        } else {
            let (resolved, sub) = command.resolve(args);
            (resolved, Place::new(row.into(), sub))
        };
        if let Err(error) = admit(node, io, command, place, args) {
            refuse(node, io, Some(place), &error);
            return Flow::Next;
        }
        if self.is_paused(io, command) {
            return Flow::Park;
        }
        if node.saving.holds(command, io.session) {
            node.saving.hold_back(io.hub, io.id);
            return Flow::Park;
        }
        match durability::admit(node, io, command, args) {
            Ok(Flow::Next) => {}
            Ok(flow) => return flow,
            Err(error) => {
                refuse(node, io, Some(place), &error);
                return Flow::Next;
            }
        }
        let mark = io.out.mark();
        let after_before = io.local.after;
        let flow = if io.session.multi.is_some() && !command.is(flags::AT_ONCE) {
            transactions::queue(io, row.into(), args)
        } else {
            // Who monitors is shown the arguments after the command has run.
            let takes_bulk = command.is(flags::STORES_SECOND) && !node.monitors.any();
            let bulk = if takes_bulk { batch.take_large(at, 2) } else { None };
            let hint = if prepared.hashed { Some(&prepared.hint) } else { None };
            let call = Call { row: row.into(), command, place, args: batch.args(at), hint };
            self.call(io, &call, bulk)
        };
        if io.local.after > after_before {
            self.hold(io, mark, after_before);
        }
        // What a subscription is told is a push, not a reply, and is sent in any case.
        let pushes = command.is(flags::PUBSUB) && command.is(flags::IN_SUBSCRIBED);
        settle_reply_mode(io, if pushes { io.out.mark() } else { mark });
        flow
    }

    /// Whether a pause holds this request; the connection is resumed when that ends.
    #[inline]
    pub(super) fn is_paused(&self, io: &Io<'_, Node>, command: &Command) -> bool {
        let pause = &self.node.pause;
        if !pause.is_on() || !self.must_wait(io, command) {
            return false;
        }
        pause.wait(io.id);
        // The pause may have ended before this connection was on the list.
        if !self.must_wait(io, command) {
            io.hub.resume(io.id);
        }
        true
    }

    /// The reply behind `mark` has seen what is not released yet.
    #[inline]
    fn hold(&self, io: &mut Io<'_, Node>, mark: Mark, after_before: u64) {
        if after_before == 0 {
            io.out.free_before(mark);
        }
        if self.node.gives_up() {
            durability::take_back(self.node, io, mark, after_before);
        }
    }

    /// Whether a pause holds this request. Requests that are queued are not held, nor is the
    /// command that ends the pause.
    fn must_wait(&self, io: &Io<'_, Node>, command: &Command) -> bool {
        if command.is(flags::ALLOW_BUSY) && command.name != "exec" {
            return false;
        }
        let queued_write = command.name == "exec"
            && io.session.multi.as_ref().is_some_and(|multi| {
                multi.queued.iter().any(|(row, _)| TABLE[*row as usize].is(flags::WRITE))
            });
        let writes = command.is(flags::WRITE | flags::MAY_REPLICATE) || queued_write;
        self.node.pause.holds(writes, self.now_ms)
    }

    /// Runs one command and keeps its numbers.
    #[inline(always)]
    fn call(&mut self, io: &mut Io<'_, Node>, call: &Call<'_, 'a>, bulk: Option<BulkBuf>) -> Flow {
        let node = self.node;
        if !is_short(call.command) {
            self.settle_short(io.local);
        }
        if matches!(call.command.run, Run::Session(_) | Run::Walk(_)) {
            self.settle_counts(io);
        }
        io.card.command.store(call.place.number() + 1, Relaxed);
        if call.hint.is_some() {
            self.note_use(io, call);
        }
        let (outcome, flow) = match call.command.run {
            Run::Read(run) => (self.call_read(io, call, run), Flow::Next),
            Run::Locked(run) => (self.call_locked(io, call, run, bulk), Flow::Next),
            Run::Walk(run) => {
                let seed = io.local.rng.next_u64();
                let (store, config) = (&node.engine.store, &node.config);
                let walk = Walk::new(store, None, config, io.session.db, self.now_ms, seed);
                let mut reply = Reply::new(io.out, io.session.protocol);
                let outcome = run(&walk, call.args, &mut reply);
                if let Some(log) = node.durability.log() {
                    let seen = node.engine.store.last_lsn_of_all();
                    durability::note_seen(log, &mut io.local.after, seen);
                }
                (outcome, Flow::Next)
            }
            Run::Session(run) => call_session(io, &TABLE[call.row], run, call.args, self.now_ms),
        };
        if node.monitors.any() && !call.command.is(flags::SKIP_MONITOR | flags::ADMIN) {
            let now_us = node.engine.clock.now_us();
            node.monitors.feed(io.hub, io.card, io.session.db, now_us, call.args);
        }
        if let Err(error) = &outcome {
            answer_error(node, io, error);
        }
        self.count(io, call, outcome.is_err());
        flow
    }

    #[inline(always)]
    fn call_read(
        &mut self,
        io: &mut Io<'_, Node>,
        call: &Call<'_, 'a>,
        run: fn(&Read<'_>, Args<'_>, &mut Reply<'_>) -> Result<(), CmdError>,
    ) -> Result<(), CmdError> {
        let node = self.node;
        self.read.look_into(io.session.db, marks_uses(io.card, call.command));
        let first = call.command.keys.first as usize;
        self.read.set_hashed(match call.hint {
            Some(hint) => Some((call.args.get(first), hint)),
            None => None,
        });
        let listened = events::classes(node) & notify::KEY_MISS != 0;
        let missed = RefCell::default();
        let mut reply = Reply::new(io.out, io.session.protocol);
        let outcome = match listened {
            false => run(&self.read, call.args, &mut reply),
            true => run(&self.read.noting(&missed), call.args, &mut reply),
        };
        if let Some(log) = node.durability.log() {
            let seen = match call.only_key() {
                Some((key, _)) => node.engine.store.last_lsn(key.shard()),
                None => durability::seen_by(node, call.command, call.args),
            };
            durability::note_seen(log, &mut io.local.after, seen);
        }
        if listened {
            events::publish(node, io.hub, missed.into_inner(), io.local.after);
        }
        outcome
    }

    fn call_locked(
        &self,
        io: &mut Io<'_, Node>,
        call: &Call<'_, '_>,
        run: fn(&mut Txn<'_, '_>, Args<'_>, &mut Reply<'_>) -> Result<(), CmdError>,
        bulk: Option<BulkBuf>,
    ) -> Result<(), CmdError> {
        let (node, command) = (self.node, call.command);
        let only_key = call.only_key();
        let mut ahead = None;
        let mut held = match only_key {
            Some((key, hint)) => {
                let mut held = node.engine.store.lock_one(key.shard());
                held.set_hint(hint);
                held
            }
            _ => {
                let mut shards = ShardSet::new();
                let keys = ahead.insert(KeysAhead::none());
                let place = (self.pin, io.session.db);
                keys.shards_of(node, place, command, call.args, &mut shards);
                let mut held = node.engine.store.lock(&shards);
                if command.is(flags::WRITE) {
                    node.saving.align(node, &mut held, &shards);
                    held.begin_exclusive();
                }
                held
            }
        };
        held.set_marks(marks_uses(io.card, command));
        let moment = begin(node, io.local, &mut held, self.now_ms);
        let log = node.durability.log();
        let joined = take_long_body(io.session);
        let journal = log.filter(|_| command.is(flags::WRITE)).map(|log| Journal {
            log,
            record: &mut io.local.record,
            args: call.args,
            joined,
        });
        let mut reply = Reply::new(io.out, io.session.protocol);
        let mut txn = Txn::new(TxnParts {
            held: &mut held,
            effects: &mut io.local.effects,
            tally: &node.workers[io.local.worker].tally,
            config: &node.config,
            db: io.session.db,
            moment,
            hashed: match (&only_key, &ahead) {
                (Some((key, _)), _) => std::slice::from_ref(key),
                (None, Some(keys)) => keys.as_slice(),
                (None, None) => &[],
            },
            bulk,
            journal,
        });
        let outcome = run(&mut txn, call.args, &mut reply);
        txn.seal();
        if let Some(log) = log {
            durability::note_seen(log, &mut io.local.after, held.last_lsn());
        }
        drop(held);
        settle_long_body(node, joined);
        publish_effects(node, io.hub, io.local);
        outcome
    }
}
