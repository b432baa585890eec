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
//! what was acknowledged (by its own word, or by that of the snapshot), that begins behind what is
//! needed, or that belongs to other data, refuses the start.
//!
//! Nothing in the directory is changed before all of it is read.

use super::error::StartError;
use super::progress;
use crate::commands::replay::{Cuts, ReplayError, Replayer, Share};
use crate::commands::{Node, NodeHub, random_seed};
use crate::config::Config;
use crate::limits::{LOG_BLOCK_BYTES, LOG_COMMIT_HEADER, REPLAY_CHUNKS_AHEAD, SHARDS};
use crate::snapshot::names::{self, Listed};
use crate::snapshot::{SnapshotInfo, SnapshotReader};
use crate::sys::clock;
use crate::sys::disk::{Directory, Disk};
use crate::wal;
use crate::wal::read::Chunk;
use crate::wal::{Base, Log, LogOptions, LogReader, LogStart, SyncMode, Tail};
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
    /// The snapshot that was loaded.
    base: Option<Base>,
    clock_ms: u64,
    /// Newer snapshots, which are damaged.
    damaged: Vec<Listed>,
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

    /// As [`DataDirectory::open`] if there is data in the directory, for a server that is to keep
    /// nothing. `None` also if another server uses it, or if it cannot be read: such a server
    /// does not need it.
    pub(super) fn open_if_filled(config: &Config) -> Result<Option<DataDirectory>, StartError> {
        let path = PathBuf::from(OsStr::from_bytes(config.values().text("dir")));
        if !path.exists() {
            return Ok(None);
        }
        let file = match Directory::open(&path).and_then(|disk| any_data(&disk)) {
            Ok(Some(file)) => file,
            Ok(None) => return Ok(None),
            Err(error) => {
                tracing::warn!(%error, "nothing is loaded from {}", path.display());
                return Ok(None);
            }
        };
        match DataDirectory::open(config) {
            Err(error @ StartError::DirectoryInUse(_)) => {
                tracing::warn!("{file} is not loaded: {error}");
                Ok(None)
            }
            opened => opened.map(Some),
        }
    }

    /// Where it is.
    pub(super) fn path(&self) -> &std::path::Path {
        &self.path
    }

    /// The directory as the log and snapshots see it.
    pub(super) fn disk(&self) -> &Arc<dyn Disk> {
        &self.disk
    }

    /// A file of a log or a snapshot in the directory, if there is one.
    pub(super) fn any_data(&self) -> std::io::Result<Option<String>> {
        any_data(&*self.disk)
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
        let database_id = tail.log_id.unwrap_or_else(random_seed);
        node.durability.set_database_id(database_id);
        // The cut of a shard that was copied while the log was quiet lies behind the header of a
        // commit that was never made: that commit comes first, for a log has no holes.
        let base = found.base.as_ref();
        let at_least = base.map_or(0, |base| base.until).saturating_sub(LOG_COMMIT_HEADER);
        // What was changed without a log is in that snapshot only.
        let is_anew = base.is_some_and(|base| !base.is_logged && tail.end <= base.from);
        let start = LogStart {
            start: tail.end.max(at_least).next_multiple_of(LOG_BLOCK_BYTES),
            generation: tail.generation + 1,
            log_id: database_id,
        };
        if !node.config.values().flag("appendonly") {
            // What lies behind the end that was read stays there, and must never be taken for
            // what follows upon a snapshot of this life.
            let files = wal::names::list(&*self.disk)?;
            let behind = files.iter().map(|(name, bytes)| name.start + bytes).max().unwrap_or(0);
            let base = start.start.max(behind).next_multiple_of(LOG_BLOCK_BYTES);
            node.durability.set_base(base);
            return Ok(());
        }
        node.durability.set_base(start.start);
        let (disk, options) = (Arc::clone(&self.disk), self.options(node)?);
        let log = match is_anew {
            true => Log::open_anew(None, disk, options, start, on_progress(hub))?,
            false => Log::open(disk, options, start, on_progress(hub))?,
        };
        self.warn_of_page_cache();
        node.durability.start(log);
        Ok(())
    }

    /// Begins a log behind all that is in the directory; what was changed since is not in it.
    pub(super) fn open_anew(&self, hub: &Arc<NodeHub>) -> std::io::Result<Arc<Log>> {
        let node = &hub.service;
        let files = wal::names::list(&*self.disk)?;
        let newest = files.iter().map(|(name, _)| name.generation).max().unwrap_or(0);
        let start = LogStart {
            // A block is left out: whoever comes from in front of it finds an end there.
            start: node.durability.position().next_multiple_of(LOG_BLOCK_BYTES) + LOG_BLOCK_BYTES,
            generation: newest + 1,
            log_id: node.durability.database_id(),
        };
        let closed = node.durability.last_log().map(|log| &**log);
        let disk = Arc::clone(&self.disk);
        let log = Log::open_anew(closed, disk, self.options(node)?, start, on_progress(hub))?;
        self.warn_of_page_cache();
        Ok(log)
    }

    fn options(&self, node: &Node) -> std::io::Result<LogOptions> {
        Ok(LogOptions {
            mode: sync_mode(&node.config),
            segment_bytes: self.segment_bytes(&node.config)?,
            ring_bytes: wal::log::ring_bytes(node.workers.len()),
        })
    }

    fn warn_of_page_cache(&self) {
        if !self.disk.is_direct() {
            let path = self.path.display();
            tracing::warn!(
                "the file system of {path} refuses O_DIRECT: the log goes through the \
                page cache, which costs speed but no safety"
            );
        }
    }

    /// Bytes of a file of the log: as configured, unless there are files of another size.
    pub(super) fn segment_bytes(&self, config: &Config) -> std::io::Result<u64> {
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
        if let Some(at) = tail.anew {
            tracing::warn!(
                "the log was switched on at position {at}, and the snapshot for that was not \
                 finished: what was written since is left out"
            );
        }
        let keys: u64 =
            (0..crate::limits::DATABASES as u8).map(|db| node.engine.store.len(db)).sum();
        tracing::info!("data: {keys} keys after {} records of the log, in {ms} ms", tail.records);
    }
}

fn any_data(disk: &dyn Disk) -> std::io::Result<Option<String>> {
    let logs = wal::names::list(disk)?;
    let log = logs.first().map(|(name, _)| name.text());
    Ok(log.or(names::list(disk)?.into_iter().next().map(|listed| listed.name)))
}

/// What a log calls when it has moved on.
fn on_progress(hub: &Arc<NodeHub>) -> Box<dyn Fn() + Send + Sync> {
    let weak: Weak<NodeHub> = Arc::downgrade(hub);
    Box::new(move || {
        if let Some(hub) = weak.upgrade() {
            hub.service.durability.progressed(&hub);
        }
    })
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
    let mut damaged = Vec::new();
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
                    base: Some(base_of(info)),
                    clock_ms: info.clock_ms,
                    damaged,
                });
            }
            Err(error) => tracing::warn!("{error}; the one before it is tried"),
        }
        damaged.push(listed);
    }
    Ok(Found { cuts: Box::new([0; SHARDS]), base: None, clock_ms: 0, damaged })
}

/// What a snapshot demands of the log.
pub(super) fn base_of(info: &SnapshotInfo) -> Base {
    Base {
        file: info.file.clone(),
        log_id: info.database_id,
        from: info.log_from,
        until: info.largest_cut,
        is_logged: info.generation > 0,
    }
}

/// What can go wrong while the log is replayed.
#[derive(Debug)]
pub enum RecoveryError {
    /// The log cannot be read.
    Log(crate::wal::ReadError),
    /// A record makes no sense.
    Record(ReplayError),
    /// The log begins anew behind a snapshot that is damaged.
    BaseLost {
        /// The snapshot.
        file: String,
        /// Where the log begins anew.
        at: u64,
    },
    /// A thread ended too early.
    Thread,
}

impl std::fmt::Display for RecoveryError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            RecoveryError::Log(error) => error.fmt(f),
            RecoveryError::Record(error) => error.fmt(f),
            RecoveryError::BaseLost { file, at } => write!(
                f,
                "{file} is damaged, and the log, which was switched on at position {at}, has no \
                 other snapshot in front of it; put the file back, or let 'dse-admin repair DIR' \
                 go back to what was there before"
            ),
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
    let reader = match &found.base {
        Some(base) => LogReader::behind(disk, segment, base),
        None => LogReader::open(disk, segment, 0),
    };
    let mut reader = reader.map_err(RecoveryError::Log)?;
    let from = found.base.as_ref().map_or(0, |base| base.from);
    node.loading.expect_rest(
        progress::log_bytes(disk, from).map_err(|error| RecoveryError::Log(error.into()))?,
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
    outcome?;
    let tail = reader.tail().clone();
    let lost = |at: u64| found.damaged.iter().find(|listed| listed.lsn >= at);
    match tail.anew.and_then(|at| Some((at, lost(at)?))) {
        Some((at, Listed { name, .. })) => Err(RecoveryError::BaseLost { file: name.clone(), at }),
        None => Ok(tail),
    }
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
            let share = Share { index: self.index, of: self.threads };
            let meet = || {
                self.meeting.wait();
            };
            if let Err(error) = replayer.apply_share(chunk.records(), share, meet) {
                let mut failed = self.failed.lock().unwrap_or_else(PoisonError::into_inner);
                failed.get_or_insert(error);
            }
        }
    }
}
