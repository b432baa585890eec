//! Many seeds on all processors, with a line for each hundred of them.
//!
//! | variable | what |
//! |---|---|
//! | `DSE_SIM_SEEDS` | how many; 1000 by default |
//! | `DSE_SIM_FIRST` | from which on; 1000 by default |
//! | `DSE_SIM_THREADS` | on how many threads; as many as there are processors by default |

use super::{RATES, run};
use std::any::Any;
use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::thread::{available_parallelism, scope};
use std::time::Instant;

/// Seeds that a thread takes at once.
const CHUNK: u64 = 100;

/// What was seen so far.
#[derive(Default)]
struct Sum {
    seeds: u64,
    simulated_us: u64,
    seen: BTreeMap<&'static str, u64>,
    wrong: Vec<String>,
}

fn number(name: &str, otherwise: u64) -> u64 {
    std::env::var(name).map_or(otherwise, |text| text.parse().expect("a number"))
}

/// Runs a campaign; fails at its end if a seed did.
pub fn campaign() {
    let (first, count) = (number("DSE_SIM_FIRST", 1000), number("DSE_SIM_SEEDS", 1000));
    let processors = available_parallelism().map_or(1, usize::from) as u64;
    let (next, end) = (AtomicU64::new(first), first + count);
    let (sum, began) = (Mutex::new(Sum::default()), Instant::now());
    let work = || {
        while let Some(from) = Some(next.fetch_add(CHUNK, Relaxed)).filter(|from| *from < end) {
            let to = end.min(from + CHUNK);
            (from..to).for_each(|seed| one(seed, &sum));
            let sum = sum.lock().expect("nobody panics with it");
            println!("seeds {from} to {}: {}", to - 1, rate(&sum, began));
        }
    };
    scope(|scope| {
        (0..number("DSE_SIM_THREADS", processors)).for_each(|_| drop(scope.spawn(work)));
    });
    let sum = sum.into_inner().expect("nobody panics with it");
    println!("{:#?}\nseeds {first} to {}: {}", sum.seen, end - 1, rate(&sum, began));
    assert!(sum.wrong.is_empty(), "{}", sum.wrong.join("\n"));
}

fn one(seed: u64, sum: &Mutex<Sum>) {
    let outcome = catch_unwind(AssertUnwindSafe(|| run(seed, RATES, false)));
    let outcome = outcome.unwrap_or_else(|panic| Err(format!("seed {seed}: {}", text(&*panic))));
    let mut sum = sum.lock().expect("nobody panics with it");
    sum.seeds += 1;
    match outcome {
        Ok(report) => {
            sum.simulated_us += report.simulated_us;
            for (what, count) in report.seen {
                *sum.seen.entry(what).or_default() += count;
            }
        }
        Err(wrong) => {
            println!("WRONG {wrong}");
            sum.wrong.push(wrong);
        }
    }
}

fn rate(sum: &Sum, began: Instant) -> String {
    let (simulated, took) = (sum.simulated_us / 1_000_000, began.elapsed().as_secs_f64());
    format!(
        "{} so far, {} wrong; {simulated} simulated seconds in {took:.0} s, {:.0} in a second",
        sum.seeds,
        sum.wrong.len(),
        simulated as f64 / took
    )
}

fn text(panic: &(dyn Any + Send)) -> &str {
    let owned = panic.downcast_ref::<String>().map(String::as_str);
    owned.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or("it panicked")
}
