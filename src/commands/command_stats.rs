//! Calls and times of each command, kept by one worker and read by anyone.

use super::table::TABLE;
use crate::engine::Count;
use hdrhistogram::Histogram;
use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

/// Longest latency a histogram distinguishes, ns: longer ones count as this (one second, as
/// Redis keeps it).
const LATENCY_NS_MAX: u64 = 1_000_000_000;

/// The numbers of one command.
#[derive(Default)]
pub struct Calls {
    /// Executions.
    pub calls: Count,
    /// Time spent, ns.
    pub time_ns: Count,
    /// Refused before execution.
    pub rejected: Count,
    /// Executions that answered an error.
    pub failed: Count,
}

/// The numbers of all commands on one worker.
pub struct CommandStats {
    calls: Box<[Calls]>,
    /// Written by the worker after each command that is timed, read by LATENCY HISTOGRAM.
    latencies: Mutex<HashMap<u16, Histogram<u32>>>,
}

impl Default for CommandStats {
    fn default() -> CommandStats {
        let calls = TABLE.iter().map(|_| Calls::default()).collect();
        CommandStats { calls, latencies: Mutex::default() }
    }
}

impl CommandStats {
    /// The numbers of the command at `row` of the table.
    #[inline]
    pub fn of(&self, row: usize) -> &Calls {
        &self.calls[row]
    }

    /// Notes how long `count` executions of a command took on average.
    pub fn record(&self, row: usize, time_ns: u64, count: u64) {
        let mut latencies = self.latencies.lock().unwrap_or_else(PoisonError::into_inner);
        let histogram = latencies.entry(row as u16).or_insert_with(new_histogram);
        histogram.saturating_record_n(time_ns.clamp(1, LATENCY_NS_MAX), count as u32);
    }

    /// Adds the latencies of one command to `sum`.
    pub fn add_latencies(&self, row: usize, sum: &mut Histogram<u32>) {
        let latencies = self.latencies.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(histogram) = latencies.get(&(row as u16)) {
            // Both have the same range, so nothing can be out of it.
            let _ = sum.add(histogram);
        }
    }

    /// Starts over (CONFIG RESETSTAT, LATENCY RESET).
    pub fn reset(&self) {
        for calls in &self.calls {
            for count in [&calls.calls, &calls.time_ns, &calls.rejected, &calls.failed] {
                count.reset();
            }
        }
        self.latencies.lock().unwrap_or_else(PoisonError::into_inner).clear();
    }
}

/// An empty histogram of latencies in ns: two significant digits, as Redis keeps them.
pub fn new_histogram() -> Histogram<u32> {
    match Histogram::new_with_bounds(1, LATENCY_NS_MAX, 2) {
        Ok(histogram) => histogram,
        Err(error) => unreachable!("constant bounds are valid: {error:?}"),
    }
}
