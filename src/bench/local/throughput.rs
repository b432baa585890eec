//! The mixed load in process: of each eight operations six GET and two SET, over ten thousand
//! keys, `key0` to `key9999`, on several threads.
//!
//! Operations come in batches, as requests of a pipeline do: all keys of a batch are hashed and
//! prefetched, then its operations are executed in order. A batch of 1 is one at a time.

use super::{BATCH_MAX, Timed, timed, write_json};
use crate::bench::error::BenchError;
use crate::bench::machine;
use crate::bench::progress::println;
use crate::store::{Hint, Key, Store, Value};
use crate::sync::reclaim;
use crate::util::rng::SplitMix64;
use serde_json::json;
use std::hint::black_box;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::Duration;

/// Keys of the load.
const KEYS: u64 = 10_000;
/// Of so many operations ...
const GROUP: usize = 8;
/// ... so many are writes.
const WRITES: usize = 2;
/// Bytes of the longest key, `key9999`.
const KEY_BYTES: usize = 7;
/// Batches between two steps of reclamation, as a worker of the server makes them.
const COLLECT_EVERY: u64 = 1024;

/// How the load is run.
#[derive(Clone, Debug)]
pub struct MixOptions {
    /// Threads.
    pub threads: usize,
    /// How long each batch size is run.
    pub time: Duration,
    /// Bytes of a value.
    pub data_bytes: usize,
    /// Sizes of batches, in turn.
    pub batches: Vec<usize>,
    /// Figures only.
    pub quiet: bool,
    /// Where the figures go as JSON.
    pub json: Option<String>,
}

/// Names of keys, rendered: length and bytes.
struct Names(Vec<[u8; KEY_BYTES + 1]>);

impl Names {
    fn new() -> Names {
        let name = |number| {
            let mut name = [0; KEY_BYTES + 1];
            let text = format!("key{number}");
            name[0] = text.len() as u8;
            name[1..=text.len()].copy_from_slice(text.as_bytes());
            name
        };
        Names((0..KEYS).map(name).collect())
    }

    #[inline]
    fn get(&self, number: u64) -> &[u8] {
        let name = &self.0[number as usize];
        &name[1..=usize::from(name[0])]
    }
}

/// Runs the load and prints operations a second.
pub fn mix(options: &MixOptions) -> Result<(), BenchError> {
    let names = Names::new();
    let store = Store::new(1);
    let value = vec![b'v'; options.data_bytes];
    for number in 0..KEYS {
        set(&store, &store.key(names.get(number)), &value);
    }
    let mut figures = Vec::new();
    for &batch in &options.batches {
        let Timed { per_second: ops, cpu_ns } =
            timed(options.threads, options.time, |thread, stop| {
                one_thread(&store, &names, &value, thread, batch, stop)
            });
        let line = format!(
            "throughput, {} threads, batches of {batch}: {:.2} M operations/s, {cpu_ns:.0} ns of \
             processor time each (6 GET, 2 SET of 8; {KEYS} keys, values of {} B)",
            options.threads,
            ops / 1e6,
            options.data_bytes
        );
        println(&if options.quiet { format!("{ops:.0}") } else { line });
        figures.push(json!({
            "batch": batch,
            "operations_per_second": ops,
            "cpu_ns": cpu_ns,
        }));
    }
    let limbo = reclaim::limbo_bytes();
    let document = json!({
        "bench": "throughput",
        "began": machine::now(),
        "machine": machine::describe(),
        "threads": options.threads,
        "seconds": options.time.as_secs_f64(),
        "keys": KEYS,
        "data_bytes": options.data_bytes,
        "limbo_bytes": limbo,
        "figures": figures,
    });
    write_json(options.json.as_deref(), &document)
}

fn set(store: &Store, key: &Key<'_>, value: &[u8]) {
    store.lock_one(key.shard()).put(0, key, Value::Str(value), None);
}

fn one_thread(
    store: &Store,
    names: &Names,
    value: &[u8],
    thread: usize,
    batch: usize,
    stop: &AtomicBool,
) -> u64 {
    let mut rng = SplitMix64::new(thread as u64 + 1);
    let (mut count, mut batches, mut at, mut sum) = (0, 0u64, 0, 0);
    let mut numbers = [0; BATCH_MAX];
    while !stop.load(Relaxed) {
        let numbers = &mut numbers[..batch.min(BATCH_MAX)];
        numbers.fill_with(|| rng.below(KEYS));
        sum += one_batch(store, names, value, numbers, &mut at);
        count += numbers.len() as u64;
        batches += 1;
        if batches.is_multiple_of(COLLECT_EVERY) {
            reclaim::collect();
        }
    }
    black_box(sum);
    reclaim::flush();
    count
}

/// Executes one batch; `at` says where in the group of eight it begins.
#[inline]
fn one_batch(store: &Store, names: &Names, value: &[u8], numbers: &[u64], at: &mut usize) -> usize {
    let pin = reclaim::pin();
    let mut sum = 0;
    let mut execute = |key: &Key<'_>, hint: &Hint<'_>| {
        // The writes are the last of each group.
        if *at % GROUP >= GROUP - WRITES {
            let mut held = store.lock_one(key.shard());
            held.set_hint(hint);
            held.put(0, key, Value::Str(value), None);
        } else if let Some(entry) = store.get_hinted(&pin, 0, key, hint) {
            sum += entry.value().len();
        }
        *at += 1;
    };
    if let [number] = numbers {
        execute(&store.key(names.get(*number)), &Hint::default());
        return sum;
    }
    let first = store.key(names.get(0));
    let mut steps = [(first, Hint::default()); BATCH_MAX];
    for ((key, hint), number) in steps.iter_mut().zip(numbers) {
        *key = store.key(names.get(*number));
        *hint = store.locate(&pin, 0, key);
    }
    let steps = &mut steps[..numbers.len()];
    steps.iter_mut().for_each(|(_, hint)| hint.approach());
    steps.iter().for_each(|(key, hint)| execute(key, hint));
    sum
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_quarter_of_the_operations_writes() {
        let (store, names) = (Store::new(1), Names::new());
        assert_eq!((names.get(0), names.get(9999)), (&b"key0"[..], &b"key9999"[..]));
        let numbers: Vec<u64> = (0..16).collect();
        let mut at = 0;
        assert_eq!(one_batch(&store, &names, b"value", &numbers, &mut at), 0);
        assert_eq!(store.len(0), 4, "two of each eight");
        let mut at = 0;
        for number in &numbers {
            one_batch(&store, &names, b"value", &[*number], &mut at);
        }
        assert_eq!((store.len(0), at), (4, 16), "the same, one at a time");
    }
}
