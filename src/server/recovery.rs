//! From the data directory back to the keyspace, and on to a log that takes new writes.
//!
//! ```text
//!   newest whole snapshot --load--> shards, each up to its cut
//!   log from there        --read, check--> chunks --> replay threads (each applies its shards)
//!   end of the log        --> a fresh file of the next generation
//! ```
//!
//! Order of failures: a snapshot that is damaged is passed over with a warning, and the one
//! before it is taken; a log whose end is torn is cut, with a warning; a log that is damaged below
//! what was acknowledged, or that begins behind what is needed, refuses the start.

use super::error::StartError;
use super::progress;
use crate::commands::replay::{Cuts, ReplayError, Replayer};
use crate::commands::{Node, NodeHub, random_seed};
use crate::config::Config;
use crate::limits::{
    LOG_BLOCK_BYTES, LOG_COMMIT_HEADER, LOG_RING_BYTES, REPLAY_CHUNKS_AHEAD, SHARDS,
};
use crate::snapshot::{SnapshotReader, names};
use crate::sys::clock;
use crate::sys::disk::{Directory, Disk};
use crate::wal;
use crate::wal::read::Chunk;
use crate::wal::{Log, LogOptions, LogReader, LogStart, SyncMode, Tail};
use std::ffi::OsStr;
use std::fs::{File, TryLockError};
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;
use std::sync::atomic::Ordering;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Barrier, Mutex, PoisonError, Weak};

/// The data directory of a running server, which no other server may use.
pub(super) struct DataDirectory {
    disk: Arc<dyn Disk>,
    path: PathBuf,
    /// Locked for as long as it is open.
    _lock: File,
}

/// What was found on disk.
struct Found {
    cuts: Box<Cuts>,
    /// The log is needed from here on.
    from: u64,
    /// The next position must not lie below this.
    at_least: u64,
    database_id: Option<u64>,
    clock_ms: u64,
}

impl DataDirectory {
    /// Opens the directory of `config` and locks it.
    pub(super) fn open(config: &Config) -> Result<DataDirectory, StartError> {
        let path = PathBuf::from(OsStr::from_bytes(config.values().text("dir")));
        let disk = Directory::open(&path)?;
        let lock_path = path.join("dse.lock");
        let refused = |error| StartError::DataDirectory(path.clone(), error);
        let mut options = File::options();
        let lock = options.create(true).truncate(false).write(true).open(&lock_path);
        let lock = lock.map_err(refused)?;
        match lock.try_lock() {
            Ok(()) => Ok(DataDirectory { disk: Arc::new(disk), path, _lock: lock }),
            Err(TryLockError::WouldBlock) => Err(StartError::DirectoryInUse(path)),
            Err(TryLockError::Error(error)) => Err(StartError::DataDirectory(path, error)),
        }
    }

    /// The directory as the log and snapshots see it.
    pub(super) fn disk(&self) -> &Arc<dyn Disk> {
        &self.disk
    }

    /// Brings the keyspace back and starts the log.
    pub(super) fn recover(&self, hub: &Arc<NodeHub>) -> Result<(), StartError> {
        let node = &hub.service;
        let began_ns = clock::monotonic_ns();
        let threads = node.workers.len();
        let found = load_snapshot(node, &*self.disk, threads)?;
        let segment = self.segment_bytes(&node.config)?;
        let tail = replay(node, &*self.disk, segment, &found, threads)
            .map_err(|error| StartError::Recovery(self.path.clone(), error))?;
        self.report(node, &tail, began_ns);
        node.engine.clock.raise_to(tail.clock_ms.max(found.clock_ms));
        // The cut of a shard that was copied while the log was quiet lies behind the header of a
        // commit that was never made: that commit comes first, for a log has no holes.
        let at_least = found.at_least.saturating_sub(LOG_COMMIT_HEADER);
        let start = LogStart {
            start: tail.end.max(at_least).next_multiple_of(LOG_BLOCK_BYTES),
            generation: tail.generation + 1,
            log_id: tail.log_id.or(found.database_id).unwrap_or_else(random_seed),
        };
        node.durability.set_base(start.start);
        if !node.config.values().flag("appendonly") {
            return Ok(());
        }
        let options = LogOptions {
            mode: sync_mode(&node.config),
            segment_bytes: segment,
            ring_bytes: LOG_RING_BYTES,
        };
        let weak: Weak<NodeHub> = Arc::downgrade(hub);
        let progress = Box::new(move || {
            if let Some(hub) = weak.upgrade() {
                hub.service.durability.progressed(&hub);
            }
        });
        let log = Log::open(Arc::clone(&self.disk), options, start, progress)?;
        if !self.disk.is_direct() {
            let path = self.path.display();
            tracing::warn!(
                "the file system of {path} refuses O_DIRECT: the log goes through the \
                page cache, which costs speed but no safety"
            );
        }
        node.durability.start(log);
        Ok(())
    }

    /// Bytes of a file of the log: as configured, unless there are files of another size.
    fn segment_bytes(&self, config: &Config) -> Result<u64, StartError> {
        let wanted = config.values().bytes("wal-segment-bytes").next_power_of_two();
        let segment = wal::names::segment_bytes(&wal::names::list(&*self.disk)?, wanted);
        if segment != wanted {
            tracing::warn!(
                "wal-segment-bytes stays {segment}, the size of the files that are there; \
                {wanted} applies to a new directory"
            );
        }
        Ok(segment)
    }

    fn report(&self, node: &Node, tail: &Tail, began_ns: u64) {
        let ms = (clock::monotonic_ns() - began_ns) / 1_000_000;
        node.durability.recovery_ms.store(ms, Ordering::Relaxed);
        if let Some(torn) = &tail.torn {
            tracing::warn!(
                "the end of the log is torn: {} bytes at offset {} of {} were never acknowledged \
                 and are cut off",
                torn.bytes,
                torn.offset,
                torn.file
            );
        }
        let keys: u64 =
            (0..crate::limits::DATABASES as u8).map(|db| node.engine.store.len(db)).sum();
        tracing::info!("data: {keys} keys after {} records of the log, in {ms} ms", tail.records);
    }
}

/// The configured mode.
pub(super) fn sync_mode(config: &Config) -> SyncMode {
    match config.values().choice("appendfsync") {
        "always" => SyncMode::Always,
        "everysec" => SyncMode::EverySecond,
        _ => SyncMode::Never,
    }
}

/// Loads the newest snapshot that is whole.
fn load_snapshot(node: &Node, disk: &dyn Disk, threads: usize) -> Result<Found, StartError> {
    let none = || Found {
        cuts: Box::new([0; SHARDS]),
        from: 0,
        at_least: 0,
        database_id: None,
        clock_ms: 0,
    };
    for listed in names::list(disk)? {
        let loaded = SnapshotReader::open(disk, &listed.name).and_then(|reader| {
            let log_bytes = progress::log_bytes(disk, reader.info().log_from)?;
            node.loading.expect(reader.info().file_bytes + log_bytes);
            reader.load(&node.engine.store, threads, node.loading.loaded())?;
            Ok(reader)
        });
        match loaded {
            Ok(reader) => {
                let info = reader.info();
                tracing::info!("snapshot: {} keys from {}", info.keys, info.file);
                return Ok(Found {
                    cuts: info.cuts.clone(),
                    from: info.log_from,
                    at_least: info.largest_cut,
                    database_id: Some(info.database_id),
                    clock_ms: info.clock_ms,
                });
            }
            Err(error) => tracing::warn!("{error}; the one before it is tried"),
        }
    }
    Ok(none())
}

/// What can go wrong while the log is replayed.
#[derive(Debug)]
pub enum RecoveryError {
    /// The log cannot be read.
    Log(crate::wal::ReadError),
    /// A record makes no sense.
    Record(ReplayError),
    /// A thread ended too early.
    Thread,
}

impl std::fmt::Display for RecoveryError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            RecoveryError::Log(error) => error.fmt(f),
            RecoveryError::Record(error) => error.fmt(f),
            RecoveryError::Thread => f.write_str("a thread that replayed the log failed"),
        }
    }
}

/// Reads the log and applies it, by `threads` threads beside the one that reads.
fn replay(
    node: &Node,
    disk: &dyn Disk,
    segment: u64,
    found: &Found,
    threads: usize,
) -> Result<Tail, RecoveryError> {
    let config = Config::permissive();
    let mut reader = LogReader::open(disk, segment, found.from).map_err(RecoveryError::Log)?;
    node.loading.expect_rest(
        progress::log_bytes(disk, found.from).map_err(|error| RecoveryError::Log(error.into()))?,
    );
    let failed: Mutex<Option<ReplayError>> = Mutex::new(None);
    let meeting = Barrier::new(threads);
    let outcome = std::thread::scope(|scope| {
        let mut lines: Vec<SyncSender<Arc<Chunk>>> = Vec::new();
        for index in 0..threads {
            let (send, receive) = sync_channel(REPLAY_CHUNKS_AHEAD);
            lines.push(send);
            let part = Part { index, threads, meeting: &meeting, failed: &failed };
            let replayer = Replayer::new(node, &found.cuts, &config);
            let name = format!("replay-{index}");
            let body = move || part.run(replayer, &receive);
            let spawned = std::thread::Builder::new().name(name).spawn_scoped(scope, body);
            spawned.map_err(|error| RecoveryError::Log(error.into()))?;
        }
        while let Some(chunk) = reader.next_chunk().map_err(RecoveryError::Log)? {
            node.loading.loaded().fetch_add(chunk.len() as u64, Ordering::Relaxed);
            let chunk = Arc::new(chunk);
            for line in &lines {
                line.send(Arc::clone(&chunk)).map_err(|_| RecoveryError::Thread)?;
            }
        }
        Ok(())
    });
    if let Some(error) = failed.into_inner().unwrap_or_else(PoisonError::into_inner) {
        return Err(RecoveryError::Record(error));
    }
    outcome.map(|()| reader.tail().clone())
}

/// One thread of a replay.
struct Part<'a> {
    index: usize,
    threads: usize,
    meeting: &'a Barrier,
    failed: &'a Mutex<Option<ReplayError>>,
}

impl Part<'_> {
    fn run(&self, mut replayer: Replayer<'_>, chunks: &Receiver<Arc<Chunk>>) {
        while let Ok(chunk) = chunks.recv() {
            for record in chunk.records() {
                let is_common = Replayer::is_common(&record);
                if is_common {
                    self.meeting.wait(); // All before it are applied.
                }
                let owner = if is_common { 0 } else { record.meta.shard as usize };
                if owner % self.threads == self.index
                    && let Err(error) = replayer.apply(&record)
                {
                    let mut failed = self.failed.lock().unwrap_or_else(PoisonError::into_inner);
                    failed.get_or_insert(error);
                }
                if is_common {
                    self.meeting.wait(); // None behind it is applied before.
                }
            }
        }
    }
}

/// True when the server keeps anything on disk: a log, or snapshots by rule.
pub(super) fn is_wanted(config: &Config) -> bool {
    let values = config.values();
    values.flag("appendonly") || !values.save_rules().is_empty()
}
