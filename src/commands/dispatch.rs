//! From parsed requests to functions: the service behind the network layer.
//!
//! A batch of requests goes through three passes. The first finds the rows and hashes the keys,
//! and asks the CPU for the buckets; the second asks for the entries; the third executes in
//! order. So the cache misses of up to sixteen commands overlap.

use super::admission::{
    admit, answer_error, note_slow, refuse, settle_reply_mode, unknown_command,
};
use super::command_stats::Place;
use super::durability::{self, settle_long_body, take_long_body};
use super::node::{Local, Node, NodeHub};
use super::session::Session;
use super::table::{Command, Keys, Run, TABLE, flags};
use super::{events, expiry, transactions};
use crate::config::notify;
use crate::engine::{CmdError, Journal, Read, ReadParts, SAMPLE, Txn, TxnParts, Walk};
use crate::limits::{BATCH_COMMANDS, OUTPUT_HIGH_WATER, STRING_LEN_MAX};
use crate::net::{Admission, Batch, Bounds, Card, ConnId, Flow, Io, Served, Service, TickOutcome};
use crate::resp::{Args, Mark, OutQueue, ParseLimits, Reply};
use crate::store::{Key, Pin, ShardSet};
use crate::sync::reclaim;
use crate::sys::bulk::BulkBuf;
use crate::sys::clock;
use crate::wal::Health;
use std::cell::RefCell;
use std::sync::atomic::Ordering::Relaxed;

mod prepare;
mod steps;

use prepare::Prepared;
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

    fn serve(&self, io: &mut Io<'_, Node>, mut batch: Batch<'_>) -> Served {
        let count = batch.len();
        let pin = reclaim::pin();
        let stats = &self.workers[io.local.worker];
        stats.reads.add(1);
        stats.writes.add(1);
        let received = batch.bytes();
        stats.input_bytes.add(received as u64);
        // What CLIENT LIST shows for the connection that asks: the request is not done yet.
        io.card.query_bytes.store(received, Relaxed);
        let mut prepared = [Prepared::default(); BATCH_COMMANDS];
        self.prepare(&pin, io.session.db, &batch, &mut prepared);
        let mut run = ExecutionRun::new(self, &pin);
        for (at, prepared) in prepared.into_iter().enumerate().take(count) {
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

    fn reject(&self, session: &Session, error: &str, out: &mut OutQueue) {
        Reply::new(out, session.protocol).error(&format!("ERR {error}"));
    }

    fn close(&self, hub: &NodeHub, id: ConnId, _card: &Card, session: Session) {
        super::connection::leave(hub, id, session);
    }

    fn tick(&self, hub: &NodeHub, local: &mut Local, worker: usize) -> TickOutcome {
        expiry::tick(hub, local, worker)
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

/// The third pass over one batch.
struct ExecutionRun<'a> {
    node: &'a Node,
    pin: &'a Pin,
    now_ms: u64,
    /// When the command before ended, ns of the monotonic clock.
    last_ns: u64,
    /// Commands that ran since, without a look at the clock: the last ones of `times`.
    untimed: usize,
    /// Times of the commands that ran, to be noted together.
    times: [(Place, u64); BATCH_COMMANDS],
    timed: usize,
}

/// A request on its way to its function.
struct Call<'a> {
    /// Index of the command in the table.
    row: usize,
    /// The row that runs: the command's, or its sub-command's.
    command: &'static Command,
    place: Place,
    args: Args<'a>,
    /// Its first key, where the first pass has hashed it.
    hashed: Option<Key<'a>>,
    /// Argument 2, received apart.
    bulk: Option<BulkBuf>,
}

impl<'a> ExecutionRun<'a> {
    fn new(node: &'a Node, pin: &'a Pin) -> ExecutionRun<'a> {
        let nowhere = Place::new(0, None);
        ExecutionRun {
            node,
            pin,
            now_ms: node.engine.clock.now_ms(),
            last_ns: clock::monotonic_ns(),
            untimed: 0,
            times: [(nowhere, 0); BATCH_COMMANDS],
            timed: 0,
        }
    }

    fn end(mut self, io: &mut Io<'_, Node>) {
        let after = std::mem::take(&mut io.local.after);
        if after > 0 {
            if let Some(log) = self.node.durability.log() {
                log.kick();
            }
            io.out.gate(after);
        }
        let local = &*io.local;
        self.settle_reads(local);
        if self.timed > 0 && self.node.config.hot.latency_tracking() {
            let times = self.times[..self.timed].iter().copied();
            self.node.workers[local.worker].by_command.record(times);
        }
    }

    fn execute(
        &mut self,
        io: &mut Io<'_, Node>,
        batch: &mut Batch<'_>,
        at: usize,
        prepared: Prepared,
    ) -> Flow {
        let node = self.node;
        let Some(row) = (prepared.row as usize).checked_sub(1) else {
            refuse(node, io, None, &unknown_command(batch.args(at)));
            return Flow::Next;
        };
        let (command, sub) = TABLE[row].resolve(batch.args(at));
        let place = Place::new(row, sub);
        if let Err(error) = admit(node, io, command, place, batch.args(at)) {
            refuse(node, io, Some(place), &error);
            return Flow::Next;
        }
        if node.pause.is_on() && self.must_wait(io, command) {
            node.pause.wait(io.id);
            // The pause may have ended before this connection was on the list.
            if !self.must_wait(io, command) {
                io.hub.resume(io.id);
            }
            return Flow::Park;
        }
        if node.saving.holds(command, io.session) {
            node.saving.hold_back(io.hub, io.id);
            return Flow::Park;
        }
        match durability::admit(node, io, command, batch.args(at)) {
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
            transactions::queue(io, row, batch.args(at))
        } else {
            // Who monitors is shown the arguments after the command has run.
            let takes_bulk = command.is(flags::STORES_SECOND) && !node.monitors.any();
            let bulk = if takes_bulk { batch.request(at).take_large(2) } else { None };
            let args = batch.args(at);
            let hashed = prepared.hashed.then(|| Key {
                bytes: args.get(command.keys.first as usize),
                hash: prepared.hash,
                hash_slot: prepared.hash_slot,
            });
            self.call(io, Call { row, command, place, args, hashed, bulk })
        };
        if io.local.after > after_before {
            self.hold(io, mark, after_before);
        }
        // What a subscription is told is a push, not a reply, and is sent in any case.
        let pushes = command.is(flags::PUBSUB) && command.is(flags::IN_SUBSCRIBED);
        settle_reply_mode(io, if pushes { io.out.mark() } else { mark });
        flow
    }

    /// The reply behind `mark` has seen what is not released yet.
    #[cold]
    fn hold(&self, io: &mut Io<'_, Node>, mark: Mark, after_before: u64) {
        if after_before == 0 {
            io.out.free_before(mark);
        }
        if let Some(log) = self.node.durability.log()
            && log.is_broken()
            && let Health::Broken(why) = log.health()
        {
            io.local.after = after_before;
            io.out.rollback(mark);
            answer_error(self.node, io, &durability::broken(&why));
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
    fn call(&mut self, io: &mut Io<'_, Node>, mut call: Call<'_>) -> Flow {
        let node = self.node;
        if self.untimed > 0 && !matches!(call.command.run, Run::Read(_)) {
            self.settle_reads(io.local);
        }
        io.card.command.store(call.place.number() + 1, Relaxed);
        if let Some(key) = call.hashed {
            self.note_use(io, call.command, key);
        }
        let before = io.out.len();
        let (outcome, flow) = match call.command.run {
            Run::Read(run) => (self.call_read(io, &call, run), Flow::Next),
            Run::Locked(run) => {
                let bulk = call.bulk.take();
                (self.call_locked(io, &call, run, bulk), Flow::Next)
            }
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
        self.count(io, &call, outcome.is_err(), before);
        flow
    }

    /// Counts one of several uses of keys for the hot keys.
    #[inline]
    fn note_use(&self, io: &mut Io<'_, Node>, command: &Command, key: Key<'_>) {
        let local = &mut *io.local;
        if local.until_sample > 0 {
            local.until_sample -= 1;
        } else if marks_uses(io.card, command) {
            // Of a random number of uses, so that no rhythm of requests hides a key.
            local.until_sample = local.rng.below(2 * SAMPLE - 1);
            self.node.hot.of(local.worker).add(io.session.db, key.hash, key.bytes);
        }
    }

    fn call_read(
        &self,
        io: &mut Io<'_, Node>,
        call: &Call<'_>,
        run: fn(&Read<'_>, Args<'_>, &mut Reply<'_>) -> Result<(), CmdError>,
    ) -> Result<(), CmdError> {
        let node = self.node;
        let listened = events::classes(node) & notify::KEY_MISS != 0;
        let missed = listened.then(RefCell::default);
        let read = Read::new(ReadParts {
            store: &node.engine.store,
            pin: self.pin,
            held: None,
            tally: &node.workers[io.local.worker].tally,
            config: &node.config,
            db: io.session.db,
            now_ms: self.now_ms,
            hashed: call.hashed,
            missed: missed.as_ref(),
            marks: marks_uses(io.card, call.command),
            hot: &node.hot,
        });
        let outcome = run(&read, call.args, &mut Reply::new(io.out, io.session.protocol));
        if let Some(log) = node.durability.log() {
            let seen = match call.hashed {
                Some(key) if call.command.keys == Keys::ONE => {
                    node.engine.store.last_lsn(key.shard())
                }
                _ => durability::seen_by(node, call.command, call.args),
            };
            durability::note_seen(log, &mut io.local.after, seen);
        }
        if let Some(missed) = missed {
            events::publish(node, io.hub, missed.into_inner(), io.local.after);
        }
        outcome
    }

    fn call_locked(
        &self,
        io: &mut Io<'_, Node>,
        call: &Call<'_>,
        run: fn(&mut Txn<'_, '_>, Args<'_>, &mut Reply<'_>) -> Result<(), CmdError>,
        bulk: Option<BulkBuf>,
    ) -> Result<(), CmdError> {
        let (node, command) = (self.node, call.command);
        let mut held = match call.hashed {
            Some(key) if command.keys == Keys::ONE => node.engine.store.lock_one(key.shard()),
            _ => {
                let mut shards = ShardSet::new();
                shards_of(node, command, call.args, &mut shards);
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
            hashed: call.hashed,
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

    /// Keeps the numbers of a command that ran.
    ///
    /// A look at the clock costs a third of a GET. So lock-free reads in a row share one and are
    /// taken to have lasted equally long, unless commands that short count as slow.
    fn count(&mut self, io: &Io<'_, Node>, call: &Call<'_>, failed: bool, before: usize) {
        let stats = &self.node.workers[io.local.worker];
        let calls = stats.by_command.of(call.place);
        stats.commands.add(1);
        stats.output_bytes.add(io.out.len().saturating_sub(before) as u64);
        calls.calls.add(1);
        if failed {
            calls.failed.add(1);
        }
        let slower_than_us = self.node.config.hot.slowlog_log_slower_than_us();
        let is_short = matches!(call.command.run, Run::Read(_)) && call.command.keys == Keys::ONE;
        if is_short && !(0..SHORT_US).contains(&slower_than_us) {
            self.times[self.timed] = (call.place, 0);
            self.timed += 1;
            self.untimed += 1;
            return;
        }
        self.settle_reads(io.local);
        let now_ns = clock::monotonic_ns();
        let took_ns = now_ns - self.last_ns;
        self.last_ns = now_ns;
        calls.time_ns.add(took_ns);
        self.times[self.timed] = (call.place, took_ns);
        self.timed += 1;
        if slower_than_us >= 0
            && took_ns >= slower_than_us as u64 * 1000
            && !call.command.is(flags::SKIP_SLOWLOG)
        {
            note_slow(self.node, io.card, call.args, took_ns / 1000);
        }
    }

    /// Shares the time since the last look at the clock among the reads that ran since.
    fn settle_reads(&mut self, local: &Local) {
        let count = std::mem::take(&mut self.untimed);
        if count == 0 {
            return;
        }
        let now_ns = clock::monotonic_ns();
        let each_ns = (now_ns - self.last_ns) / count as u64;
        self.last_ns = now_ns;
        let by_command = &self.node.workers[local.worker].by_command;
        for (place, took_ns) in &mut self.times[self.timed - count..self.timed] {
            *took_ns = each_ns;
            by_command.of(*place).time_ns.add(each_ns);
        }
    }
}

/// Single-key reads are timed one by one if commands shorter than this count as slow.
const SHORT_US: i64 = 1000;
