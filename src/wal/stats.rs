//! Numbers of the log, for INFO and LATENCY.

use hdrhistogram::Histogram;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Mutex, PoisonError};

/// Counts and histograms of a log.
pub struct LogStats {
    /// Bytes written, padding included.
    pub bytes: AtomicU64,
    /// Records written.
    pub records: AtomicU64,
    /// Commits written.
    pub commits: AtomicU64,
    /// Writes and syncs that failed.
    pub errors: AtomicU64,
    histograms: Mutex<LogHistograms>,
}

/// Distributions.
#[derive(Clone)]
pub struct LogHistograms {
    /// Microseconds that a write took (with `always` until it was durable).
    pub write_us: Histogram<u64>,
    /// Microseconds that a sync of its own took.
    pub sync_us: Histogram<u64>,
    /// Records of a commit.
    pub batch: Histogram<u64>,
}

/// Two digits are exact; values up to an hour of microseconds.
const HIGHEST: u64 = 3_600_000_000;

impl Default for LogStats {
    fn default() -> LogStats {
        // The bounds are constants that the library takes.
        let make = || Histogram::new_with_bounds(1, HIGHEST, 2).unwrap_or_else(|_| unreachable!());
        let histograms = LogHistograms { write_us: make(), sync_us: make(), batch: make() };
        LogStats {
            bytes: AtomicU64::new(0),
            records: AtomicU64::new(0),
            commits: AtomicU64::new(0),
            errors: AtomicU64::new(0),
            histograms: Mutex::new(histograms),
        }
    }
}

impl LogStats {
    pub(super) fn wrote(&self, bytes: u64, records: u64, took_ns: u64) {
        self.bytes.fetch_add(bytes, Relaxed);
        self.records.fetch_add(records, Relaxed);
        self.commits.fetch_add(1, Relaxed);
        let mut histograms = self.histograms.lock().unwrap_or_else(PoisonError::into_inner);
        histograms.write_us.saturating_record(took_ns / 1000);
        if records > 0 {
            histograms.batch.saturating_record(records);
        }
    }

    pub(super) fn synced(&self, took_ns: u64) {
        let mut histograms = self.histograms.lock().unwrap_or_else(PoisonError::into_inner);
        histograms.sync_us.saturating_record(took_ns / 1000);
    }

    /// The distributions so far.
    pub fn histograms(&self) -> LogHistograms {
        self.histograms.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}
