//! Counters that one worker writes and anyone reads.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// One worker's counts. Only the owning worker calls the methods that add; the sum over all
/// workers is what INFO shows.
#[derive(Debug, Default)]
pub struct Tally {
    /// Reads that found a live key.
    pub hits: Count,
    /// Reads that did not.
    pub misses: Count,
    /// Keys removed because their deadline had passed.
    pub expired: Count,
    /// Keys evicted for memory.
    pub evicted: Count,
    /// Changes made to the keyspace.
    pub dirty: Count,
}

/// A number with one writer.
#[derive(Debug, Default)]
pub struct Count(AtomicU64);

impl Count {
    /// Adds `n`. One writer only, so a plain load and store suffice.
    #[inline]
    pub fn add(&self, n: u64) {
        self.0.store(self.0.load(Relaxed).wrapping_add(n), Relaxed);
    }

    /// The count now.
    pub fn get(&self) -> u64 {
        self.0.load(Relaxed)
    }

    /// Starts over (CONFIG RESETSTAT); an addition under way at the same moment may survive.
    pub fn reset(&self) {
        self.0.store(0, Relaxed);
    }
}
