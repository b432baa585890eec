//! The thread that prepares files ahead, removes old ones, and syncs once a second.

use super::{Health, Log, SyncMode};
use crate::limits::LOG_UPKEEP_MS;
use crate::sys::clock;
use std::sync::PoisonError;
use std::sync::atomic::Ordering;
use std::time::Duration;

impl Log {
    /// Prepares files ahead, and syncs what the mode asks for.
    pub(super) fn run_upkeep(&self) {
        let mut synced_ns = clock::monotonic_ns();
        loop {
            self.prepare_files();
            self.files.settle();
            let stopping = self.lock().stopping;
            let behind = self.durable.get() < self.written.get();
            let due = match self.mode() {
                SyncMode::Always => true,
                SyncMode::EverySecond => clock::monotonic_ns() - synced_ns >= 1_000_000_000,
                SyncMode::Never => false,
            };
            let asked = self.sync_asked.swap(false, Ordering::Relaxed);
            if behind && (due || stopping || asked) {
                synced_ns = clock::monotonic_ns();
                self.apart.store(true, Ordering::Relaxed);
                self.sync();
            }
            self.rejoin();
            let shared = self.lock();
            if shared.drained {
                return;
            }
            let ms = if shared.stopping { 1 } else { LOG_UPKEEP_MS };
            let waited = self.upkeep.wait_timeout(shared, Duration::from_millis(ms));
            drop(waited.unwrap_or_else(PoisonError::into_inner));
        }
    }

    /// Sees to it that there are files enough, and notes when there is no room for them. Who waits
    /// for the log is told if something moved: a log that does nothing wakes nobody.
    pub(super) fn prepare_files(&self) {
        let was_full = matches!(self.lock().health, Health::Full(_));
        let mut has_moved = false;
        let mut each = || has_moved |= self.allow();
        let outcome = self.files.prepare_ahead(self.ring.reserved(), &mut each);
        let mut shared = self.lock();
        match &outcome {
            Err(error) if shared.health == Health::Good => {
                tracing::warn!(%error, "no room for the log: writes will be refused");
                shared.health = Health::Full(error.to_string());
                has_moved = true;
            }
            Ok(()) if was_full && matches!(shared.health, Health::Full(_)) => {
                tracing::info!("there is room for the log again");
                shared.health = Health::Good;
                has_moved = true;
            }
            _ => {}
        }
        drop(shared);
        has_moved |= self.allow();
        if has_moved {
            (self.progress)();
        }
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

#[cfg(test)]
mod tests {
    use super::super::{LogFiles, LogOptions, LogRing, LogStart, shape};
    use super::*;
    use crate::limits::LOG_CHUNK_BYTES;
    use crate::sys::disk::Directory;
    use std::sync::Arc;
    use std::sync::atomic::AtomicUsize;

    /// An idle log rang those who wait for it ten times a second, each of which woke a thread.
    #[test]
    fn a_log_that_does_nothing_wakes_nobody() {
        let home = tempfile::tempdir().unwrap();
        let disk = Arc::new(Directory::open(home.path()).unwrap());
        let options = LogOptions {
            mode: SyncMode::Always,
            segment_bytes: LOG_CHUNK_BYTES,
            ring_bytes: LOG_CHUNK_BYTES * 4,
        };
        let start = LogStart { start: 0, generation: 1, log_id: 7 };
        let rung = Arc::new(AtomicUsize::new(0));
        let counted = Arc::clone(&rung);
        let progress = Box::new(move || _ = counted.fetch_add(1, Ordering::Relaxed));
        let ring = Arc::new(LogRing::new(shape(&options), start.start));
        let files = LogFiles::open(disk, options.segment_bytes, start).unwrap();
        let log = Log::make(ring, files, options, start, progress).unwrap();
        log.look_after();
        assert_eq!(rung.load(Ordering::Relaxed), 1, "there is room for more now");
        log.look_after();
        log.look_after();
        assert_eq!(rung.load(Ordering::Relaxed), 1);
        assert!(!log.files.recycle_below(0), "nothing that was not known");
    }
}
