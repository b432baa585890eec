//! The ready ring against crossbeam's `ArrayQueue`, with one and two threads at each end.
//!
//! Each end moves its share of values as fast as it can, so what is measured is the ring under
//! contention; a ring that carries ready connections is mostly quiet, which `alone` shows.
//!
//! ```text
//! cargo bench --bench ring
//! ```

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use crossbeam_queue::ArrayQueue;
use dse::sync::ring::Ring;
use std::hint::black_box;
use std::sync::Barrier;
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

criterion_group!(benches, alone, contended);
criterion_main!(benches);
