//! One run: threads start together, a window is measured, figures come back.
//!
//! ```text
//!   connect, fill   | warm-up        | window                          | drain
//!             ready--go           start_ns                          end (time or count)
//!                                    ^ server's processor time          ^ and again
//! ```

use super::process::{CpuTime, ServerProcess};
use super::target::Target;
use super::worker::{Tally, Worker, latency_histogram};
use crate::bench::error::BenchError;
use crate::bench::load::builder::Op;
use crate::bench::load::keys::Keys;
use crate::bench::load::template::Tag;
use crate::sys::affinity;
use crate::sys::clock::monotonic_ns;
use crossbeam_utils::CachePadded;
use hdrhistogram::Histogram;
use std::sync::Barrier;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize};
use std::thread;
use std::time::Duration;

/// How often progress is shown.
const PROGRESS_EVERY: Duration = Duration::from_millis(100);

/// A place that connections lead to.
#[derive(Clone, Debug)]
pub struct Node {
    /// Where it is.
    pub target: Target,
    /// Hash tags of its slots, in cluster mode.
    pub tags: Vec<Tag>,
}

/// How much is done.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Amount {
    /// This many requests.
    Requests(u64),
    /// As many as this time allows.
    Time(Duration),
}

/// How replies are verified.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Verify {
    /// Numbers that are divided among the connections.
    pub key_space: u64,
    /// Bytes of a value.
    pub value_bytes: usize,
}

/// A run, all told.
#[derive(Clone, Debug)]
pub struct Plan {
    /// Where connections lead, in turn; one at least.
    pub nodes: Vec<Node>,
    /// Connections.
    pub clients: usize,
    /// Client threads; not more than connections.
    pub threads: usize,
    /// Requests that a connection has under way at most.
    pub pipeline: usize,
    /// What is sent.
    pub ops: Vec<Op>,
    /// Which numbers go into it.
    pub keys: Keys,
    /// How much of it.
    pub amount: Amount,
    /// How long it runs before it counts.
    pub warmup: Duration,
    /// Requests a second, of all connections; as fast as possible without it.
    pub rate: Option<f64>,
    /// Check every reply against a model.
    pub verify: Option<Verify>,
    /// Close and connect again after each batch.
    pub reconnect: bool,
    /// Processors that the client threads are kept on.
    pub cpus: Vec<usize>,
    /// Where chance begins.
    pub seed: u64,
    /// A server that answers nothing for so long has failed.
    pub silence: Duration,
}

/// What a run gave.
#[derive(Clone, Debug)]
pub struct Outcome {
    /// Latencies of the requests in the window, ns.
    pub histogram: Histogram<u64>,
    /// Length of the window, ns.
    pub window_ns: u64,
    /// Replies that were errors.
    pub errors: u64,
    /// Replies that were not what the model has.
    pub wrong: u64,
    /// The first of either, in words.
    pub first: Option<String>,
    /// Bytes received and sent.
    pub bytes: (u64, u64),
    /// Processor time of the client threads, ns.
    pub client_cpu_ns: u64,
    /// Processor time of the server in the window, ns, if it can be seen.
    pub server_cpu_ns: Option<u64>,
    /// Resident memory of the server after the run, bytes, if it can be seen.
    pub server_rss_bytes: Option<u64>,
}

impl Outcome {
    /// Requests in the window.
    pub fn requests(&self) -> u64 {
        self.histogram.len()
    }

    /// Requests a second.
    pub fn rps(&self) -> f64 {
        self.requests() as f64 * 1e9 / self.window_ns.max(1) as f64
    }
}

/// What the threads of a run share.
pub(super) struct Shared {
    /// All have connected.
    ready: Barrier,
    /// `start_ns` is set.
    go: Barrier,
    /// When the load begins. Relaxed like the next one: the barrier makes it visible.
    pub began_ns: AtomicU64,
    /// When the window begins.
    pub start_ns: AtomicU64,
    /// Requests that nobody has claimed. Relaxed: a count that publishes nothing.
    left: AtomicU64,
    /// One has failed, so all should end. Relaxed: sooner or later is soon enough.
    pub stop: AtomicBool,
    /// Requests done by each thread, for the progress. Relaxed: old numbers do no harm.
    pub done: Vec<CachePadded<AtomicU64>>,
    finished: AtomicUsize,
}

impl Shared {
    fn new(plan: &Plan) -> Shared {
        let left = match plan.amount {
            Amount::Requests(count) => count,
            Amount::Time(_) => u64::MAX,
        };
        Shared {
            ready: Barrier::new(plan.threads + 1),
            go: Barrier::new(plan.threads + 1),
            began_ns: AtomicU64::new(0),
            start_ns: AtomicU64::new(0),
            left: AtomicU64::new(left),
            stop: AtomicBool::new(false),
            done: (0..plan.threads).map(|_| CachePadded::default()).collect(),
            finished: AtomicUsize::new(0),
        }
    }

    /// Takes up to `wanted` requests of those that are left.
    #[inline]
    pub(super) fn claim(&self, wanted: usize) -> usize {
        let wanted = wanted as u64;
        let mut left = self.left.load(Relaxed);
        loop {
            let some = wanted.min(left);
            // Without a limit there is nothing to count.
            if some == 0 || left == u64::MAX {
                return some as usize;
            }
            match self.left.compare_exchange_weak(left, left - some, Relaxed, Relaxed) {
                Ok(_) => return some as usize,
                Err(now) => left = now,
            }
        }
    }
}

/// A histogram as runs have them: nanoseconds, to three digits.
pub fn empty_histogram() -> Histogram<u64> {
    latency_histogram()
}

/// Runs `plan`. `progress` is told now and then how many requests are done.
pub fn run(
    plan: &Plan,
    process: &ServerProcess,
    progress: &mut dyn FnMut(u64),
) -> Result<Outcome, BenchError> {
    let shared = Shared::new(plan);
    let main = thread::current();
    thread::scope(|scope| {
        let threads: Vec<_> = (0..plan.threads)
            .map(|index| {
                let (shared, main) = (&shared, main.clone());
                scope.spawn(move || {
                    let result = one_thread(plan, shared, index);
                    // Release: pairs with the Acquire in `watch`; what was seen is complete.
                    shared.finished.fetch_add(1, std::sync::atomic::Ordering::Release);
                    main.unpark();
                    result
                })
            })
            .collect();
        let cpu = watch(plan, process, &shared, progress);
        let mut tallies = Vec::new();
        for thread in threads {
            match thread.join() {
                Ok(tally) => tallies.push(tally?),
                Err(panic) => std::panic::resume_unwind(panic),
            }
        }
        Ok(outcome(plan, &shared, process, tallies, cpu))
    })
}

fn one_thread(plan: &Plan, shared: &Shared, index: usize) -> Result<Tally, BenchError> {
    if let Some(&cpu) = plan.cpus.get(index % plan.cpus.len().max(1)) {
        // Where it cannot be pinned it runs anyway; the processor time tells.
        _ = affinity::pin_current_thread(cpu);
    }
    let worker = Worker::prepare(plan, shared, index);
    if worker.is_err() {
        shared.stop.store(true, Relaxed);
    }
    shared.ready.wait();
    shared.go.wait();
    let result = worker.and_then(Worker::run);
    if result.is_err() {
        shared.stop.store(true, Relaxed);
    }
    result
}

/// Starts the window, waits for its end, and takes the server's processor time in between.
fn watch(
    plan: &Plan,
    process: &ServerProcess,
    shared: &Shared,
    progress: &mut dyn FnMut(u64),
) -> Option<u64> {
    shared.ready.wait();
    let began_ns = monotonic_ns();
    let start_ns = began_ns + plan.warmup.as_nanos() as u64;
    shared.began_ns.store(began_ns, Relaxed);
    shared.start_ns.store(start_ns, Relaxed);
    let before = plan.warmup.is_zero().then(|| process.cpu());
    shared.go.wait();
    let before = before.unwrap_or_else(|| {
        wait_until(start_ns, plan, shared, &mut |_| {});
        process.cpu()
    });
    let end_ns = match plan.amount {
        Amount::Time(time) => start_ns + time.as_nanos() as u64,
        Amount::Requests(_) => u64::MAX,
    };
    wait_until(end_ns, plan, shared, progress);
    CpuTime::between(&before?, &process.cpu()?)
}

fn wait_until(end_ns: u64, plan: &Plan, shared: &Shared, progress: &mut dyn FnMut(u64)) {
    // Acquire: pairs with the Release of a thread that has finished.
    while shared.finished.load(std::sync::atomic::Ordering::Acquire) < plan.threads {
        let left = Duration::from_nanos(end_ns.saturating_sub(monotonic_ns()));
        if left.is_zero() {
            return;
        }
        thread::park_timeout(left.min(PROGRESS_EVERY));
        progress(shared.done.iter().map(|done| done.load(Relaxed)).sum());
    }
}

fn outcome(
    plan: &Plan,
    shared: &Shared,
    process: &ServerProcess,
    tallies: Vec<Tally>,
    server_cpu_ns: Option<u64>,
) -> Outcome {
    let mut histogram = latency_histogram();
    let start_ns = shared.start_ns.load(Relaxed);
    let last_ns = tallies.iter().map(|tally| tally.last_reply_ns).max().unwrap_or(0);
    let window_ns = match plan.amount {
        Amount::Time(time) => time.as_nanos() as u64,
        Amount::Requests(_) => last_ns.saturating_sub(start_ns).max(1),
    };
    for tally in &tallies {
        // All have the same bounds, so nothing is out of range.
        _ = histogram.add(&tally.histogram);
    }
    let sum = |of: fn(&Tally) -> u64| tallies.iter().map(of).sum();
    Outcome {
        histogram,
        window_ns,
        errors: sum(|tally| tally.errors),
        wrong: sum(|tally| tally.wrong),
        bytes: (sum(|tally| tally.bytes_in), sum(|tally| tally.bytes_out)),
        client_cpu_ns: sum(|tally| tally.cpu_ns),
        first: tallies.into_iter().find_map(|tally| tally.first),
        server_cpu_ns,
        server_rss_bytes: process.rss_bytes(),
    }
}
