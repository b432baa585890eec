//! The log: requests go in on one side, commits reach the disk on the other.
//!
//! ```text
//!   workers --append--> LogRing --close--> commits --write--> files
//!                                             |
//!        replies wait for released() <--------+  durable / written move forward in order
//! ```
//!
//! **Group commit.** A writer thread that finds nothing in flight takes all that is there and
//! writes at once; while writes are under way another one starts only for 16 KiB or more, and
//! never more than four. So one client waits for one write, and many share one.
//!
//! **What is released.** With `always` a reply waits for `durable`, otherwise for `written`: what
//! the kernel took outlives the process in every mode.
//!
//! **Errors.** A write that fails stops `durable` where it is. All commits above it are still in
//! the ring; they are written once to a fresh file of a new generation. If that fails too, the
//! log is broken: nothing is released any more, and the server says so to everyone who waits.
//!
//! Deliberately absent: what requests mean; who waits for what (the `progress` callback only
//! says that something moved).

use super::commit::CommitHeader;
use super::files::LogFiles;
use super::record::{RecordBuf, RecordMeta};
use super::stats::LogStats;
use crate::limits::{
    LOG_BLOCK_BYTES, LOG_CHUNK_BYTES, LOG_COMMIT_HEADER, LOG_PREPARE_RETRY_MS, LOG_QUIET_MS,
    LOG_RECORD_MAX, LOG_WRITE_BESIDE_MIN, LOG_WRITES_MAX, WORKERS_MAX,
};
use crate::sync::log_ring::{Closed, Full, LogRing, RingShape};
use crate::sync::watermark::Watermark;
use crate::sys::clock;
use crate::sys::disk::{AlignedBuf, Disk};
use std::collections::VecDeque;
use std::io;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU64, Ordering, fence};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

/// When the log is forced to disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum SyncMode {
    /// Before each reply.
    Always = 0,
    /// Once a second.
    EverySecond = 1,
    /// When the system likes.
    Never = 2,
}

/// How a log is set up.
#[derive(Clone, Copy, Debug)]
pub struct LogOptions {
    /// When it is forced to disk.
    pub mode: SyncMode,
    /// Bytes of a file, a multiple of the chunk and a power of two.
    pub segment_bytes: u64,
    /// Bytes of the ring, a power of two.
    pub ring_bytes: u64,
}

/// Where a log goes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LogStart {
    /// The first position, a multiple of the block.
    pub start: u64,
    /// The generation of what is written now.
    pub generation: u32,
    /// Names the log; the same for its whole life.
    pub log_id: u64,
}

/// How the log is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Health {
    /// It takes records and writes them.
    Good,
    /// It has no place for further records: the disk is full. It heals by itself.
    Full(String),
    /// A write failed, and so did the rescue. It stays as it is until the next start.
    Broken(String),
}

/// The log is not able to take a record now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NoCredit;

/// A commit on its way to the disk.
struct Flight {
    commit: Closed,
    through: bool,
    done: bool,
}

/// What the writer threads share.
struct Shared {
    /// Where the open commit begins.
    open: u64,
    /// A thread is closing it.
    closing: bool,
    /// Closed commits that no thread has taken.
    queue: VecDeque<Closed>,
    /// Taken commits in order.
    flights: VecDeque<Flight>,
    /// Threads that write.
    writing: usize,
    /// Behind the newest commit that has records.
    filled: u64,
    /// The durable position that the newest commit states.
    stated: u64,
    /// A write failed; its thread rescues the tail.
    rescuing: bool,
    health: Health,
    stopping: bool,
    /// The writer threads have ended.
    drained: bool,
}

/// The log.
pub struct Log {
    ring: LogRing,
    options: LogOptions,
    mode: AtomicU8,
    log_id: u64,
    durable: Watermark,
    written: Watermark,
    clock_ms: AtomicU64,
    /// A writer thread sleeps for want of work.
    idle: AtomicBool,
    broken: AtomicBool,
    files: LogFiles,
    shared: Mutex<Shared>,
    work: Condvar,
    upkeep: Condvar,
    stats: LogStats,
    progress: Box<dyn Fn() + Send + Sync>,
    threads: Mutex<Vec<JoinHandle<()>>>,
}

impl Log {
    /// Starts a log that goes on at `start`, with its threads. `progress` is called whenever
    /// the log moved forward or became able to take more. Waits until the first file is there.
    pub fn open(
        disk: Arc<dyn Disk>,
        options: LogOptions,
        start: LogStart,
        progress: Box<dyn Fn() + Send + Sync>,
    ) -> io::Result<Arc<Log>> {
        let files = LogFiles::new(disk, options.segment_bytes, start)?;
        files.prepare_one()?;
        let shape = RingShape {
            capacity: options.ring_bytes,
            chunk: LOG_CHUNK_BYTES,
            block: LOG_BLOCK_BYTES,
            header: LOG_COMMIT_HEADER,
        };
        let shared = Shared {
            open: start.start,
            closing: false,
            queue: VecDeque::new(),
            flights: VecDeque::new(),
            writing: 0,
            filled: start.start,
            stated: start.start,
            rescuing: false,
            health: Health::Good,
            stopping: false,
            drained: false,
        };
        let log = Arc::new(Log {
            ring: LogRing::new(shape, start.start),
            options,
            mode: AtomicU8::new(options.mode as u8),
            log_id: start.log_id,
            durable: Watermark::new(start.start),
            written: Watermark::new(start.start),
            clock_ms: AtomicU64::new(0),
            idle: AtomicBool::new(false),
            broken: AtomicBool::new(false),
            files,
            shared: Mutex::new(shared),
            work: Condvar::new(),
            upkeep: Condvar::new(),
            stats: LogStats::default(),
            progress,
            threads: Mutex::default(),
        });
        log.allow();
        log.start_threads()?;
        Ok(log)
    }

    fn start_threads(self: &Arc<Log>) -> io::Result<()> {
        let mut threads = self.threads.lock().unwrap_or_else(PoisonError::into_inner);
        for index in 0..LOG_WRITES_MAX {
            let log = Arc::clone(self);
            let name = format!("log-writer-{index}");
            threads.push(std::thread::Builder::new().name(name).spawn(move || log.run_writer())?);
        }
        let log = Arc::clone(self);
        let body = move || log.run_upkeep();
        threads.push(std::thread::Builder::new().name("log-upkeep".into()).spawn(body)?);
        Ok(())
    }

    /// Whether a record of any size can be appended by every worker at once. To be asked before
    /// a lock is taken: who was told yes will not be refused by [`Log::append`].
    #[inline]
    pub fn has_credit(&self) -> bool {
        self.ring.has_room(self.credit_bytes()) && !self.broken.load(Ordering::Relaxed)
    }

    /// Each worker may append one record, which may skip the rest of a chunk as long as itself.
    fn credit_bytes(&self) -> u64 {
        let each = 2 * LOG_RECORD_MAX as u64 + 2 * LOG_BLOCK_BYTES;
        (WORKERS_MAX as u64 * each).min(self.options.ring_bytes / 4).min(self.options.segment_bytes)
    }

    /// Appends a record. The position behind it: what [`Log::released`] must reach before a
    /// reply that saw it may leave. Never waits.
    #[inline]
    pub fn append(&self, record: &mut RecordBuf, meta: &RecordMeta) -> Result<u64, NoCredit> {
        let words = record.words(meta);
        let len = words.len() as u64 * 8;
        match self.ring.append(words, RecordBuf::place) {
            Ok(lsn) => {
                self.clock_ms.fetch_max(meta.clock_ms, Ordering::Relaxed);
                Ok(lsn + len)
            }
            Err(Full) => Err(NoCredit),
        }
    }

    /// Sees to it that what was appended is written. Once for a batch of records is enough.
    #[inline]
    pub fn kick(&self) {
        // SeqCst: pairs with the fence in `rest`: either we see the sleeper, or it sees what we
        // have appended.
        fence(Ordering::SeqCst);
        if self.idle.load(Ordering::Relaxed) && self.idle.swap(false, Ordering::Relaxed) {
            drop(self.lock());
            self.work.notify_one();
        }
    }

    /// All replies whose `after` is not above this may leave.
    #[inline]
    pub fn released(&self) -> u64 {
        match self.mode() {
            SyncMode::Always => self.durable.get(),
            _ => self.written.get(),
        }
    }

    /// Everything below is on the disk for good.
    pub fn durable(&self) -> u64 {
        self.durable.get()
    }

    /// Everything below was taken by the kernel.
    pub fn written(&self) -> u64 {
        self.written.get()
    }

    /// Where the next record goes at the earliest.
    pub fn end(&self) -> u64 {
        self.ring.reserved()
    }

    /// The mode in force.
    #[inline]
    pub fn mode(&self) -> SyncMode {
        match self.mode.load(Ordering::Relaxed) {
            0 => SyncMode::Always,
            1 => SyncMode::EverySecond,
            _ => SyncMode::Never,
        }
    }

    /// Changes the mode. With `always`, replies wait again until all before them is durable.
    pub fn set_mode(&self, mode: SyncMode) {
        self.mode.store(mode as u8, Ordering::Relaxed);
        self.upkeep.notify_all();
        (self.progress)();
    }

    /// How the log is.
    pub fn health(&self) -> Health {
        self.lock().health.clone()
    }

    /// True when nothing is released any more.
    #[inline]
    pub fn is_broken(&self) -> bool {
        self.broken.load(Ordering::Relaxed)
    }

    /// Counts and histograms.
    pub fn stats(&self) -> &LogStats {
        &self.stats
    }

    /// Names the log.
    pub fn id(&self) -> u64 {
        self.log_id
    }

    /// Files below `position` are needed no more: they are used again or removed.
    pub fn recycle_below(&self, position: u64) {
        self.files.recycle_below(position.min(self.durable()));
        self.upkeep.notify_all();
    }

    /// Bytes of the files that hold the log.
    pub fn file_bytes(&self) -> u64 {
        self.files.bytes()
    }

    /// Writes everything down and ends the threads. Nothing may be appended any more.
    pub fn close(&self) {
        self.lock().stopping = true;
        self.work.notify_all();
        self.upkeep.notify_all();
        let threads =
            std::mem::take(&mut *self.threads.lock().unwrap_or_else(PoisonError::into_inner));
        for (index, thread) in threads.into_iter().enumerate() {
            if index == LOG_WRITES_MAX {
                self.lock().drained = true; // What is left is the upkeep.
            }
            // A thread that panicked has said so; the others still end in order.
            let _ = thread.join();
        }
    }

    fn lock(&self) -> MutexGuard<'_, Shared> {
        self.shared.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Lets writers reserve what has a place in the ring and on the disk.
    fn allow(&self) {
        let kept = self.written.get().min(if self.mode() == SyncMode::Always {
            self.durable.get()
        } else {
            u64::MAX
        });
        self.ring.allow((kept + self.options.ring_bytes).min(self.files.end()));
    }

    fn run_writer(&self) {
        let mut buffer = AlignedBuf::zeroed(LOG_CHUNK_BYTES as usize);
        while let Some((commit, through)) = self.next_commit() {
            let outcome = self.write(&commit, through, &mut buffer);
            self.landed(&commit, outcome);
        }
    }

    /// Waits for something to write; `None` when the log ends.
    fn next_commit(&self) -> Option<(Closed, bool)> {
        let mut shared = self.lock();
        loop {
            let waits = shared.rescuing || self.is_broken();
            let may_write = !waits && shared.writing < LOG_WRITES_MAX;
            let alone = shared.writing == 0;
            if let Some(commit) = shared.queue.front().copied().filter(|_| may_write) {
                let through = self.mode() == SyncMode::Always || shared.stopping;
                shared.queue.pop_front();
                shared.flights.push_back(Flight { commit, through, done: false });
                shared.writing += 1;
                return Some((commit, through));
            }
            let open_bytes = self.ring.reserved().saturating_sub(shared.open);
            let has_records = !self.ring.is_empty(shared.open);
            let worth = has_records && (alone || open_bytes >= LOG_WRITE_BESIDE_MIN);
            if may_write && worth && !shared.closing {
                shared = self.close_commit(shared);
                continue;
            }
            if shared.stopping && (waits || alone && !has_records && !shared.closing) {
                if !waits && self.must_state(&shared) {
                    shared = self.close_commit(shared);
                    continue;
                }
                if waits || self.durable.get() >= self.written.get() {
                    self.work.notify_all();
                    return None;
                }
            }
            shared = self.rest(shared, may_write);
        }
    }

    /// Closes the open commit and queues what comes of it.
    fn close_commit<'a>(&'a self, mut shared: MutexGuard<'a, Shared>) -> MutexGuard<'a, Shared> {
        shared.closing = true;
        let start = shared.open;
        drop(shared);
        let commits = self.ring.close(start, std::thread::yield_now);
        let mut shared = self.lock();
        shared.closing = false;
        shared.open = commits.last().map_or(start, |last| last.end);
        shared.stated = self.durable.get();
        if let Some(last) = commits.iter().rfind(|commit| commit.records > 0) {
            shared.filled = last.end;
        }
        let several = commits.len() > 1;
        shared.queue.extend(commits);
        if several || shared.stopping {
            self.work.notify_all();
        }
        shared
    }

    /// Sleeps until there may be work. A log that went quiet states how far it is durable.
    fn rest<'a>(
        &'a self,
        shared: MutexGuard<'a, Shared>,
        may_write: bool,
    ) -> MutexGuard<'a, Shared> {
        if shared.writing > 0 || shared.closing || !may_write {
            return self.wait(shared);
        }
        self.idle.store(true, Ordering::Relaxed);
        // SeqCst: pairs with the fence in `kick`.
        fence(Ordering::SeqCst);
        if !self.ring.is_empty(shared.open) {
            self.idle.store(false, Ordering::Relaxed);
            return shared;
        }
        if !self.must_state(&shared) {
            return self.wait(shared);
        }
        let quiet = Duration::from_millis(LOG_QUIET_MS);
        let waited = self.work.wait_timeout(shared, quiet);
        let (shared, timeout) = waited.unwrap_or_else(PoisonError::into_inner);
        let is_quiet = timeout.timed_out() && shared.writing == 0 && !shared.closing;
        // A second sleeper may have been as patient.
        if is_quiet && self.ring.is_empty(shared.open) && self.must_state(&shared) {
            return self.close_commit(shared);
        }
        shared
    }

    /// Whether records are durable, and no commit says so yet.
    fn must_state(&self, shared: &Shared) -> bool {
        shared.stated < shared.filled && self.durable.get() >= shared.filled
    }

    fn wait<'a>(&'a self, shared: MutexGuard<'a, Shared>) -> MutexGuard<'a, Shared> {
        self.work.wait(shared).unwrap_or_else(PoisonError::into_inner)
    }

    /// Writes one commit to the file it belongs to.
    fn write(&self, commit: &Closed, through: bool, buffer: &mut AlignedBuf) -> io::Result<()> {
        let len = (commit.end - commit.start) as usize;
        let file = self.files.at(commit.start)?;
        let bytes = &mut buffer[..len];
        let begin = (commit.used - commit.start) as usize;
        self.ring.copy(commit, bytes);
        bytes[begin..].fill(0);
        let header = CommitHeader {
            lsn: commit.start,
            len: len as u32,
            used: begin as u32,
            synced: self.durable.get(),
            clock_ms: self.clock_ms.load(Ordering::Relaxed),
            generation: file.name.generation,
            records: commit.records as u32,
            log_id: self.log_id,
        };
        header.seal(bytes);
        let started_ns = clock::monotonic_ns();
        let offset = commit.start - file.name.start;
        let outcome = match through {
            true => file.file.write_through_at(bytes, offset),
            false => file.file.write_at(bytes, offset),
        };
        self.stats.wrote(len as u64, commit.records, clock::monotonic_ns() - started_ns);
        outcome
    }

    /// A write has ended: moves the positions on, as far as they are reached without a gap.
    fn landed(&self, commit: &Closed, outcome: io::Result<()>) {
        let mut shared = self.lock();
        shared.writing -= 1;
        if let Err(error) = outcome {
            self.rescue(shared, &error);
            return;
        }
        let mine = shared.flights.iter_mut().find(|flight| flight.commit.start == commit.start);
        if let Some(flight) = mine {
            flight.done = true;
        }
        if !shared.rescuing {
            self.advance(&mut shared);
        }
        drop(shared);
        self.work.notify_all();
        (self.progress)();
    }

    fn advance(&self, shared: &mut Shared) {
        while let Some(flight) = shared.flights.front().filter(|flight| flight.done) {
            self.written.advance(flight.commit.end);
            if flight.through && self.durable.get() == flight.commit.start {
                self.durable.advance(flight.commit.end);
            }
            shared.flights.pop_front();
        }
        if self.mode() == SyncMode::Always && self.durable.get() < self.written.get() {
            self.upkeep.notify_all(); // What was written in another mode is synced first.
        }
        self.allow();
    }

    /// Writes all that is not durable, once, to a file of a new generation.
    fn rescue<'a>(&'a self, mut shared: MutexGuard<'a, Shared>, error: &io::Error) {
        let text = error.to_string();
        tracing::error!(error = text, "the log could not be written");
        self.stats.errors.fetch_add(1, Ordering::Relaxed);
        if shared.rescuing {
            drop(shared);
            self.work.notify_all();
            return; // Another thread has met the same and is at it.
        }
        shared.rescuing = true;
        while shared.writing > 0 {
            shared = self.wait(shared);
        }
        let commits: Vec<Closed> = shared.flights.iter().map(|flight| flight.commit).collect();
        drop(shared);
        let rescued = self.write_again(&commits);
        let mut shared = self.lock();
        match rescued {
            Ok(()) => {
                tracing::warn!("what was not on disk was written to a new file of the log");
                for flight in &mut shared.flights {
                    (flight.done, flight.through) = (true, true);
                }
                shared.rescuing = false;
                self.advance(&mut shared);
            }
            Err(second) => {
                let text = format!("{text}; then {second}");
                tracing::error!(error = text, "the log is broken: writes are refused");
                shared.health = Health::Broken(text);
                self.broken.store(true, Ordering::SeqCst);
            }
        }
        drop(shared);
        self.work.notify_all();
        (self.progress)();
    }

    fn write_again(&self, commits: &[Closed]) -> io::Result<()> {
        let Some(first) = commits.first() else { return Ok(()) };
        if self.durable.get() < first.start {
            // Written but not synced, and given back by the ring: nothing to write it from.
            return Err(io::Error::other("what was written before could not be synced"));
        }
        self.files.begin_generation(first.start)?;
        let mut buffer = AlignedBuf::zeroed(LOG_CHUNK_BYTES as usize);
        commits.iter().try_for_each(|commit| self.write(commit, true, &mut buffer))
    }

    /// Prepares files ahead, and syncs what the mode asks for.
    fn run_upkeep(&self) {
        let mut synced_ns = clock::monotonic_ns();
        loop {
            let healthy = self.prepare_files();
            self.files.settle();
            let stopping = self.lock().stopping;
            let behind = self.durable.get() < self.written.get();
            let due = match self.mode() {
                SyncMode::Always => true,
                SyncMode::EverySecond => clock::monotonic_ns() - synced_ns >= 1_000_000_000,
                SyncMode::Never => false,
            };
            if behind && (due || stopping) {
                synced_ns = clock::monotonic_ns();
                self.sync();
            }
            let shared = self.lock();
            if shared.drained {
                return;
            }
            let ms = if healthy && !shared.stopping { 1000 } else { LOG_PREPARE_RETRY_MS };
            let ms = if shared.stopping { 1 } else { ms.min(100) };
            let waited = self.upkeep.wait_timeout(shared, Duration::from_millis(ms));
            drop(waited.unwrap_or_else(PoisonError::into_inner));
        }
    }

    /// True when there are files enough.
    fn prepare_files(&self) -> bool {
        let was_full = matches!(self.lock().health, Health::Full(_));
        let outcome = self.files.prepare_ahead(self.ring.reserved(), &mut || self.allow());
        let mut shared = self.lock();
        match &outcome {
            Err(error) if shared.health == Health::Good => {
                tracing::warn!(%error, "no room for the log: writes will be refused");
                shared.health = Health::Full(error.to_string());
            }
            Ok(()) if was_full && matches!(shared.health, Health::Full(_)) => {
                tracing::info!("there is room for the log again");
                shared.health = Health::Good;
            }
            _ => {}
        }
        drop(shared);
        self.allow();
        (self.progress)();
        outcome.is_ok()
    }

    /// Makes durable what was written in another mode than `always`.
    fn sync(&self) {
        let (from, to) = (self.durable.get(), self.written.get());
        let started_ns = clock::monotonic_ns();
        match self.files.sync(from, to) {
            Ok(()) => {
                self.stats.synced(clock::monotonic_ns() - started_ns);
                self.durable.advance(to);
            }
            Err(error) => {
                let text = error.to_string();
                tracing::error!(error = text, "the log is broken: a sync failed");
                self.lock().health = Health::Broken(text);
                self.broken.store(true, Ordering::SeqCst);
            }
        }
        self.allow();
        self.work.notify_all();
        (self.progress)();
    }
}
