//! Snapshots while the server goes on: shard by shard, without a fork.
//!
//! The snapshot thread takes the lock of one shard after the other, copies its small entries into
//! memory and takes references to its large ones, notes the position of the log (the shard's
//! *cut*), and lets go; all is written to disk with no lock held. So a snapshot costs the memory
//! of the small entries of one shard and of what writers change of large values meanwhile, and a
//! writer waits at most for the copy of one shard.
//!
//! | file | what it holds |
//! |---|---|
//! | `saving` | when a snapshot is due, who waits for it |
//! | `cut` | shards as they are at their cuts; writers of several shards |
//! | `write` | one snapshot, from its first cut to its name |
//! | `report` | how far it is, and how fast it may be written |
//!
//! **No record straddles the cuts** (rule E17). A request that touches several shards must be on
//! one side: if some of its shards are cut and others are not, whoever executes it cuts those
//! first, before the request gets its position. For a request of many shards the snapshot is given
//! up instead, and begun again.
//!
//! **Order** (rule E20). A snapshot gets its name only when the log is durable up to the largest
//! cut, and the log is given back only below what the older of the two kept snapshots needs.

mod cut;
mod report;
mod write;

pub use report::{Progress, SaveReport};

use super::node::{Node, NodeHub};
use crate::limits::{SAVE_LOG_BYTES_MIN, SAVE_RETRIES, SAVE_RETRY_S, SHARDS};
use crate::net::ConnId;
use crate::sys::clock;
use crate::sys::disk::Disk;
use cut::Piece;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed, Ordering::SeqCst};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// Snapshots of a server.
pub struct Saving {
    /// The number of the snapshot whose cuts are being taken; 0: none.
    running: AtomicU64,
    /// For each shard the last snapshot that cut it. Written under the shard's lock.
    cut_by: [AtomicU64; SHARDS],
    /// Shards that writers have cut.
    pieces: Mutex<Vec<Piece>>,
    /// Bytes of copies above which writers of several shards wait.
    copies_max: AtomicU64,
    /// Connections that wait for copies to be written.
    held_back: Mutex<Vec<ConnId>>,
    given_up: AtomicBool,
    wanted: Mutex<Wanted>,
    bell: Condvar,
    /// Held while a snapshot is written, and while the log is switched on or off.
    alone: Mutex<()>,
    /// Numbers for INFO.
    pub report: SaveReport,
}

#[derive(Default)]
struct Wanted {
    /// Snapshots asked for, and finished (whatever their outcome).
    asked: u64,
    finished: u64,
    /// Somebody waits for all up to this one, so they are written as fast as the disk takes them.
    urgent: u64,
    /// Why the last one failed.
    error: Option<String>,
    waiting: Vec<ConnId>,
    stopping: bool,
}

impl Wanted {
    fn is_urgent(&self) -> bool {
        self.stopping || self.urgent > self.finished
    }
}

impl Default for Saving {
    fn default() -> Saving {
        Saving {
            running: AtomicU64::new(0),
            cut_by: std::array::from_fn(|_| AtomicU64::new(0)),
            pieces: Mutex::default(),
            copies_max: AtomicU64::new(u64::MAX),
            held_back: Mutex::default(),
            given_up: AtomicBool::new(false),
            wanted: Mutex::default(),
            bell: Condvar::new(),
            alone: Mutex::default(),
            report: SaveReport::default(),
        }
    }
}

impl Saving {
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

    /// Somebody waits for the snapshot with that number: no rate holds up those until then.
    pub fn hurry(&self, number: u64) {
        let mut wanted = self.lock();
        wanted.urgent = wanted.urgent.max(number);
        self.bell.notify_all();
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

    /// Waits until the snapshot with that number is finished.
    pub fn wait(&self, number: u64) -> Result<(), String> {
        let mut wanted = self.lock();
        while wanted.finished < number {
            if wanted.stopping {
                return Err("the server is ending".to_string());
            }
            wanted = self.bell.wait(wanted).unwrap_or_else(PoisonError::into_inner);
        }
        wanted.error.clone().map_or(Ok(()), Err)
    }

    /// True at the end of the server.
    pub fn is_stopping(&self) -> bool {
        self.lock().stopping
    }

    /// Keeps snapshots away: waits for the one that is being written, which hurries, and none
    /// begins until the guard is dropped.
    pub fn keep_away(&self) -> MutexGuard<'_, ()> {
        let asked = self.lock().asked;
        self.hurry(asked);
        self.lock_alone()
    }

    fn lock_alone(&self) -> MutexGuard<'_, ()> {
        self.alone.lock().unwrap_or_else(PoisonError::into_inner)
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

/// Where a snapshot is written to, or why there is no place for it.
pub type Place<'a> = &'a dyn Fn() -> Result<Arc<dyn Disk>, String>;

/// The body of the snapshot thread.
pub fn run(hub: &NodeHub, place: Place<'_>) {
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
            save_now(hub, place, target);
        }
    }
}

/// Writes a last snapshot when all clients are gone: if it was asked for, or if there are rules
/// for snapshots and no log that holds what came after the last one.
pub fn run_last(hub: &NodeHub, place: Place<'_>) {
    let node = &hub.service;
    let asked = *node.shutdown.save.lock().unwrap_or_else(PoisonError::into_inner);
    let by_rule = node.durability.log().is_none() && !node.config.values().save_rules().is_empty();
    // A log that was just switched on is of no use without what lies in front of it.
    if asked.unwrap_or(by_rule || node.switching.is_opening()) {
        let target = {
            let mut wanted = node.saving.lock();
            wanted.stopping = false;
            wanted.urgent = wanted.finished + 1;
            wanted.urgent
        };
        save_now(hub, place, target);
    }
}

/// Writes one snapshot and tells those who wait for it.
fn save_now(hub: &NodeHub, place: Place<'_>, target: u64) {
    let node = &hub.service;
    let (saving, report) = (&node.saving, &node.saving.report);
    let alone = saving.lock_alone();
    let began_ns = clock::monotonic_ns();
    let changes = node.total(|stats| &stats.tally.dirty);
    tracing::info!("snapshot: begins, {} keys", node.engine.store.len_of_all());
    let error = place().and_then(|disk| write_some(hub, &disk)).err();
    drop(alone);
    report.in_progress.store(false, Relaxed);
    let took = (clock::monotonic_ns() - began_ns) as f64 / 1e9;
    report.last_failed.store(error.is_some(), Relaxed);
    report.last_took_s.store(took as i64, Relaxed);
    report.last_s.store(clock::wall_ms() / 1000, Relaxed);
    match &error {
        None => {
            report.changes_at_last.store(changes, Relaxed);
            report.saves.fetch_add(1, Relaxed);
            let (keys, bytes) = (report.keys_done.load(Relaxed), report.bytes_done.load(Relaxed));
            tracing::info!("snapshot: {keys} keys in {bytes} bytes, written in {took:.1} s");
        }
        Some(error) => tracing::warn!(error, "there is no new snapshot"),
    }
    let mut wanted = saving.lock();
    wanted.finished = target;
    wanted.error = error;
    let waiting = std::mem::take(&mut wanted.waiting);
    drop(wanted);
    saving.bell.notify_all();
    waiting.into_iter().for_each(|id| hub.resume(id));
}

/// Writes one snapshot, again if it is given up for requests that change all shards.
fn write_some(hub: &NodeHub, disk: &Arc<dyn Disk>) -> Result<(), String> {
    let saving = &hub.service.saving;
    for _ in 0..SAVE_RETRIES {
        saving.given_up.store(saving.lock().stopping, SeqCst);
        saving.report.begin(&hub.service);
        match write::write_one(hub, disk) {
            Ok(Some(())) => return Ok(()),
            Ok(None) => {}
            Err(error) => return Err(error.to_string()),
        }
    }
    Err("it was given up for requests that change all shards".to_string())
}

/// Whether a rule, or the length of the log, asks for a snapshot.
fn is_due(node: &Node) -> bool {
    let report = &node.saving.report;
    let since_s = (clock::wall_ms() / 1000).saturating_sub(report.last_s.load(Relaxed));
    let is_too_long = node.durability.bound(node.config.values().bytes("wal-max-bytes"));
    // It takes two to give back what lies in front of the first, whether anything changed or not.
    if is_too_long && (!report.last_failed.load(Relaxed) || since_s >= SAVE_RETRY_S) {
        return !node.is_loading();
    }
    let changes = node.total(|stats| &stats.tally.dirty);
    let changed = changes.saturating_sub(report.changes_at_last.load(Relaxed));
    if changed == 0 || node.is_loading() {
        return false;
    }
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
