//! Between commands and the log: who may write now, what waits for what, long requests.
//!
//! A write is admitted only with credit, that is, room for its record in the ring and on the
//! disk; without it the connection waits, or is refused where waiting would not help. A request
//! too long for one record goes into the log in fragments first, with no lock held, as credit
//! comes; its own record, at the moment it is applied, then only names the body.

use super::admission::answer_error;
use super::dispatch::shards_of;
use super::log_cell::LogCell;
use super::node::{Node, NodeHub};
use super::session::{Multi, Session};
use super::table::{Command, Run, TABLE, flags};
use crate::engine::CmdError;
use crate::limits::{LOG_BLOCK_BYTES, LOG_FRAGMENT_BYTES};
use crate::net::{ConnId, Flow, Io};
use crate::resp::{Args, Mark, OutQueue, Reply};
use crate::store::ShardSet;
use crate::sync::reclaim;
use crate::wal::record::{BODY_MAX, put_command};
use crate::wal::{Health, Log, NoCredit, RecordKind, RecordMeta, SEVERAL_SHARDS};
use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

/// The log of a server, and who waits for it.
pub struct Durability {
    log: LogCell,
    /// Writes wait until the log has been switched.
    is_held: AtomicBool,
    /// A log that reaches beyond this position takes no more writes (`wal-max-bytes`).
    refuse_above: AtomicU64,
    /// Names the data, and the log that belongs to it.
    database_id: AtomicU64,
    waiting: Mutex<Vec<ConnId>>,
    next_body: AtomicU64,
    /// Bodies that are in the log in part or whole and not applied yet, and where they begin.
    bodies: Mutex<HashMap<u64, u64>>,
    base: AtomicU64,
    /// Milliseconds that the last recovery took.
    pub recovery_ms: AtomicU64,
}

/// A request whose body goes into the log in fragments.
#[derive(Debug)]
pub struct LongBody {
    number: u64,
    body: Vec<u8>,
    written: usize,
    /// The log that it goes into.
    life: usize,
}

impl Default for Durability {
    fn default() -> Durability {
        Durability {
            log: LogCell::default(),
            is_held: AtomicBool::new(false),
            refuse_above: AtomicU64::new(u64::MAX),
            database_id: AtomicU64::new(0),
            waiting: Mutex::default(),
            next_body: AtomicU64::new(0),
            bodies: Mutex::default(),
            base: AtomicU64::new(0),
            recovery_ms: AtomicU64::new(0),
        }
    }
}

impl Durability {
    /// Every write goes into `log` from now on. No write may be under way, and
    /// [`Durability::can_start`] was asked.
    pub fn start(&self, log: Arc<Log>) {
        // Bodies of an earlier life have lower numbers.
        self.next_body.fetch_max(log.end(), Ordering::Relaxed);
        self.refuse_above.store(u64::MAX, Ordering::Relaxed);
        if !self.log.put(log) {
            tracing::error!("there were too many logs in the life of this process");
        }
    }

    /// From now on no log is kept. No write may be under way, and all must be durable.
    pub fn end(&self, log: &Log) {
        // The block that is left out shows a reader that something is missing here.
        self.set_base(log.end().next_multiple_of(LOG_BLOCK_BYTES) + LOG_BLOCK_BYTES);
        // What was to be executed by way of it is executed without it: no snapshot from here on
        // needs what is in there.
        self.lock_bodies().clear();
        self.log.clear();
    }

    /// Whether another log can be started in the life of this process.
    pub fn can_start(&self) -> bool {
        self.log.has_place()
    }

    /// The log that was started last, in use or not.
    pub fn last_log(&self) -> Option<&Arc<Log>> {
        self.log.last()
    }

    /// Where the log stands while none is kept: behind all that was read at the start.
    pub fn set_base(&self, position: u64) {
        self.base.store(position, Ordering::Relaxed);
    }

    /// A position for a snapshot that is taken while no log is kept: behind those of before, so
    /// that its name is newer than theirs.
    pub fn step_base(&self) {
        self.base.fetch_add(LOG_BLOCK_BYTES, Ordering::Relaxed);
    }

    /// Names the data.
    pub fn database_id(&self) -> u64 {
        self.database_id.load(Ordering::Relaxed)
    }

    /// The data has that name from now on.
    pub fn set_database_id(&self, id: u64) {
        self.database_id.store(id, Ordering::Relaxed);
    }

    /// Writes that come from now on wait until [`Durability::let_go`].
    pub fn hold(&self) {
        self.is_held.store(true, Ordering::SeqCst);
    }

    /// Whether writes that come now wait.
    #[inline]
    pub fn is_held(&self) -> bool {
        // SeqCst: pairs with the Release in `let_go`, so that who is let go sees the log as it is
        // now; and comes after the place on the list in `wait_for_switch`.
        self.is_held.load(Ordering::SeqCst)
    }

    /// Whether no record can be written at this moment; the caller has a pin.
    pub fn takes_no_writes(&self) -> bool {
        self.is_held() || self.log().is_some_and(|log| !log.has_credit())
    }

    /// Writes go on.
    pub fn let_go(&self, hub: &NodeHub) {
        // Release: pairs with the load in `is_held`.
        self.is_held.store(false, Ordering::Release);
        hub.released();
        self.resume_waiting(hub);
    }

    /// Bounds the log: more than twice `bytes_max` are not kept; 0: no bound. Returns whether it
    /// is longer than `bytes_max` now.
    pub fn bound(&self, bytes_max: u64) -> bool {
        let (Some(log), 1..) = (self.log(), bytes_max) else {
            self.refuse_above.store(u64::MAX, Ordering::Relaxed);
            return false;
        };
        let begin = log.begin();
        let above = begin.saturating_add(bytes_max.saturating_mul(2));
        self.refuse_above.store(above, Ordering::Relaxed);
        log.end().saturating_sub(begin) > bytes_max
    }

    /// Behind the last record.
    pub fn position(&self) -> u64 {
        match self.log() {
            Some(log) => log.end(),
            None => self.base.load(Ordering::Relaxed),
        }
    }

    /// No body that is in use begins below this.
    pub fn bodies_from(&self) -> u64 {
        let bodies = self.bodies.lock().unwrap_or_else(PoisonError::into_inner);
        bodies.values().copied().min().unwrap_or(u64::MAX)
    }

    /// The log, if one is kept.
    #[inline]
    pub fn log(&self) -> Option<&Arc<Log>> {
        self.log.get()
    }

    /// The log moved on: those who wait for credit try again, and held replies are looked at.
    pub fn progressed(&self, hub: &NodeHub) {
        hub.released();
        let Some(log) = self.log() else { return };
        if !log.has_credit() && log.health() == Health::Good {
            return;
        }
        self.resume_waiting(hub);
    }

    fn resume_waiting(&self, hub: &NodeHub) {
        let waiting = std::mem::take(&mut *self.lock_waiting());
        waiting.into_iter().for_each(|id| hub.resume(id));
    }

    fn wait_for_switch(&self, hub: &NodeHub, id: ConnId) {
        self.lock_waiting().push(id);
        // The switch may have ended before this connection was on the list.
        if !self.is_held() {
            hub.resume(id);
        }
    }

    fn wait(&self, log: &Log, hub: &NodeHub, id: ConnId) {
        self.lock_waiting().push(id);
        // Credit may have come before this connection was on the list.
        if log.has_credit() || log.health() != Health::Good {
            hub.resume(id);
        }
    }

    fn lock_bodies(&self) -> std::sync::MutexGuard<'_, HashMap<u64, u64>> {
        self.bodies.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn lock_waiting(&self) -> std::sync::MutexGuard<'_, Vec<ConnId>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Whether a request may write now: an error, or [`Flow::Park`] if it must wait.
pub(super) fn admit(
    node: &Node,
    io: &mut Io<'_, Node>,
    command: &'static Command,
    args: Args<'_>,
) -> Result<Flow, CmdError> {
    let is_held = node.durability.is_held();
    let log = node.durability.log();
    if log.is_none() && !is_held {
        return Ok(Flow::Next);
    }
    let queued = io.session.multi.as_ref().filter(|_| command.name == "exec");
    let writes = match queued {
        Some(multi) => !multi.failed && multi.queued.iter().any(|(row, _)| is_write(*row)),
        None => command.is(flags::WRITE),
    };
    if !writes || io.session.multi.is_some() && queued.is_none() {
        return Ok(Flow::Next);
    }
    if is_held {
        node.durability.wait_for_switch(io.hub, io.id);
        return Ok(Flow::Park);
    }
    let Some(log) = log else { return Ok(Flow::Next) };
    if log.end() > node.durability.refuse_above.load(Ordering::Relaxed) {
        return Err(CmdError::text(
            "MISCONF the log is twice as long as 'wal-max-bytes' allows, the write was not \
             executed; it goes on by itself when a snapshot is finished",
        ));
    }
    if !log.has_credit() {
        match log.health() {
            Health::Good => {
                node.durability.wait(log, io.hub, io.id);
                return Ok(Flow::Park);
            }
            Health::Full(why) => {
                return Err(CmdError::owned(format!(
                    "MISCONF no room on disk for the log, the write was not executed: {why}; it \
                     goes on by itself when there is room"
                )));
            }
            Health::Broken(why) => return Err(broken(&why)),
        }
    }
    if io.session.multi.is_none() && io.session.long_body.is_none() && is_short(args) {
        return Ok(Flow::Next);
    }
    Ok(send_long_body(node, log, io, args))
}

/// Whether a request fits into one record for certain.
#[inline]
fn is_short(args: Args<'_>) -> bool {
    let framing = args.len() * ARG_FRAMING + REQUEST_FRAMING;
    args.bytes_at_most().is_some_and(|bytes| bytes + framing <= BODY_MAX)
}

fn is_write(row: u16) -> bool {
    TABLE[row as usize].is(flags::WRITE)
}

/// What a client is told when the log cannot be written any more.
pub(super) fn broken(why: &str) -> CmdError {
    CmdError::owned(format!(
        "MISCONF the log cannot be written, whether the last changes are on disk is not known: \
         {why}; mend the disk and restart the server"
    ))
}

/// The reply behind `mark` has seen what may never be released: it becomes an error, and those
/// before it wait for `after` as they did.
#[cold]
pub(super) fn take_back(node: &Node, io: &mut Io<'_, Node>, mark: Mark, after: u64) {
    if let Some(Health::Broken(why)) = node.durability.log().map(|log| log.health()) {
        io.local.after = after;
        io.out.rollback(mark);
        answer_error(node, io, &broken(&why));
    }
}

/// Tells a client of a broken log in the place of each reply that will never be released. A
/// connection to which messages are sent is closed: among them nobody could tell what failed.
pub(super) fn fail_held(node: &Node, session: &Session, out: &mut OutQueue, released: u64) -> bool {
    let health = node.durability.log().map(|log| log.health());
    let (Some(Health::Broken(why)), None, false) =
        (health, &session.subscriptions, session.monitor)
    else {
        return false;
    };
    let mut error = OutQueue::default();
    broken(&why).write_to(&mut Reply::new(&mut error, session.protocol));
    out.fail_held(released, error.buf_mut())
}

/// Puts the body of a request that is too long for one record into the log, as far as there is
/// credit.
fn send_long_body(node: &Node, log: &Log, io: &mut Io<'_, Node>, args: Args<'_>) -> Flow {
    let life = node.durability.log.life();
    // What was sent to another log is of no use in this one.
    let other = io.session.long_body.take_if(|long| long.life != life);
    settle_long_body(node, other.map(|long| long.number));
    if io.session.long_body.is_none() {
        if request_bytes(io.session, args) <= BODY_MAX {
            return Flow::Next;
        }
        let number = node.durability.next_body.fetch_add(1, Ordering::Relaxed);
        let body = body_of(node, io.session, args);
        node.durability.lock_bodies().insert(number, log.end());
        io.session.long_body = Some(Box::new(LongBody { number, body, written: 0, life }));
    }
    let Some(long) = &mut io.session.long_body else { return Flow::Next };
    while long.written < long.body.len() {
        let end = long.body.len().min(long.written + LOG_FRAGMENT_BYTES);
        let body = io.local.record.body();
        body.extend_from_slice(&long.number.to_le_bytes());
        body.extend_from_slice(&long.body[long.written..end]);
        let kind = RecordKind::Fragment;
        let clock_ms = node.now_ms_hint();
        let meta = RecordMeta { kind, shard: SEVERAL_SHARDS, clock_ms, seed: 0 };
        if !log.has_credit() || log.append(&io.local.record, &meta).is_err() {
            log.ask();
            node.durability.wait(log, io.hub, io.id);
            return Flow::Park;
        }
        long.written = end;
    }
    Flow::Next
}

/// Moves the end of the log by a record that means nothing.
pub(super) fn step(node: &Node, log: &Log) {
    // Without credit it does not move, and a later snapshot tries again.
    let _ = drop_body(node, log, NO_BODY);
}

/// No request has a body of this number.
const NO_BODY: u64 = u64::MAX;

fn drop_body(node: &Node, log: &Log, number: u64) -> Result<u64, NoCredit> {
    let mut record = crate::wal::RecordBuf::default();
    record.body().extend_from_slice(&number.to_le_bytes());
    let clock_ms = node.now_ms_hint();
    let kind = RecordKind::Dropped;
    let meta = RecordMeta { kind, shard: SEVERAL_SHARDS, clock_ms, seed: 0 };
    log.append(&record, &meta)
}

/// The request will not be executed: the body that is in the log for it will not be used.
pub(super) fn drop_long_body(node: &Node, session: &mut Session) {
    let Some(long) = session.long_body.take() else { return };
    // The log is not closed before the pin has gone.
    let _pin = reclaim::pin();
    let Some(log) = node.durability.log() else { return };
    // Without credit it is not said: the next start forgets the fragments at the log's end.
    let _ = drop_body(node, log, long.number);
    settle_long_body(node, Some(long.number));
}

/// The number of the body that the request about to run has in the log.
pub(super) fn take_long_body(session: &mut Session) -> Option<u64> {
    session.long_body.take().map(|long| long.number)
}

/// The record that uses body `number` has its place in the log, or there will be none.
pub(super) fn settle_long_body(node: &Node, number: Option<u64>) {
    if let Some(number) = number {
        node.durability.lock_bodies().remove(&number);
    }
}

/// Bytes that a record takes beside each argument at most, for its length.
const ARG_FRAMING: usize = 10;
/// Bytes that it takes beside its arguments at most.
const REQUEST_FRAMING: usize = 20;

/// An upper bound of the bytes of a request's record.
fn request_bytes(session: &Session, args: Args<'_>) -> usize {
    let of = |args: Args<'_>| {
        args.iter_from(0).map(|arg| arg.len() + ARG_FRAMING).sum::<usize>() + REQUEST_FRAMING
    };
    match &session.multi {
        Some(multi) => multi.queued.iter().map(|(_, args)| of(args.as_args())).sum(),
        None => of(args),
    }
}

fn body_of(node: &Node, session: &Session, args: Args<'_>) -> Vec<u8> {
    let mut body = Vec::with_capacity(request_bytes(session, args));
    match &session.multi {
        Some(multi) => {
            for (db, args) in queued_with_databases(node, session.db, multi) {
                put_command(&mut body, db, (0..args.len()).map(|at| args.get(at)));
            }
        }
        None => put_command(&mut body, session.db, (0..args.len()).map(|at| args.get(at))),
    }
    body
}

/// The queued commands, each with the database it will run in.
fn queued_with_databases<'m>(
    node: &'m Node,
    mut db: u8,
    multi: &'m Multi,
) -> impl Iterator<Item = (u8, Args<'m>)> {
    let databases = node.config.values().count("databases") as u8;
    multi.queued.iter().map(move |(row, args)| {
        let here = db;
        let args = args.as_args();
        if TABLE[*row as usize].name == "select" {
            let index = std::str::from_utf8(args.get(1)).ok().and_then(|text| text.parse().ok());
            db = index.filter(|index| *index < databases).unwrap_or(db);
        }
        (here, args)
    })
}

/// Notes that the reply being made has seen `lsn`: it leaves when that is released.
#[inline]
pub(super) fn note_seen(log: &Log, after: &mut u64, lsn: u64) {
    if lsn > *after && lsn > log.released() {
        *after = lsn;
    }
}

/// The newest position that a lock-free command can have seen.
pub(super) fn seen_by(node: &Node, command: &Command, args: Args<'_>) -> u64 {
    let store = &node.engine.store;
    if matches!(command.run, Run::Walk(_)) {
        return store.last_lsn_of_all();
    }
    let mut shards = ShardSet::new();
    shards_of(node, command, args, &mut shards);
    shards.iter().map(|shard| store.last_lsn(shard)).max().unwrap_or(0)
}
