//! Benches in process: no network, no log, only tables and threads.

pub mod caches;
pub mod maps;
pub mod miss_ratio;
pub mod read_compare;
pub mod throughput;

use crate::limits::BATCH_COMMANDS;
use crate::sys::clock::{monotonic_ns, thread_cpu_ns};
use std::sync::Barrier;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::Duration;

/// Largest batch of operations: what a worker of the server prefetches together.
pub const BATCH_MAX: usize = BATCH_COMMANDS;

/// What all threads together did.
#[derive(Clone, Copy, Debug)]
struct Timed {
    /// Operations a second.
    per_second: f64,
    /// Processor time of an operation: what a machine that is busy otherwise changes least.
    cpu_ns: f64,
}

/// Runs `work(thread, stop)` on every thread until `time` is over; each returns how many
/// operations it did.
///
/// No counter is shared while they run: each thread keeps its own.
fn timed(threads: usize, time: Duration, work: impl Fn(usize, &AtomicBool) -> u64 + Sync) -> Timed {
    // Relaxed: it says that time is over, and publishes nothing.
    let stop = AtomicBool::new(false);
    let go = Barrier::new(threads + 1);
    let (mut began, mut ended) = (0, 0);
    let (count, cpu_ns) = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..threads)
            .map(|thread| {
                let (go, stop, work) = (&go, &stop, &work);
                scope.spawn(move || {
                    go.wait();
                    let before = thread_cpu_ns();
                    let count = work(thread, stop);
                    (count, thread_cpu_ns() - before)
                })
            })
            .collect();
        go.wait();
        began = monotonic_ns();
        std::thread::sleep(time);
        stop.store(true, Relaxed);
        let counts = threads.into_iter().map(|thread| match thread.join() {
            Ok(count) => count,
            Err(panic) => std::panic::resume_unwind(panic),
        });
        let sums = counts.fold((0, 0), |sum, one| (sum.0 + one.0, sum.1 + one.1));
        ended = monotonic_ns();
        sums
    });
    let count = count as f64;
    let per_second = count * 1e9 / (ended - began).max(1) as f64;
    Timed { per_second, cpu_ns: cpu_ns as f64 / count.max(1.0) }
}

/// The JSON of a local bench, to a file or to standard output.
fn write_json(path: Option<&str>, value: &serde_json::Value) -> Result<(), super::BenchError> {
    match path {
        None => Ok(()),
        Some("-") => {
            super::println(&format!("{value:#}"));
            Ok(())
        }
        Some(path) => {
            std::fs::write(path, format!("{value:#}\n")).map_err(super::BenchError::file(path))
        }
    }
}
