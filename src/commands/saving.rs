//! Snapshots while the server goes on: shard by shard, without a fork.
//!
//! The snapshot thread takes the lock of one shard after the other, copies its entries into
//! memory, notes the position of the log (the shard's *cut*), and lets go; the copy is written
//! to disk with no lock held. So a snapshot costs the memory of one shard, and a writer waits at
//! most for the copy of one shard.
//!
//! **No record straddles the cuts** (rule E17). A request that touches several shards must be on
//! one side: if some of its shards are cut and others are not, whoever executes it cuts those
//! first, before the request gets its position. For a request of many shards the snapshot is given
//! up instead, and begun again.
//!
//! **Order** (rule E20). A snapshot gets its name only when the log is durable up to the largest
//! cut, and the log is given back only below what the older of the two kept snapshots needs.

use super::node::{Node, NodeHub};
use crate::limits::{
    SAVE_CUTS_BY_WRITER_MAX, SAVE_LOG_BYTES_MIN, SAVE_RETRIES, SHARDS, SNAPSHOTS_KEPT,
};
use crate::net::ConnId;
use crate::snapshot::{SnapshotError, SnapshotMeta, SnapshotReader, SnapshotWriter, names};
use crate::store::{Held, ShardSet, encode_entry};
use crate::sys::clock;
use crate::sys::disk::Disk;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering::Relaxed, Ordering::SeqCst};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// The name of a snapshot that is being written.
const TEMPORARY: &str = "snapshot.tmp";

/// Snapshots of a server.
pub struct Saving {
    /// The number of the snapshot whose cuts are being taken; 0: none.
    running: AtomicU64,
    /// For each shard the last snapshot that cut it. Written under the shard's lock.
    cut_by: [AtomicU64; SHARDS],
    /// Shards that writers have cut.
    pieces: Mutex<Vec<Piece>>,
    given_up: AtomicBool,
    wanted: Mutex<Wanted>,
    bell: Condvar,
    /// Numbers for INFO.
    pub report: SaveReport,
}

/// Numbers of snapshots, for INFO.
#[derive(Default)]
pub struct SaveReport {
    /// One is being written.
    pub in_progress: AtomicBool,
    /// When it began, s since 1970.
    pub began_s: AtomicU64,
    /// Shards of it that are written.
    pub shards_done: AtomicU64,
    /// Bytes of it that are written.
    pub bytes_done: AtomicU64,
    /// When the last one was finished, s since 1970.
    pub last_s: AtomicU64,
    /// Seconds the last one took; -1: there was none.
    pub last_took_s: AtomicI64,
    /// The last one failed.
    pub last_failed: AtomicBool,
    /// Snapshots written.
    pub saves: AtomicU64,
    /// Changes counted when the last one began.
    pub changes_at_last: AtomicU64,
    /// Bytes of the largest copy of a shard.
    pub piece_bytes_max: AtomicU64,
}

#[derive(Default)]
struct Wanted {
    /// Snapshots asked for, and finished (whatever their outcome).
    asked: u64,
    finished: u64,
    /// Why the last one failed.
    error: Option<String>,
    waiting: Vec<ConnId>,
    stopping: bool,
}

/// A shard as it was at its cut.
struct Piece {
    shard: u16,
    cut: u64,
    clock_ms: u64,
    /// Entries, each behind its length (8 bytes, little-endian).
    bytes: Vec<u8>,
}

impl Default for Saving {
    fn default() -> Saving {
        let report = SaveReport::default();
        report.last_s.store(clock::wall_ms() / 1000, Relaxed);
        report.last_took_s.store(-1, Relaxed);
        Saving {
            running: AtomicU64::new(0),
            cut_by: std::array::from_fn(|_| AtomicU64::new(0)),
            pieces: Mutex::default(),
            given_up: AtomicBool::new(false),
            wanted: Mutex::default(),
            bell: Condvar::new(),
            report,
        }
    }
}

impl Saving {
    /// Brings the shards held to one side of a snapshot that is being taken. To be called by a
    /// writer of several shards, before it reserves a place in the log.
    pub fn align(&self, node: &Node, held: &Held<'_>, shards: &ShardSet) {
        // Relaxed: a shard of ours that is cut was cut under its lock, after this was set.
        let running = self.running.load(Relaxed);
        if running == 0 {
            return;
        }
        let is_cut = |shard: &u16| self.cut_by[*shard as usize].load(Relaxed) == running;
        let (cut, uncut): (Vec<u16>, Vec<u16>) = shards.iter().partition(is_cut);
        if cut.is_empty() || uncut.is_empty() || self.given_up.load(Relaxed) {
            return;
        }
        if uncut.len() > SAVE_CUTS_BY_WRITER_MAX {
            self.given_up.store(true, SeqCst);
            return;
        }
        for shard in uncut {
            let piece = self.cut(node, held, shard, running);
            self.pieces.lock().unwrap_or_else(PoisonError::into_inner).push(piece);
        }
    }

    /// Copies a shard held.
    fn cut(&self, node: &Node, held: &Held<'_>, shard: u16, running: u64) -> Piece {
        let mut bytes = Vec::new();
        held.for_each(shard, &mut |db, entry, object| {
            let start = bytes.len();
            bytes.extend_from_slice(&[0; 8]);
            encode_entry(db, entry, object, &mut bytes);
            let len = (bytes.len() - start - 8) as u64;
            bytes[start..start + 8].copy_from_slice(&len.to_le_bytes());
        });
        self.cut_by[shard as usize].store(running, Relaxed);
        self.report.piece_bytes_max.fetch_max(bytes.len() as u64, Relaxed);
        Piece { shard, cut: node.durability.position(), clock_ms: held.clock(), bytes }
    }

    /// Asks for a snapshot. The number to wait for; `None` if one is under way and `queue` is
    /// false.
    pub fn ask(&self, queue: bool) -> Option<u64> {
        let mut wanted = self.lock();
        if wanted.asked > wanted.finished && !queue {
            return None;
        }
        // One that has begun may have missed what the caller knows of.
        wanted.asked = wanted.asked.max(wanted.finished) + 1;
        self.bell.notify_all();
        Some(wanted.asked)
    }

    /// Whether the snapshot with that number is finished; if not, `id` is resumed when it is.
    pub fn outcome(&self, number: u64, id: ConnId) -> Option<Result<(), String>> {
        let mut wanted = self.lock();
        if wanted.finished < number {
            wanted.waiting.push(id);
            return None;
        }
        Some(wanted.error.clone().map_or(Ok(()), Err))
    }

    /// Ends the thread after the snapshot that it is writing.
    pub fn stop(&self) {
        self.lock().stopping = true;
        self.given_up.store(true, SeqCst);
        self.bell.notify_all();
    }

    fn lock(&self) -> MutexGuard<'_, Wanted> {
        self.wanted.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The body of the snapshot thread.
pub fn run(hub: &NodeHub, disk: &Arc<dyn Disk>) {
    let node = &hub.service;
    let saving = &node.saving;
    loop {
        let target = {
            let mut wanted = saving.lock();
            if wanted.stopping {
                return;
            }
            if wanted.asked <= wanted.finished {
                let second = Duration::from_millis(500);
                let waited = saving.bell.wait_timeout(wanted, second);
                wanted = waited.unwrap_or_else(PoisonError::into_inner).0;
            }
            if wanted.asked <= wanted.finished && is_due(node) {
                wanted.asked = wanted.finished + 1;
            }
            wanted.asked
        };
        if target > saving.lock().finished {
            save_now(hub, disk, target);
        }
    }
}

/// Writes a last snapshot when all clients are gone: if it was asked for, or if there are rules
/// for snapshots and no log that holds what came after the last one.
pub fn run_last(hub: &NodeHub, disk: &Arc<dyn Disk>) {
    let node = &hub.service;
    let asked = *node.shutdown.save.lock().unwrap_or_else(PoisonError::into_inner);
    let by_rule = node.durability.log().is_none() && !node.config.values().save_rules().is_empty();
    if asked.unwrap_or(by_rule) {
        let target = {
            let mut wanted = node.saving.lock();
            wanted.stopping = false;
            wanted.finished + 1
        };
        save_now(hub, disk, target);
    }
}

/// Writes one snapshot and tells those who wait for it.
fn save_now(hub: &NodeHub, disk: &Arc<dyn Disk>, target: u64) {
    let node = &hub.service;
    let (saving, report) = (&node.saving, &node.saving.report);
    let began_ns = clock::monotonic_ns();
    let changes = node.total(|stats| &stats.tally.dirty);
    report.began_s.store(clock::wall_ms() / 1000, Relaxed);
    report.in_progress.store(true, Relaxed);
    let outcome = (0..SAVE_RETRIES).find_map(|_| {
        saving.given_up.store(saving.lock().stopping, SeqCst);
        write_one(node, disk).transpose()
    });
    report.in_progress.store(false, Relaxed);
    let error = match outcome {
        Some(Ok(())) => None,
        Some(Err(error)) => Some(error.to_string()),
        None => Some("it was given up for requests that change all shards".to_string()),
    };
    let took_s = (clock::monotonic_ns() - began_ns) / 1_000_000_000;
    report.last_failed.store(error.is_some(), Relaxed);
    report.last_took_s.store(took_s as i64, Relaxed);
    report.last_s.store(clock::wall_ms() / 1000, Relaxed);
    match &error {
        None => {
            report.changes_at_last.store(changes, Relaxed);
            report.saves.fetch_add(1, Relaxed);
            let bytes = report.bytes_done.load(Relaxed);
            tracing::info!("snapshot: {bytes} bytes in {took_s} s");
        }
        Some(error) => tracing::warn!(error, "there is no new snapshot"),
    }
    let mut wanted = saving.lock();
    wanted.finished = target;
    wanted.error = error;
    let waiting = std::mem::take(&mut wanted.waiting);
    drop(wanted);
    waiting.into_iter().for_each(|id| hub.resume(id));
}

/// Whether a rule, or the length of the log, asks for a snapshot.
fn is_due(node: &Node) -> bool {
    let report = &node.saving.report;
    let changes = node.total(|stats| &stats.tally.dirty);
    let changed = changes.saturating_sub(report.changes_at_last.load(Relaxed));
    if changed == 0 || node.is_loading() {
        return false;
    }
    let since_s = (clock::wall_ms() / 1000).saturating_sub(report.last_s.load(Relaxed));
    let values = node.config.values();
    let by_rule = values
        .save_rules()
        .iter()
        .any(|rule| since_s >= rule.seconds as u64 && changed >= rule.changes as u64);
    let log_bytes = node.durability.log().map_or(0, |log| log.file_bytes());
    let half = node.engine.store.memory_bytes() / 2;
    let by_log = log_bytes > SAVE_LOG_BYTES_MIN.max(half) && since_s >= 5;
    by_rule || by_log && !values.save_rules().is_empty()
}

/// Writes a snapshot; `None` if it was given up.
fn write_one(node: &Node, disk: &Arc<dyn Disk>) -> Result<Option<()>, SnapshotError> {
    let saving = &node.saving;
    let log = node.durability.log();
    let log_from = node.durability.position().min(node.durability.bodies_from());
    let meta = SnapshotMeta {
        database_id: log.map_or(node.identity.started_ms, |log| log.id()),
        snapshot_id: super::node::random_seed(),
        generation: 0,
        compress: node.config.values().flag("rdbcompression"),
    };
    let mut writer = SnapshotWriter::create(Arc::clone(disk), TEMPORARY, meta)?;
    let running = meta.snapshot_id | 1;
    let mut cuts = Box::new([0; SHARDS]);
    let mut clock_ms = 0;
    saving.lock_pieces().clear();
    saving.report.shards_done.store(0, Relaxed);
    saving.running.store(running, SeqCst);
    let mut write = |piece: Piece| -> Result<(), SnapshotError> {
        cuts[piece.shard as usize] = piece.cut;
        clock_ms = clock_ms.max(piece.clock_ms);
        put(&mut writer, &piece)?;
        saving.report.shards_done.fetch_add(1, Relaxed);
        saving.report.bytes_done.store(writer.bytes_written(), Relaxed);
        Ok(())
    };
    let mut outcome = Ok(());
    for shard in 0..SHARDS as u16 {
        let piece = {
            let held = node.engine.store.lock_one(shard);
            let is_cut = saving.cut_by[shard as usize].load(Relaxed) == running;
            (!is_cut).then(|| saving.cut(node, &held, shard, running))
        };
        let others = std::mem::take(&mut *saving.lock_pieces());
        outcome = piece.into_iter().chain(others).try_for_each(&mut write);
        if outcome.is_err() || saving.given_up.load(SeqCst) {
            break;
        }
    }
    saving.running.store(0, SeqCst);
    let others = std::mem::take(&mut *saving.lock_pieces());
    let outcome = outcome.and_then(|()| others.into_iter().try_for_each(write));
    outcome?;
    if saving.given_up.load(SeqCst) {
        return Ok(None);
    }
    let finished = writer.finish(&cuts, clock_ms, log_from)?;
    saving.report.bytes_done.store(finished.bytes, Relaxed);
    if let Some(log) = log {
        log.settle(finished.largest_cut)?;
    }
    finished.publish()?;
    let needed = drop_old(&**disk)?;
    if let Some(log) = log {
        log.recycle_below(needed);
    }
    Ok(Some(()))
}

impl Saving {
    fn lock_pieces(&self) -> MutexGuard<'_, Vec<Piece>> {
        self.pieces.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Adds the entries of a shard.
fn put(writer: &mut SnapshotWriter, piece: &Piece) -> Result<(), SnapshotError> {
    let mut rest = &piece.bytes[..];
    while let Some((len, behind)) = rest.split_first_chunk() {
        let (entry, behind) = behind.split_at(u64::from_le_bytes(*len) as usize);
        writer.entry(piece.shard, entry)?;
        rest = behind;
    }
    Ok(())
}

/// Removes snapshots that are not kept; the log is needed from the position returned on.
fn drop_old(disk: &dyn Disk) -> Result<u64, SnapshotError> {
    let mut needed = u64::MAX;
    let listed = names::list(disk)?;
    // With a single snapshot the log before it stays: it is the other way to the same data.
    if listed.len() < SNAPSHOTS_KEPT {
        return Ok(0);
    }
    for (rank, snapshot) in listed.into_iter().enumerate() {
        if rank >= SNAPSHOTS_KEPT {
            disk.remove(&snapshot.name)?;
            continue;
        }
        let reader = SnapshotReader::open(disk, &snapshot.name)?;
        needed = needed.min(reader.info().log_from);
    }
    disk.sync()?;
    Ok(needed)
}
