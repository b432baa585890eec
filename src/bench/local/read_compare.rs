//! Reads of our table beside other maps: random keys, all present, on several threads.
//!
//! Keys are rendered anew for each lookup, as they come out of a read buffer. Rounds go through
//! all maps in turn, and ratios are taken within a round.

use super::maps::{self, KEY_BYTES, Name, Reads};
use super::{BATCH_MAX, Timed, timed, write_json};
use crate::bench::error::BenchError;
use crate::bench::load::template::put_number;
use crate::bench::machine;
use crate::bench::progress::{Progress, println};
use crate::bench::report::document::{median, spread};
use crate::bench::report::text::columns;
use crate::util::rng::SplitMix64;
use serde_json::json;
use std::hint::black_box;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::Duration;

/// How maps are compared.
#[derive(Clone, Debug)]
pub struct CompareOptions {
    /// Threads that read.
    pub threads: usize,
    /// Length of one measurement.
    pub time: Duration,
    /// Measurements of each map.
    pub rounds: usize,
    /// Keys in each map.
    pub keys: u64,
    /// Bytes of a value.
    pub data_bytes: usize,
    /// Lookups in a row; maps that can prefetch do.
    pub batches: Vec<usize>,
    /// Only maps of these names.
    pub only: Option<String>,
    /// Where the figures go as JSON.
    pub json: Option<String>,
}

/// Fills all maps, measures them, and prints a table.
pub fn compare(options: &CompareOptions) -> Result<(), BenchError> {
    let mut maps = chosen(options)?;
    let value = vec![b'v'; options.data_bytes];
    for map in &mut maps {
        (0..options.keys).for_each(|number| map.put(&name(number), &value));
    }
    let mut figures = Vec::new();
    for &batch in &options.batches {
        let rates = measure(&maps, options, batch);
        println(&format!(
            "\nread-compare: {} keys of {KEY_BYTES} B, values of {} B, {} threads, batches of \
             {batch}, {} rounds",
            options.keys, options.data_bytes, options.threads, options.rounds
        ));
        println(table(&maps, &rates).trim_end());
        for (map, rates) in maps.iter().zip(&rates) {
            let per_second: Vec<f64> = rates.iter().map(|one| one.per_second).collect();
            let cpu_ns: Vec<f64> = rates.iter().map(|one| one.cpu_ns).collect();
            figures.push(json!({
                "map": map.name(),
                "batch": batch,
                "reads_per_second": per_second,
                "cpu_ns": cpu_ns,
            }));
        }
    }
    if !cfg!(feature = "bench-peers") {
        println("  (built without dashmap and papaya: --features bench-peers)");
    }
    let document = json!({
        "bench": "read-compare",
        "began": machine::now(),
        "machine": machine::describe(),
        "threads": options.threads,
        "keys": options.keys,
        "data_bytes": options.data_bytes,
        "figures": figures,
    });
    write_json(options.json.as_deref(), &document)
}

fn chosen(options: &CompareOptions) -> Result<Vec<Box<dyn Reads>>, BenchError> {
    let all = maps::all();
    let Some(only) = &options.only else { return Ok(all) };
    let known: Vec<&str> = all.iter().map(|map| map.name()).collect();
    if let Some(unknown) = only.split(',').find(|name| !known.contains(name)) {
        let message = format!("--only: no map {unknown:?}; there are {}", known.join(", "));
        return Err(BenchError::Usage(message));
    }
    let mut chosen = all;
    chosen.retain(|map| only.split(',').any(|name| name == map.name()));
    Ok(chosen)
}

fn name(number: u64) -> Name {
    let mut name = *b"key:000000000000";
    if let Some(digits) = name.last_chunk_mut() {
        put_number(digits, number);
    }
    name
}

/// Reads a second of each map, round by round.
fn measure(maps: &[Box<dyn Reads>], options: &CompareOptions, batch: usize) -> Vec<Vec<Timed>> {
    let mut rates = vec![Vec::new(); maps.len()];
    let progress = Progress::new(options.rounds * maps.len(), true);
    for _ in 0..options.rounds {
        for (map, rates) in maps.iter().zip(&mut rates) {
            progress.say(map.name());
            let work = |thread, stop: &AtomicBool| {
                one_thread(map.as_ref(), options.keys, thread, batch, stop)
            };
            rates.push(timed(options.threads, options.time, work));
            progress.step();
        }
    }
    progress.finish();
    rates
}

fn one_thread(map: &dyn Reads, keys: u64, thread: usize, batch: usize, stop: &AtomicBool) -> u64 {
    let mut rng = SplitMix64::new(thread as u64 + 1);
    let mut names = [[0; KEY_BYTES]; BATCH_MAX];
    let names = &mut names[..batch.min(BATCH_MAX)];
    let (mut count, mut sum) = (0, 0usize);
    while !stop.load(Relaxed) {
        names.fill_with(|| name(rng.below(keys)));
        sum = sum.wrapping_add(map.get_all(names));
        count += names.len() as u64;
    }
    black_box(sum);
    count
}

fn table(maps: &[Box<dyn Reads>], rates: &[Vec<Timed>]) -> String {
    let head = ["map", "M reads/s", "spread", "cpu ns", "dse is faster by", "by cpu"];
    let mut rows = vec![head.map(String::from).to_vec()];
    let is_ours = maps[0].name() == "dse";
    for (map, mine) in maps.iter().zip(rates) {
        let pick = |of: fn(&Timed) -> f64| mine.iter().map(of).collect::<Vec<f64>>();
        let middle = |of| median(&mut pick(of)).unwrap_or(0.0);
        let ratio = |of: fn(&Timed, &Timed) -> f64| {
            let ratios = rates[0].iter().zip(mine).map(|(ours, theirs)| of(ours, theirs));
            let ratio = median(&mut ratios.collect::<Vec<f64>>()).filter(|_| is_ours);
            ratio.map_or("-".into(), |ratio| format!("{ratio:.2}"))
        };
        rows.push(vec![
            map.name().to_owned(),
            format!("{:.2}", middle(|one| one.per_second) / 1e6),
            format!("{:.0}%", 100.0 * spread(&pick(|one| one.per_second))),
            format!("{:.0}", middle(|one| one.cpu_ns)),
            ratio(|ours, theirs| ours.per_second / theirs.per_second),
            ratio(|ours, theirs| theirs.cpu_ns / ours.cpu_ns),
        ]);
    }
    columns(rows)
}
