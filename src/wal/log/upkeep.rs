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

    /// Sees to it that there are files enough, and notes when there is no room for them.
    pub(super) fn prepare_files(&self) {
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
