//! Miss ratios: the server's eviction beside known algorithms, and beside a running server, on
//! the same traces of accesses.
//!
//! A running server is asked as a cache is used: GET, and SET after a miss. Its `maxmemory` is set
//! to what it uses with the keys of the cache in it, and the others get as many keys as it then
//! holds.

use super::caches::{Cache, Lru, Ours, S3Fifo, Sieve};
use super::write_json;
use crate::bench::client::target::{Session, Target};
use crate::bench::error::BenchError;
use crate::bench::load::zipf::Zipf;
use crate::bench::machine;
use crate::bench::progress::{Progress, println};
use crate::bench::report::text::columns;
use crate::store::By;
use crate::util::rng::SplitMix64;
use serde_json::json;

/// What is measured.
#[derive(Debug)]
pub struct MissOptions {
    /// Keys that fit into the caches.
    pub capacity: usize,
    /// Accesses of a trace.
    pub accesses: usize,
    /// A server to ask too; all its data is deleted.
    pub server: Option<Target>,
    /// Policies that the server is asked with.
    pub policies: Vec<String>,
    /// Where the figures go as JSON.
    pub json: Option<String>,
}

/// Policies that a server is asked with unless others are given.
pub const POLICIES: &[&str] = &["allkeys-lru", "allkeys-lfu"];

/// Runs all traces through all caches, and prints a table.
pub fn compare(options: &MissOptions) -> Result<(), BenchError> {
    let traces = traces(options);
    let servers = options
        .server
        .iter()
        .flat_map(|server| options.policies.iter().map(move |policy| (server, policy.as_str())));
    let servers: Vec<_> = servers.collect();
    let progress = Progress::new(traces.len() * (servers.len() + 5), true);
    let (mut rows, mut figures) = (Vec::new(), Vec::new());
    for (name, trace) in &traces {
        let mut ratios: Vec<(String, usize, f64)> = Vec::new();
        let mut capacity = options.capacity;
        for (server, policy) in &servers {
            progress.say(policy);
            let (held, ratio) = ask(server, policy, options.capacity, trace)?;
            capacity = held;
            ratios.push((format!("server, {policy}"), held, ratio));
            progress.step();
        }
        for mut cache in caches(capacity) {
            progress.say(cache.name());
            let misses = trace.iter().filter(|key| !cache.access(**key)).count();
            ratios.push((cache.name().to_string(), capacity, misses as f64 / trace.len() as f64));
            progress.step();
        }
        if rows.is_empty() {
            let names = ratios.iter().map(|(name, ..)| name.clone());
            rows.push(std::iter::once("trace".to_string()).chain(names).collect());
        }
        let cells = ratios.iter().map(|(_, _, ratio)| format!("{ratio:.4}"));
        rows.push(std::iter::once(name.clone()).chain(cells).collect());
        figures.extend(ratios.into_iter().map(|(cache, keys, ratio)| {
            json!({"trace": name, "cache": cache, "keys": keys, "miss_ratio": ratio})
        }));
    }
    progress.finish();
    println(&format!("\nmiss-ratio: caches of {} keys", options.capacity));
    println(columns(rows).trim_end());
    let document = json!({
        "bench": "miss-ratio",
        "began": machine::now(),
        "machine": machine::describe(),
        "accesses": options.accesses,
        "figures": figures,
    });
    write_json(options.json.as_deref(), &document)
}

fn caches(capacity: usize) -> [Box<dyn Cache>; 5] {
    [
        Box::new(Ours::new(capacity, "dse, allkeys-lru", By::Recency)),
        Box::new(Ours::new(capacity, "dse, allkeys-lfu", By::Frequency)),
        Box::new(Lru::new(capacity)),
        Box::new(Sieve::new(capacity)),
        Box::new(S3Fifo::new(capacity)),
    ]
}

/// Named traces: popularity of several kinds, popularity with scans between, and loops.
fn traces(options: &MissOptions) -> Vec<(String, Vec<u64>)> {
    let (capacity, accesses) = (options.capacity as u64, options.accesses);
    let drawn = |exponent: f64, seed: u64| -> Vec<u64> {
        let zipf = Zipf::new(10 * capacity, exponent);
        let mut rng = SplitMix64::new(seed);
        (0..accesses).map(|_| zipf.sample(&mut rng)).collect()
    };
    let popular = drawn(0.9, 2);
    let mut scanned = Vec::with_capacity(2 * accesses);
    let mut fresh = 1 << 40;
    for part in popular.chunks(5 * options.capacity) {
        scanned.extend_from_slice(part);
        scanned.extend(fresh..fresh + capacity);
        fresh += capacity;
    }
    let shifted = popular.iter().enumerate().map(|(at, key)| {
        let moves = at * 10 / accesses.max(1);
        key + moves as u64 * capacity / 7
    });
    let looping = |part: u64| (0..accesses as u64).map(|at| at % (capacity * part / 100)).collect();
    vec![
        ("zipf 0.7".into(), drawn(0.7, 1)),
        ("zipf 0.9".into(), popular.clone()),
        ("zipf 1.1".into(), drawn(1.1, 3)),
        ("zipf 0.9, scans between".into(), scanned),
        ("zipf 0.9, shifting".into(), shifted.collect()),
        ("loop of 105 %".into(), looping(105)),
        ("loop of 125 %".into(), looping(125)),
        ("loop of 200 %".into(), looping(200)),
    ]
}

const VALUE: &str = "0123456789012345678901234567890123456789012345678901234567890123";

/// Runs a trace on a server; the keys it holds in the end, and its miss ratio.
fn ask(
    target: &Target,
    policy: &str,
    capacity: usize,
    trace: &[u64],
) -> Result<(usize, f64), BenchError> {
    let mut server = target.open()?;
    server.demand(&["CONFIG", "SET", "maxmemory", "0"])?;
    server.demand(&["FLUSHALL"])?;
    for key in 0..capacity as u64 {
        server.demand(&["SET", &name(key), VALUE])?;
    }
    let used = used_memory(&mut server)?;
    server.demand(&["FLUSHALL"])?;
    server.demand(&["CONFIG", "SET", "maxmemory-policy", policy])?;
    server.demand(&["CONFIG", "SET", "maxmemory", &used.to_string()])?;
    let mut misses = 0;
    for &key in trace {
        let name = name(key);
        if server.demand(&["GET", &name])?.text().is_none() {
            misses += 1;
            server.demand(&["SET", &name, VALUE])?;
        }
    }
    let held = server.demand(&["DBSIZE"])?.int().unwrap_or(0);
    server.demand(&["CONFIG", "SET", "maxmemory", "0"])?;
    server.demand(&["FLUSHALL"])?;
    Ok((held as usize, misses as f64 / trace.len() as f64))
}

fn name(key: u64) -> String {
    format!("key:{key:016}")
}

fn used_memory(server: &mut Session) -> Result<u64, BenchError> {
    let info = server.demand(&["INFO", "memory"])?.text().unwrap_or_default();
    let used = info.lines().find_map(|line| line.strip_prefix("used_memory:"));
    let used = used.and_then(|used| used.trim().parse().ok());
    used.ok_or_else(|| BenchError::Usage("--server: its INFO has no used_memory".into()))
}
