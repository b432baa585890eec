//! How far a snapshot is: numbers for INFO, lines for the log, and its speed.

use super::Saving;
use crate::commands::node::Node;
use crate::limits::{SAVE_NAP_MS, SAVE_REPORT_MS, SAVE_REPORT_MS_MIN, SAVE_REPORT_PERCENT};
use crate::sys::clock;
use std::sync::PoisonError;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering::Relaxed};
use std::time::Duration;

/// Numbers of snapshots, for INFO. All loads and stores are Relaxed: nobody concludes anything
/// from one about another.
pub struct SaveReport {
    /// One is being written.
    pub in_progress: AtomicBool,
    /// When it began, s since 1970.
    pub began_s: AtomicU64,
    /// The same on the monotonic clock, ns.
    began_ns: AtomicU64,
    /// Bytes of memory that its keys took when it began.
    data_total: AtomicU64,
    /// How many of them are in the file.
    data_done: AtomicU64,
    /// Keys that there were when it began.
    pub keys_total: AtomicU64,
    /// Keys of it that are written.
    pub keys_done: AtomicU64,
    /// Bytes of the file that are written.
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
    /// Bytes of the copies of shards that are not written yet.
    pub copies: AtomicU64,
    /// The most that there were during the last snapshot.
    pub copies_max: AtomicU64,
}

/// How far a snapshot is.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Progress {
    /// Of the memory that the keys took when it began.
    pub percent: f64,
    /// Bytes of the file written in a second.
    pub bytes_per_s: u64,
    /// Seconds that it will still take at this speed.
    pub eta_s: u64,
}

impl Default for SaveReport {
    fn default() -> SaveReport {
        let zero = || AtomicU64::new(0);
        SaveReport {
            in_progress: AtomicBool::new(false),
            began_s: zero(),
            began_ns: zero(),
            data_total: zero(),
            data_done: zero(),
            keys_total: zero(),
            keys_done: zero(),
            bytes_done: zero(),
            last_s: AtomicU64::new(clock::wall_ms() / 1000),
            last_took_s: AtomicI64::new(-1),
            last_failed: AtomicBool::new(false),
            saves: zero(),
            changes_at_last: zero(),
            piece_bytes_max: zero(),
            copies: zero(),
            copies_max: zero(),
        }
    }
}

impl SaveReport {
    /// A snapshot of `node` begins.
    pub(super) fn begin(&self, node: &Node) {
        self.began_s.store(clock::wall_ms() / 1000, Relaxed);
        self.began_ns.store(clock::monotonic_ns(), Relaxed);
        let store = &node.engine.store;
        self.data_total.store(store.data_bytes(), Relaxed);
        self.keys_total.store(store.len_of_all(), Relaxed);
        for count in [&self.data_done, &self.keys_done, &self.bytes_done] {
            count.store(0, Relaxed);
        }
        self.copies_max.store(self.copies.load(Relaxed), Relaxed);
        self.in_progress.store(true, Relaxed);
    }

    /// What took `bytes` of memory is in the file.
    pub(super) fn add_done(&self, bytes: u64) {
        self.data_done.fetch_add(bytes, Relaxed);
    }

    /// A copy of a shard of that size was made.
    pub(super) fn add_copy(&self, bytes: u64) {
        self.piece_bytes_max.fetch_max(bytes, Relaxed);
        let now = self.copies.fetch_add(bytes, Relaxed) + bytes;
        self.copies_max.fetch_max(now, Relaxed);
    }

    /// How far the snapshot is that is being written.
    pub fn progress(&self) -> Progress {
        let elapsed_ns = clock::monotonic_ns().saturating_sub(self.began_ns.load(Relaxed));
        let done = self.data_done.load(Relaxed);
        let total = self.data_total.load(Relaxed);
        Progress::of(elapsed_ns, done, total, self.bytes_done.load(Relaxed))
    }
}

impl Progress {
    /// The data may grow while it is written: it is never said to be all before it is.
    fn of(elapsed_ns: u64, done: u64, total: u64, bytes: u64) -> Progress {
        let part = (done as f64 / total.max(1) as f64).min(0.99);
        let elapsed_s = elapsed_ns.max(1) as f64 / 1e9;
        let eta_s = if part > 0.0 { elapsed_s * (1.0 - part) / part } else { 0.0 };
        Progress {
            percent: part * 100.0,
            bytes_per_s: (bytes as f64 / elapsed_s) as u64,
            eta_s: eta_s.ceil() as u64,
        }
    }
}

/// The speed of one snapshot, and its lines in the log.
pub(super) struct Pace {
    written: u64,
    /// Bytes that were written sooner than the rate allows.
    debt: u64,
    last_ns: u64,
    said_ns: u64,
    said_percent: f64,
}

impl Pace {
    pub(super) fn new() -> Pace {
        let now = clock::monotonic_ns();
        Pace { written: 0, debt: 0, last_ns: now, said_ns: now, said_percent: 0.0 }
    }

    /// `written` bytes are in the file: reports that, and waits until the configured rate allows
    /// more. No lock is held meanwhile.
    pub(super) fn keep(&mut self, node: &Node, keys: u64, written: u64) {
        if written == self.written {
            return;
        }
        let report = &node.saving.report;
        report.keys_done.store(keys, Relaxed);
        report.bytes_done.store(written, Relaxed);
        self.debt += written - self.written;
        self.written = written;
        self.say(report);
        loop {
            let rate = node.config.values().bytes("snapshot-rate-bytes");
            let now = clock::monotonic_ns();
            let allowed = rate as u128 * u128::from(now - self.last_ns) / 1_000_000_000;
            self.debt = self.debt.saturating_sub(allowed.min(u128::from(u64::MAX)) as u64);
            self.last_ns = now;
            if rate == 0 {
                self.debt = 0;
                return;
            }
            let wait_ms = (u128::from(self.debt) * 1000 / u128::from(rate)) as u64;
            // Shorter waits are added up: a wake-up is never exact.
            if wait_ms < SAVE_NAP_MS / 10 || !node.saving.nap(wait_ms.min(SAVE_NAP_MS)) {
                return;
            }
            self.say(report);
        }
    }

    /// A line in the log, now and then.
    fn say(&mut self, report: &SaveReport) {
        let now = clock::monotonic_ns();
        let since_ms = (now - self.said_ns) / 1_000_000;
        if since_ms < SAVE_REPORT_MS_MIN {
            return;
        }
        let Progress { percent, bytes_per_s, eta_s } = report.progress();
        if since_ms < SAVE_REPORT_MS && percent < self.said_percent + SAVE_REPORT_PERCENT {
            return;
        }
        (self.said_ns, self.said_percent) = (now, percent);
        let keys = report.keys_done.load(Relaxed);
        tracing::info!(
            "snapshot: {percent:.0} %, {keys} keys, {} bytes, {bytes_per_s} bytes/s, \
             {eta_s} s left",
            self.written
        );
    }
}

impl Saving {
    /// Sleeps for so long; false, at once, if somebody waits for the snapshot to end.
    fn nap(&self, ms: u64) -> bool {
        let wanted = self.lock();
        if wanted.is_urgent() || self.is_behind() {
            return false;
        }
        let waited = self.bell.wait_timeout(wanted, Duration::from_millis(ms));
        let wanted = waited.unwrap_or_else(PoisonError::into_inner).0;
        !wanted.is_urgent() && !self.is_behind()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn progress_is_told_by_what_is_done_of_what_there_was() {
        let progress = Progress::of(2_000_000_000, 25, 100, 5000);
        assert_eq!(progress, Progress { percent: 25.0, bytes_per_s: 2500, eta_s: 6 });
        assert_eq!(Progress::of(1, 0, 0, 0).percent, 0.0);
        assert_eq!(Progress::of(1, 0, 100, 0).eta_s, 0, "nothing is known yet");
        assert_eq!(Progress::of(1_000_000, 300, 100, 0).percent, 99.0, "the data has grown");
    }
}
