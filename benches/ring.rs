//! The ready ring against crossbeam's `ArrayQueue`, with one and two threads at each end.
//!
//! Each end moves its share of values as fast as it can, so what is measured is the ring under
//! contention; a ring that carries ready connections is mostly quiet, which `alone` shows.
//! `line_transfer` is what a cache line takes from one core to another, for
//! `scripts/scaling_model`.
//!
//! ```text
//! cargo bench --bench ring
//! ```

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use crossbeam_queue::ArrayQueue;
use crossbeam_utils::CachePadded;
use dse::sync::ring::Ring;
use std::hint::black_box;
use std::sync::Barrier;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::{Acquire, Release};
use std::time::{Duration, Instant};

const CAPACITY: usize = 1024;
/// Values in one measured step: a thousand laps make the start of the threads negligible.
const VALUES: u64 = 1 << 20;

trait Queue: Sync {
    fn new() -> Self;
    fn push(&self, value: u64) -> bool;
    fn pop(&self) -> Option<u64>;
}

impl Queue for Ring {
    fn new() -> Ring {
        Ring::with_capacity(CAPACITY)
    }
    fn push(&self, value: u64) -> bool {
        Ring::push(self, value).is_ok()
    }
    fn pop(&self) -> Option<u64> {
        Ring::pop(self)
    }
}

impl Queue for ArrayQueue<u64> {
    fn new() -> ArrayQueue<u64> {
        ArrayQueue::new(CAPACITY)
    }
    fn push(&self, value: u64) -> bool {
        ArrayQueue::push(self, value).is_ok()
    }
    fn pop(&self) -> Option<u64> {
        ArrayQueue::pop(self)
    }
}

/// Time in which `ends` pushers and as many poppers move `VALUES` values.
fn transfer<Q: Queue>(ends: u64) -> Duration {
    let queue = Q::new();
    let share = VALUES / ends;
    let ready = Barrier::new(2 * ends as usize + 1);
    std::thread::scope(|scope| {
        for _ in 0..ends {
            scope.spawn(|| {
                ready.wait();
                for value in 0..share {
                    while !queue.push(value) {
                        std::thread::yield_now();
                    }
                }
            });
            scope.spawn(|| {
                ready.wait();
                for _ in 0..share {
                    while black_box(queue.pop()).is_none() {
                        std::thread::yield_now();
                    }
                }
            });
        }
        ready.wait();
        Instant::now()
    })
    .elapsed()
}

/// Time in which a line goes `turns` times from one core to another and back.
fn ping_pong(turns: u64) -> Duration {
    let line = CachePadded::new(AtomicU64::new(0));
    let turn = |mine: u64| {
        for round in 0..turns {
            while line.load(Acquire) != 2 * round + mine {
                std::hint::spin_loop();
            }
            line.store(2 * round + mine + 1, Release);
        }
    };
    std::thread::scope(|scope| {
        scope.spawn(|| turn(1));
        let begun = Instant::now();
        turn(0);
        begun.elapsed()
    })
}

fn line_transfer(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("ring");
    group.throughput(Throughput::Elements(2)).sample_size(10);
    group.bench_function("line_transfer", |bencher| bencher.iter_custom(ping_pong));
    group.finish();
}

fn contended(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("ring");
    group.throughput(Throughput::Elements(VALUES)).sample_size(10);
    for ends in [1, 2] {
        let threads = format!("{ends}x{ends}");
        group.bench_function(BenchmarkId::new("ours", &threads), |bencher| {
            bencher.iter_custom(|steps| (0..steps).map(|_| transfer::<Ring>(ends)).sum());
        });
        group.bench_function(BenchmarkId::new("array_queue", &threads), |bencher| {
            bencher
                .iter_custom(|steps| (0..steps).map(|_| transfer::<ArrayQueue<u64>>(ends)).sum());
        });
    }
    group.finish();
}

fn alone(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("ring");
    group.throughput(Throughput::Elements(1));
    let (ours, theirs) = (Ring::new(), <ArrayQueue<u64> as Queue>::new());
    group.bench_function("ours/alone", |bencher| {
        bencher.iter(|| Queue::push(&ours, black_box(1)).then(|| Queue::pop(&ours)));
    });
    group.bench_function("array_queue/alone", |bencher| {
        bencher.iter(|| Queue::push(&theirs, black_box(1)).then(|| Queue::pop(&theirs)));
    });
    group.finish();
}

criterion_group!(benches, alone, contended, line_transfer);
criterion_main!(benches);
