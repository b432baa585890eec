//! The table against a hash map: GET one at a time and in batches of 16 with prefetch, GET of
//! absent keys, SET of present keys. 1M keys of 16 bytes, values of 64 bytes.
//!
//! `cargo bench --bench table`. Each figure is the CPU time of 16 operations together.

use criterion::measurement::{Measurement, ValueFormatter, WallTime};
use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use dse::store::{Hint, Key, Pin, Store, Value};
use dse::sync::reclaim;
use dse::sys::clock::thread_cpu_ns;
use dse::util::rng::SplitMix64;
use std::collections::HashMap;
use std::hint::black_box;

const KEYS: u64 = 1_000_000;
const BATCH: usize = 16;
const VALUE: [u8; 64] = [b'v'; 64];

type Name = [u8; 16];

fn name(number: u64) -> Name {
    let text = format!("key:{number:012}");
    text.as_bytes().try_into().expect("16 bytes")
}

fn filled() -> Store {
    let store = Store::new(1);
    for number in 0..KEYS {
        set(&store, &name(number));
    }
    store
}

fn set(store: &Store, name: &[u8]) {
    let key = store.key(name);
    store.lock_one(key.shard()).put(0, &key, Value::Str(&VALUE), None);
}

/// Random key names, laid out one behind the other as in a read buffer.
fn names(first: u64) -> Vec<Name> {
    let mut rng = SplitMix64::new(2);
    (0..KEYS).map(|_| name(first + rng.below(KEYS))).collect()
}

/// Keys with their hints, after the first two steps of a lookup.
type Steps<'a> = [(Key<'a>, Hint<'a>); BATCH];

fn begin<'a>(store: &Store, pin: &'a Pin, names: &'a [Name]) -> Steps<'a> {
    let mut steps = std::array::from_fn(|index| {
        let key = store.key(&names[index]);
        (key, store.locate(pin, 0, &key))
    });
    steps.iter_mut().for_each(|(_, hint)| hint.approach());
    steps
}

fn batched(store: &Store, names: &[Name]) -> usize {
    let pin = reclaim::pin();
    let steps = begin(store, &pin, names);
    let found = steps.iter().filter_map(|(key, hint)| store.get_hinted(&pin, 0, key, hint));
    found.map(|entry| entry.value().len()).sum()
}

fn one_by_one(store: &Store, names: &[Name]) -> usize {
    let get = |name: &Name| {
        let pin = reclaim::pin();
        store.get(&pin, 0, &store.key(name)).map_or(0, |entry| entry.value().len())
    };
    names.iter().map(get).sum()
}

fn set_batch(store: &Store, names: &[Name]) {
    let pin = reclaim::pin();
    for (key, hint) in &begin(store, &pin, names) {
        let mut held = store.lock_one(key.shard());
        held.set_hint(hint);
        held.put(0, key, Value::Str(&VALUE), None);
    }
}

fn consume(sum: usize) {
    black_box(sum);
}

fn bench(c: &mut Criterion<CpuTime>) {
    let store = filled();
    let (present, absent) = (names(0), names(KEYS));
    let mut group = c.benchmark_group("table");
    group.throughput(Throughput::Elements(BATCH as u64));
    let mut run = |name: &str, names: &[Name], work: &dyn Fn(&[Name])| {
        let mut batches = names.chunks_exact(BATCH).cycle();
        group.bench_function(name, |b| b.iter(|| batches.next().map(work)));
    };
    run("get/batch16", &present, &|names| consume(batched(&store, names)));
    run("get/one", &present, &|names| consume(one_by_one(&store, names)));
    run("miss/batch16", &absent, &|names| consume(batched(&store, names)));
    run("set/batch16", &present, &|names| set_batch(&store, names));
    run("set/one", &present, &|names| names.iter().for_each(|name| set(&store, name)));
    drop(store);
    let mut map: HashMap<Vec<u8>, Vec<u8>, foldhash::quality::RandomState> = HashMap::default();
    map.extend((0..KEYS).map(|number| (name(number).to_vec(), VALUE.to_vec())));
    run("get/hashbrown", &present, &|names| {
        let found = names.iter().filter_map(|name| map.get(&name[..]));
        consume(found.map(|value| usize::from(value[0])).sum());
    });
}

/// CPU time of the thread, so that a busy machine does not count.
struct CpuTime;

impl Measurement for CpuTime {
    type Intermediate = u64;
    type Value = u64;

    fn start(&self) -> u64 {
        thread_cpu_ns()
    }
    fn end(&self, start: u64) -> u64 {
        thread_cpu_ns() - start
    }
    fn add(&self, first: &u64, second: &u64) -> u64 {
        first + second
    }
    fn zero(&self) -> u64 {
        0
    }
    fn to_f64(&self, nanoseconds: &u64) -> f64 {
        *nanoseconds as f64
    }
    fn formatter(&self) -> &dyn ValueFormatter {
        WallTime.formatter()
    }
}

criterion_group! {
    name = benches;
    config = Criterion::default().with_measurement(CpuTime);
    targets = bench
}
criterion_main!(benches);
