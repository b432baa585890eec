//! Time to record a latency, as the client of `dse-bench` and the statistics of commands do, and
//! to read percentiles. `cargo bench --bench histogram`.

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use dse::util::rng::SplitMix64;
use hdrhistogram::Histogram;
use std::hint::black_box;

/// Values recorded in one measured step.
const VALUES: usize = 1024;

/// Latencies in ns around 100 us with a long tail, as a load on loopback has them.
fn latencies() -> Vec<u64> {
    let mut rng = SplitMix64::new(3);
    let tail = |rng: &mut SplitMix64| (1.0 / (1.0 - rng.next_f64())).min(1e4);
    (0..VALUES).map(|_| (60_000.0 * tail(&mut rng)) as u64).collect()
}

fn bench(c: &mut Criterion) {
    let latencies = latencies();
    let mut group = c.benchmark_group("histogram");
    group.throughput(Throughput::Elements(VALUES as u64));
    for digits in [2, 3] {
        let empty = Histogram::<u64>::new_with_bounds(1, 3_600_000_000_000, digits);
        let mut histogram = empty.expect("the bounds are in order");
        group.bench_function(format!("record/{digits}_digits"), |b| {
            b.iter(|| {
                black_box(&latencies).iter().for_each(|ns| histogram.saturating_record(*ns));
            });
        });
        group.bench_function(format!("record_n/{digits}_digits"), |b| {
            b.iter(|| {
                let values = black_box(&latencies).iter();
                values.for_each(|ns| histogram.saturating_record_n(*ns, 16));
            });
        });
    }
    group.finish();
    let mut histogram = Histogram::<u64>::new_with_bounds(1, 3_600_000_000_000, 3)
        .expect("the bounds are in order");
    latencies.iter().for_each(|ns| histogram.saturating_record(*ns));
    c.bench_function("histogram/p99_99", |b| {
        b.iter(|| histogram.value_at_quantile(black_box(0.9999)));
    });
}

criterion_group!(benches, bench);
criterion_main!(benches);
