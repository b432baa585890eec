//! What one connection that pipelines as fast as it can does to some that ask one thing at a time.

use super::Crowd;
use super::verdict::{median, p99_ms, ratios_of_p99, verdict};
use crate::bench::client::run::{Amount, Plan, run};
use crate::bench::error::BenchError;
use crate::bench::measure::{Named, document, plan, subjects};
use crate::bench::options::{Load, Options};
use crate::bench::progress::{Progress, println};
use crate::bench::report::document::{Cell, Document, Shape};
use crate::limits::BENCH_HEAVY_PIPELINE;
use std::thread;
use std::time::Duration;

/// What the 99th percentile of the light ones may be beside the heavy one, as a multiple of that
/// without it.
const P99_RATIO_MAX: f64 = 3.0;
/// How much earlier the heavy one begins, and how much later it ends.
const LEAD: Duration = Duration::from_millis(200);
/// How long the light ones run, unless a time is given.
const TIME: Duration = Duration::from_secs(1);

/// Runs the light ones alone and beside the heavy one, round by round, against each server.
pub fn heavy(options: &Options) -> Result<Document, BenchError> {
    let time = match options.amount {
        Amount::Time(time) => time,
        Amount::Requests(_) => TIME,
    };
    let options = Options { verify: true, amount: Amount::Time(time), ..options.clone() };
    let light = options.shapes[0].clients;
    let subjects = subjects(&options)?;
    let mut document = document(&options, &subjects);
    for subject in &subjects {
        let crowd = Crowd { options: &options, subject, all: light, active: light };
        println(&format!(
            "{}: {light} light connections, one with {BENCH_HEAVY_PIPELINE} requests under way",
            subject.server.name
        ));
        document.cells.extend(one_server(&crowd, time)?);
    }
    Ok(document)
}

fn one_server(crowd: &Crowd<'_>, time: Duration) -> Result<Vec<Cell>, BenchError> {
    let progress = Progress::new(1, !crowd.options.output.quiet);
    let mut alone = crowd.cell("alone");
    let mut beside = crowd.cell("a heavy one beside");
    let plan = heavy_plan(crowd, time + 2 * LEAD);
    let mut rates = Vec::new();
    for _ in 0..crowd.options.rounds {
        crowd.run_active(&mut alone, &progress)?;
        let outcome = thread::scope(|scope| {
            let heavy = scope.spawn(|| run(&plan, &crowd.subject.process, &mut |_| {}));
            thread::sleep(LEAD);
            crowd.run_active(&mut beside, &progress)?;
            heavy.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
        })?;
        rates.push(outcome.rps());
    }
    progress.finish();
    let ratio = median(ratios_of_p99(&beside, &alone));
    let what = format!(
        "p99 of the light ones {:.2} ms beside the heavy one ({:.0} a second), {:.2} ms without, \
         {ratio:.2} times (at most {P99_RATIO_MAX})",
        p99_ms(&beside),
        median(rates.into_iter()),
        p99_ms(&alone)
    );
    verdict(&what, ratio <= P99_RATIO_MAX);
    Ok(vec![alone, beside])
}

/// One connection that reads a key, as many times at once as it may.
fn heavy_plan(crowd: &Crowd<'_>, time: Duration) -> Plan {
    let options = Options {
        verify: false,
        load: Load::Ratio(0, 1),
        amount: Amount::Time(time),
        ..crowd.options.clone()
    };
    let base = &crowd.options.shapes[0];
    let shape = Shape {
        clients: 1,
        threads: 1,
        pipeline: BENCH_HEAVY_PIPELINE,
        rate: None,
        ..base.clone()
    };
    plan(&Named::ratio(0, 1), &shape, &options, crowd.subject)
}
