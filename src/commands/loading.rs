//! How far a start has read the data that is on disk.
//!
//! ```text
//!   bytes that lie ahead: the snapshot | what of the log comes after it
//!   bytes that are read:  |=========================>                  |
//! ```
//!
//! Clients that come early are told the percentage; INFO and the line on the terminal show it all.

use crate::sys::clock;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

/// The progress of a start.
#[derive(Default)]
pub struct Loading {
    is_on: AtomicBool,
    began_s: AtomicU64,
    began_ns: AtomicU64,
    total: AtomicU64,
    loaded: AtomicU64,
}

/// What can be told of it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct LoadProgress {
    /// When it began, s since 1970.
    pub began_s: u64,
    /// Bytes that were to be read; more may turn out to be.
    pub total_bytes: u64,
    /// Bytes that are read.
    pub loaded_bytes: u64,
    /// The same in per cent, below 100.
    pub percent: f64,
    /// Bytes read in a second.
    pub bytes_per_s: u64,
    /// Seconds that it will still take at this speed.
    pub eta_s: u64,
}

impl Loading {
    /// Clients are not served from now on.
    pub fn begin(&self) {
        self.began_s.store(clock::wall_ms() / 1000, Ordering::Relaxed);
        self.began_ns.store(clock::monotonic_ns(), Ordering::Relaxed);
        // Release: pairs with the Acquire in `is_on`.
        self.is_on.store(true, Ordering::Release);
    }

    /// The data is in memory.
    pub fn end(&self) {
        // Release: pairs with the Acquire in `is_on`: who sees it sees the data.
        self.is_on.store(false, Ordering::Release);
    }

    /// True until the data on disk is in memory.
    #[inline]
    pub fn is_on(&self) -> bool {
        // Acquire: pairs with the Release in `end`.
        self.is_on.load(Ordering::Acquire)
    }

    /// All in all `bytes` are to be read, and none is yet: the first file, or another after that
    /// one turned out to be damaged.
    pub fn expect(&self, bytes: u64) {
        self.loaded.store(0, Ordering::Relaxed);
        self.total.store(bytes, Ordering::Relaxed);
    }

    /// The rest, behind what is read already, is `bytes` long.
    pub fn expect_rest(&self, bytes: u64) {
        self.total.store(self.loaded.load(Ordering::Relaxed) + bytes, Ordering::Relaxed);
    }

    /// Counts the bytes that are read.
    pub fn loaded(&self) -> &AtomicU64 {
        &self.loaded
    }

    /// How far it is.
    pub fn progress(&self) -> LoadProgress {
        let elapsed_ns =
            clock::monotonic_ns().saturating_sub(self.began_ns.load(Ordering::Relaxed));
        let elapsed_s = elapsed_ns.max(1) as f64 / 1e9;
        let total_bytes = self.total.load(Ordering::Relaxed);
        let loaded_bytes = self.loaded.load(Ordering::Relaxed).min(total_bytes);
        let bytes_per_s = (loaded_bytes as f64 / elapsed_s) as u64;
        LoadProgress {
            began_s: self.began_s.load(Ordering::Relaxed),
            total_bytes,
            loaded_bytes,
            percent: (loaded_bytes as f64 * 100.0 / total_bytes.max(1) as f64).min(99.99),
            bytes_per_s,
            eta_s: (total_bytes - loaded_bytes).div_ceil(bytes_per_s.max(1)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_read_is_told_of_what_is_known_to_come() {
        let loading = Loading::default();
        assert!(!loading.is_on());
        loading.begin();
        assert!(loading.is_on());
        assert_eq!(loading.progress().percent, 0.0, "nothing is known to come yet");
        loading.expect(1000);
        loading.loaded().fetch_add(250, Ordering::Relaxed);
        let progress = loading.progress();
        assert_eq!((progress.loaded_bytes, progress.total_bytes), (250, 1000));
        assert_eq!(progress.percent, 25.0);
        loading.expect_rest(250);
        assert_eq!(loading.progress().percent, 50.0, "the log is shorter than it seemed");
        loading.loaded().fetch_add(900, Ordering::Relaxed);
        let progress = loading.progress();
        assert!(progress.loaded_bytes == 500 && progress.percent < 100.0);
        assert_eq!(progress.eta_s, 0);
        loading.end();
        assert!(!loading.is_on());
    }
}
