//! Calls and times of each command, kept by one worker and read by anyone.

use super::table::TABLE;
use crate::engine::Count;
use hdrhistogram::Histogram;
use std::sync::{LazyLock, Mutex, MutexGuard, PoisonError};

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

/// A command, or a sub-command of one, among all that are counted apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place(u16);

/// All that is counted apart: each command, and behind it its sub-commands.
struct Places {
    names: Vec<String>,
    /// The place of the command at each row of the table.
    of_row: Vec<u16>,
}

static PLACES: LazyLock<Places> = LazyLock::new(|| {
    let mut places = Places { names: Vec::new(), of_row: Vec::new() };
    for row in TABLE.iter() {
        places.of_row.push(places.names.len() as u16);
        places.names.push(row.name.to_string());
        for sub in row.subs {
            places.names.push(format!("{}|{}", row.name, sub.name));
        }
    }
    places
});

impl Place {
    /// The place of the command at `row`, or of its sub-command number `sub`.
    #[inline]
    pub fn new(row: usize, sub: Option<usize>) -> Place {
        Place(PLACES.of_row[row] + sub.map_or(0, |sub| sub as u16 + 1))
    }

    /// The name as INFO shows it.
    pub fn name(self) -> &'static str {
        &PLACES.names[self.0 as usize]
    }

    /// The place of this number (see [`Place::number`]), if there is one.
    pub fn numbered(number: u16) -> Option<Place> {
        ((number as usize) < PLACES.names.len()).then_some(Place(number))
    }

    /// Counts from 0.
    pub fn number(self) -> u16 {
        self.0
    }

    /// All places.
    pub fn all() -> impl Iterator<Item = Place> {
        (0..PLACES.names.len() as u16).map(Place)
    }
}

/// The numbers of all commands on one worker.
pub struct CommandStats {
    calls: Box<[Calls]>,
    /// Written by the worker after each batch, read by LATENCY HISTOGRAM and INFO.
    latencies: Mutex<Vec<Option<Box<Histogram<u32>>>>>,
}

impl Default for CommandStats {
    fn default() -> CommandStats {
        let calls = Place::all().map(|_| Calls::default()).collect();
        CommandStats { calls, latencies: Mutex::default() }
    }
}

impl CommandStats {
    /// The numbers of one command.
    #[inline]
    pub fn of(&self, place: Place) -> &Calls {
        &self.calls[place.0 as usize]
    }

    /// Notes how long commands took, in ns. Reads in a row are taken to have lasted equally long,
    /// and are noted as one.
    pub fn record(&self, times: &[(Place, u64)]) {
        let mut latencies = self.lock();
        if latencies.is_empty() {
            latencies.resize_with(self.calls.len(), || None);
        }
        for alike in times.chunk_by(|one, other| one == other) {
            let (place, time_ns) = alike[0];
            let histogram =
                latencies[place.0 as usize].get_or_insert_with(|| Box::new(new_histogram()));
            histogram.saturating_record_n(time_ns.clamp(1, LATENCY_NS_MAX), alike.len() as u32);
        }
    }

    /// Adds the latencies of one command to `sum`.
    pub fn add_latencies(&self, place: Place, sum: &mut Histogram<u32>) {
        if let Some(Some(histogram)) = self.lock().get(place.0 as usize) {
            // Both have the same range, so nothing can be out of it.
            let _ = sum.add(&**histogram);
        }
    }

    /// Starts over (CONFIG RESETSTAT).
    pub fn reset(&self) {
        for calls in &self.calls {
            for count in [&calls.calls, &calls.time_ns, &calls.rejected, &calls.failed] {
                count.reset();
            }
        }
        self.lock().clear();
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Option<Box<Histogram<u32>>>>> {
        self.latencies.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// An empty histogram of latencies in ns: two significant digits, as Redis keeps them.
pub fn new_histogram() -> Histogram<u32> {
    match Histogram::new_with_bounds(1, LATENCY_NS_MAX, 2) {
        Ok(histogram) => histogram,
        Err(error) => unreachable!("constant bounds are valid: {error:?}"),
    }
}
