//! Benches in process: no network, no log, only tables and threads.

pub mod maps;
pub mod read_compare;
pub mod throughput;

use crate::sys::clock::monotonic_ns;
use std::sync::Barrier;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::Duration;

/// Runs `work(thread, stop)` on every thread until `time` is over; each returns how many
/// operations it did. Returns operations a second, all threads together.
///
/// No counter is shared while they run: each thread keeps its own.
fn timed(threads: usize, time: Duration, work: impl Fn(usize, &AtomicBool) -> u64 + Sync) -> f64 {
    // Relaxed: it says that time is over, and publishes nothing.
    let stop = AtomicBool::new(false);
    let go = Barrier::new(threads + 1);
    let (mut began, mut ended) = (0, 0);
    let count: u64 = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..threads)
            .map(|thread| {
                let (go, stop, work) = (&go, &stop, &work);
                scope.spawn(move || {
                    go.wait();
                    work(thread, stop)
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
        let count = counts.sum();
        ended = monotonic_ns();
        count
    });
    count as f64 * 1e9 / (ended - began).max(1) as f64
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
