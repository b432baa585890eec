//! The log: requests go in on one side, commits reach the disk on the other.
//!
//! ```text
//!   workers --append--> LogRing --close--> commits --write--> files
//!                                             |
//!        replies wait for released() <--------+  durable / written move forward in order
//! ```
//!
//! **Group commit.** A write costs the processor as much as ten requests, so what comes together
//! is written together. With nothing in flight a writer thread takes what is open as soon as it
//! is as long as the commit before, or has waited for 200 us ([`LOG_HOLD_US`]): one client does
//! not wait at all, and many clients share one write. While writes are under way another one
//! starts only for 16 KiB or more, and never more than four. What goes through the page cache is
//! written by one thread at a time, 64 KiB at once if so much comes within those 200 us; and
//! by the workers themselves, at the end of a round, where nothing keeps them from it (`here.rs`).
//!
//! [`LOG_HOLD_US`]: crate::limits::LOG_HOLD_US
//!
//! **What is released.** With `always` a reply waits for `durable`, otherwise for `written`: what
//! the kernel took outlives the process in every mode (rule E14).
//!
//! **Errors.** A write that fails stops `durable` where it is. All commits above it are still in
//! the ring; they are written once to a fresh file of a new generation. If that fails too, the
//! log is broken: nothing is released any more, and the server says so to everyone who waits
//! (rule E15).
//!
//! Deliberately absent: what requests mean; who waits for what (the `progress` callback only
//! says that something moved).

use super::files::LogFiles;
use super::stats::LogStats;
use crate::limits::{
    LOG_BLOCK_BYTES, LOG_CHUNK_BYTES, LOG_COMMIT_HEADER, LOG_RING_BYTES, LOG_RING_BYTES_MIN,
    LOG_RING_WORKER_BYTES, LOG_WRITES_MAX,
};
use crate::sync::log_ring::{Closed, LogRing, RingShape};
use crate::sync::watermark::Watermark;
use crate::sys::disk::{AlignedBuf, Disk};
use std::collections::VecDeque;
use std::io;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU64, Ordering, fence};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;

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

/// Bytes of the ring of a log that `workers` threads append to.
pub fn ring_bytes(workers: usize) -> u64 {
    let bytes = (workers as u64).saturating_mul(LOG_RING_WORKER_BYTES);
    bytes.clamp(LOG_RING_BYTES_MIN, LOG_RING_BYTES).next_power_of_two()
}

/// The log is not able to take a record now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NoCredit;

mod append;
mod by_hand;
mod here;
mod upkeep;
mod writer;

pub use by_hand::Writing;

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
    /// What is closed and written now is so by a worker, who looks again when that is done.
    here: bool,
    /// What a worker's write met; a thread rescues the tail.
    failed: Option<io::Error>,
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
    ring: Arc<LogRing>,
    options: LogOptions,
    credit_bytes: u64,
    mode: AtomicU8,
    log_id: u64,
    durable: Watermark,
    written: Watermark,
    clock_ms: AtomicU64,
    /// A writer thread sleeps for want of work.
    idle: AtomicBool,
    /// A writer thread that sleeps wakes by itself, soon, and writes what is open then.
    holding: AtomicBool,
    /// A writer thread sleeps while another one writes, because too little waits.
    beside: AtomicBool,
    /// Where the open commit begins. A hint.
    open_at: AtomicU64,
    /// Everything below is to be written without waiting for more.
    asked: AtomicU64,
    /// An open commit of this many bytes is worth a write of its own.
    worth: AtomicU64,
    broken: AtomicBool,
    /// Workers leave writing to the threads: a sync is under way, or a write was slow.
    apart: AtomicBool,
    /// When a worker's write was slow, ns of the monotonic clock.
    slow_ns: AtomicU64,
    /// What a worker's commit is laid out in.
    here: Mutex<AlignedBuf>,
    /// A sync is wanted though the mode does not ask for it yet.
    sync_asked: AtomicBool,
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
        let ring = Arc::new(LogRing::new(shape(&options), start.start));
        let files = LogFiles::open(disk, options.segment_bytes, start)?;
        Log::make(ring, files, options, start, progress)?.started()
    }

    /// As [`Log::open`], for a log that something is missing in front of: a reader that comes
    /// from before `start` stops there. It takes over the ring of `closed`, a log that was
    /// closed and that nobody appends to any more.
    pub fn open_anew(
        closed: Option<&Log>,
        disk: Arc<dyn Disk>,
        options: LogOptions,
        start: LogStart,
        progress: Box<dyn Fn() + Send + Sync>,
    ) -> io::Result<Arc<Log>> {
        let files = LogFiles::open_anew(disk, options.segment_bytes, start)?;
        let start = LogStart { start: start.start + LOG_BLOCK_BYTES, ..start };
        let ring = match closed {
            Some(closed) => {
                closed.ring.restart(start.start);
                Arc::clone(&closed.ring)
            }
            None => Arc::new(LogRing::new(shape(&options), start.start)),
        };
        Log::make(ring, files, options, start, progress)?.started()
    }

    /// A log that nobody writes yet.
    fn make(
        ring: Arc<LogRing>,
        files: LogFiles,
        options: LogOptions,
        start: LogStart,
        progress: Box<dyn Fn() + Send + Sync>,
    ) -> io::Result<Arc<Log>> {
        let shared = Shared {
            open: start.start,
            closing: false,
            queue: VecDeque::new(),
            flights: VecDeque::new(),
            writing: 0,
            here: false,
            failed: None,
            filled: start.start,
            stated: start.start,
            rescuing: false,
            health: Health::Good,
            stopping: false,
            drained: false,
        };
        let log = Arc::new(Log {
            ring,
            options,
            credit_bytes: append::credit_bytes(&options),
            mode: AtomicU8::new(options.mode as u8),
            log_id: start.log_id,
            durable: Watermark::new(start.start),
            written: Watermark::new(start.start),
            clock_ms: AtomicU64::new(0),
            idle: AtomicBool::new(false),
            holding: AtomicBool::new(false),
            beside: AtomicBool::new(false),
            open_at: AtomicU64::new(start.start),
            asked: AtomicU64::new(0),
            worth: AtomicU64::new(0),
            broken: AtomicBool::new(false),
            apart: AtomicBool::new(false),
            slow_ns: AtomicU64::new(0),
            here: Mutex::new(AlignedBuf::zeroed(LOG_CHUNK_BYTES as usize)),
            sync_asked: AtomicBool::new(false),
            files,
            shared: Mutex::new(shared),
            work: Condvar::new(),
            upkeep: Condvar::new(),
            stats: LogStats::default(),
            progress,
            threads: Mutex::default(),
        });
        log.allow();
        Ok(log)
    }

    /// To be called after records were appended, once for a batch of them: what is open is
    /// written if there is enough of it, or after [`LOG_HOLD_US`](crate::limits::LOG_HOLD_US).
    #[inline]
    pub fn kick(&self) {
        // SeqCst: pairs with the fence in `rest`: either we see the sleeper, or it sees what we
        // have appended.
        fence(Ordering::SeqCst);
        let waiting = self.open_bytes();
        // Somebody has to be awake to see to it that what is short does not wait for long.
        let is_worth = waiting >= self.worth.load(Ordering::Relaxed);
        if is_worth || !self.holding.load(Ordering::Relaxed) {
            self.wake(&self.idle);
        }
        if waiting >= self.long_bytes() {
            self.wake(&self.beside);
        }
    }

    /// Sees to it that all that was appended is written, without waiting for more.
    #[inline]
    pub fn ask(&self) {
        self.asked.fetch_max(self.ring.reserved(), Ordering::Relaxed);
        // SeqCst: as in `kick`.
        fence(Ordering::SeqCst);
        self.wake(&self.idle);
        if self.open_bytes() >= self.long_bytes() {
            self.wake(&self.beside);
        }
    }

    /// Bytes of records in the open commit. A hint.
    #[inline]
    fn open_bytes(&self) -> u64 {
        let from = self.open_at.load(Ordering::Relaxed) + LOG_COMMIT_HEADER;
        self.ring.reserved().saturating_sub(from)
    }

    #[inline]
    fn wake(&self, sleeper: &AtomicBool) {
        if sleeper.load(Ordering::Relaxed) && sleeper.swap(false, Ordering::Relaxed) {
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

    /// Waits until every record below `position` is durable, whatever the mode.
    pub fn settle(&self, position: u64) -> io::Result<()> {
        loop {
            self.ask();
            self.sync_asked.store(true, Ordering::Relaxed);
            self.upkeep.notify_all();
            if self.is_broken() {
                return Err(io::Error::other("the log is broken"));
            }
            let shared = self.lock();
            let nothing_open = self.ring.is_empty(shared.open) && !shared.closing;
            let nothing_left = nothing_open && shared.queue.is_empty() && shared.flights.is_empty();
            let all = self.written.get() <= self.durable.get();
            if self.durable.get() >= position || nothing_left && all {
                return Ok(());
            }
            drop(shared);
            std::thread::sleep(std::time::Duration::from_millis(1));
        }
    }

    /// Files below `position` are needed no more: they are used again or removed.
    pub fn recycle_below(&self, position: u64) {
        if self.files.recycle_below(position.min(self.durable())) {
            self.upkeep.notify_all();
        }
    }

    /// What lies below this position is needed no more, or was not there at the start.
    pub fn begin(&self) -> u64 {
        self.files.begin()
    }

    /// The generation of what is written now.
    pub fn generation(&self) -> u32 {
        self.files.generation()
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

    /// Lets writers reserve what has a place in the ring and on the disk; true if that is more or
    /// less than before.
    fn allow(&self) -> bool {
        let kept = self.written.get().min(if self.mode() == SyncMode::Always {
            self.durable.get()
        } else {
            u64::MAX
        });
        self.ring.allow((kept + self.options.ring_bytes).min(self.files.end()))
    }
}

fn shape(options: &LogOptions) -> RingShape {
    RingShape {
        capacity: options.ring_bytes,
        chunk: LOG_CHUNK_BYTES,
        block: LOG_BLOCK_BYTES,
        header: LOG_COMMIT_HEADER,
    }
}
