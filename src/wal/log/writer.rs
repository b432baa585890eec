//! The threads that write commits: which is next, and what follows when it has landed.

use super::{Flight, Health, Log, Shared, SyncMode};
use crate::limits::{
    LOG_CACHED_MIN, LOG_CHUNK_BYTES, LOG_COMMIT_HEADER, LOG_HOLD_US, LOG_QUIET_MS,
    LOG_WRITE_BESIDE_MIN, LOG_WRITES_MAX, SLICE_NS,
};
use crate::sync::log_ring::Closed;
use crate::sys::affinity;
use crate::sys::clock;
use crate::sys::disk::AlignedBuf;
use crate::wal::commit::CommitHeader;
use std::io;
use std::sync::atomic::{Ordering, fence};
use std::sync::{Arc, MutexGuard, PoisonError};
use std::time::Duration;

impl Log {
    /// The log with its threads.
    pub(super) fn started(self: Arc<Log>) -> io::Result<Arc<Log>> {
        let mut threads = self.threads.lock().unwrap_or_else(PoisonError::into_inner);
        for index in 0..LOG_WRITES_MAX {
            let log = Arc::clone(&self);
            let name = format!("log-writer-{index}");
            let body = move || {
                // Replies wait for this thread. Refused, it has as long a slice as others.
                _ = affinity::ask_for_short_slice(SLICE_NS);
                log.run_writer();
            };
            threads.push(std::thread::Builder::new().name(name).spawn(body)?);
        }
        let log = Arc::clone(&self);
        let body = move || log.run_upkeep();
        threads.push(std::thread::Builder::new().name("log-upkeep".into()).spawn(body)?);
        drop(threads);
        Ok(self)
    }

    pub(super) fn run_writer(&self) {
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
            if let Some(error) = shared.failed.take() {
                self.rescue(shared, &error);
                shared = self.lock();
                continue;
            }
            let waits = shared.rescuing || self.is_broken();
            let may_write = !waits && shared.writing < self.writes_max();
            let alone = shared.writing == 0;
            if let Some(commit) = shared.queue.front().copied().filter(|_| may_write) {
                let through = self.mode() == SyncMode::Always || shared.stopping;
                shared.queue.pop_front();
                if !shared.queue.is_empty() {
                    self.work.notify_one();
                }
                shared.flights.push_back(Flight { commit, through, done: false });
                shared.writing += 1;
                return Some((commit, through));
            }
            let open_bytes = self.ring.reserved().saturating_sub(shared.open);
            let has_records = !self.ring.is_empty(shared.open);
            let beside = has_records && open_bytes >= self.long_bytes();
            let worth = beside || alone && self.is_worth(&shared);
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

    /// Writes under way at once. Those into the page cache are over before another thread is awake.
    fn writes_max(&self) -> usize {
        if self.mode() == SyncMode::Always { LOG_WRITES_MAX } else { 1 }
    }

    /// A commit of this many bytes waits for no more. The page cache takes a long one nearly as
    /// fast as a short one, and each costs a thread's waking.
    pub(super) fn long_bytes(&self) -> u64 {
        match self.mode() {
            SyncMode::Always => LOG_WRITE_BESIDE_MIN,
            _ => LOG_CACHED_MIN,
        }
    }

    /// Whether the open commit is to be written now, with no other write under way.
    fn is_worth(&self, shared: &Shared) -> bool {
        let open = shared.open + LOG_COMMIT_HEADER;
        let bytes = self.ring.reserved().saturating_sub(open);
        let is_asked = self.asked.load(Ordering::Relaxed) > open;
        let is_long = bytes >= self.worth.load(Ordering::Relaxed);
        bytes > 0 && (is_asked || is_long || shared.stopping)
    }

    /// Closes the open commit and queues what comes of it.
    pub(super) fn close_commit<'a>(
        &'a self,
        mut shared: MutexGuard<'a, Shared>,
    ) -> MutexGuard<'a, Shared> {
        shared.closing = true;
        let start = shared.open;
        drop(shared);
        let commits = self.ring.close(start, std::thread::yield_now);
        let mut shared = self.lock();
        shared.closing = false;
        shared.open = commits.last().map_or(start, |last| last.end);
        self.open_at.store(shared.open, Ordering::Relaxed);
        shared.stated = self.durable.get();
        if let Some(last) = commits.iter().rfind(|commit| commit.records > 0) {
            shared.filled = last.end;
        }
        let used = |commit: &Closed| commit.used - commit.start - LOG_COMMIT_HEADER;
        let used: u64 = commits.iter().map(used).sum();
        self.worth.store(used.min(self.long_bytes()), Ordering::Relaxed);
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
        if shared.here {
            // Who wrote looks again; whoever comes after that must find us.
            self.idle.store(true, Ordering::Relaxed);
            return self.wait(shared);
        }
        if shared.writing > 0 || shared.closing || !may_write {
            self.beside.store(may_write && !shared.closing, Ordering::Relaxed);
            return self.wait(shared);
        }
        self.idle.store(true, Ordering::Relaxed);
        // SeqCst: pairs with the fences in `kick` and `ask`.
        fence(Ordering::SeqCst);
        if self.is_worth(&shared) {
            self.idle.store(false, Ordering::Relaxed);
            return shared;
        }
        if !self.ring.is_empty(shared.open) {
            return self.hold(shared);
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

    /// Waits for more records to come to those that are open, but not for long.
    fn hold<'a>(&'a self, shared: MutexGuard<'a, Shared>) -> MutexGuard<'a, Shared> {
        let open = shared.open;
        self.holding.store(true, Ordering::Relaxed);
        let waited = self.work.wait_timeout(shared, Duration::from_micros(LOG_HOLD_US));
        self.holding.store(false, Ordering::Relaxed);
        let (shared, timeout) = waited.unwrap_or_else(PoisonError::into_inner);
        if timeout.timed_out() && shared.open == open {
            self.asked.fetch_max(self.ring.reserved(), Ordering::Relaxed);
        }
        shared
    }

    /// Whether records are durable, and no commit says so yet.
    pub(super) fn must_state(&self, shared: &Shared) -> bool {
        shared.stated < shared.filled && self.durable.get() >= shared.filled
    }

    fn wait<'a>(&'a self, shared: MutexGuard<'a, Shared>) -> MutexGuard<'a, Shared> {
        self.work.wait(shared).unwrap_or_else(PoisonError::into_inner)
    }

    /// Writes one commit to the file it belongs to.
    pub(super) fn write(
        &self,
        commit: &Closed,
        through: bool,
        buffer: &mut AlignedBuf,
    ) -> io::Result<()> {
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
            anew: false,
        };
        header.seal(bytes);
        let started_ns = clock::monotonic_ns();
        let offset = commit.start - file.name.start;
        let outcome = match through {
            true => file.file.write_through_at(bytes, offset),
            false => file.file.write_cached_at(bytes, offset),
        };
        self.stats.wrote(len as u64, commit.records, clock::monotonic_ns() - started_ns);
        outcome
    }

    /// A write has ended: moves the positions on, as far as they are reached without a gap.
    pub(super) fn landed(&self, commit: &Closed, outcome: io::Result<()>) {
        let mut shared = self.lock();
        shared.writing -= 1;
        shared.here = false;
        if let Err(error) = outcome {
            self.rescue(shared, &error);
            return;
        }
        let mine = shared.flights.iter_mut().find(|flight| flight.commit.start == commit.start);
        if let Some(flight) = mine {
            flight.done = true;
        }
        if shared.rescuing || shared.stopping {
            self.work.notify_all();
        }
        if !shared.rescuing {
            self.advance(&mut shared);
        }
        // Nobody else is woken for what is left: whoever wrote looks next.
        drop(shared);
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
}
