//! What many connections cost the server and each other, held against bounds.
//!
//! ```text
//!   fresh server | a tenth of the idle | the rest of them | active beside | active alone |  rounds
//!                                        ^ what each costs
//!                | bad clients come, idle and active ones beside them
//!                  ^ what the server grows by, who waits longest
//! ```
//!
//! Bounds are told, not enforced: only wrong answers make the program fail.

use super::Crowd;
use super::abuse::Abuse;
use super::verdict::{median, mib, p99_ms, ratios_of_p99, runs, verdict, verdict_on_answers};
use crate::bench::client::process::ServerProcess;
use crate::bench::error::BenchError;
use crate::bench::measure::{document, reserve_descriptors, subjects};
use crate::bench::options::Options;
use crate::bench::progress::{Progress, println};
use crate::bench::report::document::{Cell, Document};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::thread::{self, JoinHandle};
use std::time::Duration;

/// Resident bytes that an idle connection may cost a server.
const IDLE_BYTES_MAX: f64 = 512.0;
/// What the 99th percentile may be with idle connections, as a multiple of that without.
const IDLE_P99_RATIO_MAX: f64 = 2.0;
/// Bytes by which a server may grow under bad clients.
const ABUSE_GROWTH_MAX: u64 = 64 << 20;
/// A good client that waits longer than this for an answer starves, us.
const STARVED_US: f64 = 1e6;
/// How long memory may settle before it is looked at.
const SETTLE: Duration = Duration::from_millis(500);
/// How often it is looked at meanwhile.
const LOOK: Duration = Duration::from_millis(20);

/// Runs all phases against each server.
pub fn trial(options: &Options, active: usize) -> Result<Document, BenchError> {
    let options = Options { verify: true, ..options.clone() };
    let all = options.shapes[0].clients;
    reserve_descriptors(all + Abuse::size())?;
    let subjects = subjects(&options)?;
    let mut document = document(&options, &subjects);
    for subject in &subjects {
        let crowd = Crowd { options: &options, subject, all, active };
        println(&format!("{}: {all} connections, {active} of them active", subject.server.name));
        document.cells.extend(one_server(&crowd)?);
    }
    Ok(document)
}

fn one_server(crowd: &Crowd<'_>) -> Result<Vec<Cell>, BenchError> {
    let progress = Progress::new(1, !crowd.options.output.quiet);
    let process = &crowd.subject.process;
    // What a server touches for its first clients is not what each of thousands costs.
    let first = crowd.idle() / 10;
    let mut idle = crowd.open_idle(first, &progress)?;
    thread::sleep(SETTLE);
    let before = process.rss_bytes();
    idle.extend(crowd.open_idle(crowd.idle() - first, &progress)?);
    thread::sleep(SETTLE);
    verdict_on_idle_cost(before, process.rss_bytes(), idle.len() - first);

    let mut beside = crowd.cell("idle ones beside");
    let mut alone = crowd.cell("alone");
    for _ in 0..crowd.options.rounds {
        crowd.run_active(&mut beside, &progress)?;
        drop(idle);
        thread::sleep(SETTLE);
        crowd.run_active(&mut alone, &progress)?;
        idle = crowd.open_idle(crowd.idle(), &progress)?;
        thread::sleep(SETTLE);
    }
    verdict_on_answers(&[&beside, &alone]);
    verdict_on_idle_latency(&beside, &alone);

    let mut abused = crowd.cell("bad ones beside");
    let before = process.rss_bytes();
    let watch = Watch::begin(process);
    let abuse = Abuse::begin(&crowd.subject.nodes[0].target)?;
    thread::sleep(SETTLE);
    for _ in 0..crowd.options.rounds {
        crowd.run_active(&mut abused, &progress)?;
    }
    let most = watch.end();
    progress.finish();
    verdict_on_abuse(&abuse, before, most, &abused, &alone);
    drop((abuse, idle));
    Ok(vec![beside, alone, abused])
}

/// Looks at a server's memory in a thread of its own, until it is asked for the most there was.
struct Watch {
    stop: Arc<AtomicBool>,
    thread: JoinHandle<u64>,
}

impl Watch {
    fn begin(process: &ServerProcess) -> Watch {
        let stop = Arc::new(AtomicBool::new(false));
        let (shared, process) = (Arc::clone(&stop), process.clone());
        let thread = thread::spawn(move || {
            let mut most = 0;
            // Relaxed: sooner or later is soon enough.
            while !shared.load(Relaxed) {
                most = most.max(process.rss_bytes().unwrap_or(0));
                thread::sleep(LOOK);
            }
            most
        });
        Watch { stop, thread }
    }

    /// The most bytes that were resident; `None` if the server's process cannot be seen.
    fn end(self) -> Option<u64> {
        self.stop.store(true, Relaxed);
        self.thread.join().ok().filter(|most| *most > 0)
    }
}

fn verdict_on_idle_cost(before: Option<u64>, opened: Option<u64>, count: usize) {
    let (Some(before), Some(opened), true) = (before, opened, count > 0) else { return };
    let each = (opened as f64 - before as f64) / count as f64;
    let what = format!(
        "an idle connection costs {each:.0} B resident (at most {IDLE_BYTES_MAX}; \
         {count} of them, {:.1} -> {:.1} MiB)",
        mib(before),
        mib(opened)
    );
    verdict(&what, each <= IDLE_BYTES_MAX);
}

fn verdict_on_idle_latency(beside: &Cell, alone: &Cell) {
    let ratio = median(ratios_of_p99(beside, alone));
    let what = format!(
        "p99 with idle connections {:.2} ms, without {:.2} ms, {ratio:.2} times (at most \
         {IDLE_P99_RATIO_MAX})",
        p99_ms(beside),
        p99_ms(alone)
    );
    verdict(&what, ratio <= IDLE_P99_RATIO_MAX);
}

fn verdict_on_abuse(
    abuse: &Abuse,
    before: Option<u64>,
    most: Option<u64>,
    abused: &Cell,
    alone: &Cell,
) {
    verdict_on_answers(&[abused]);
    if let (Some(before), Some(most)) = (before, most) {
        let growth = most.saturating_sub(before);
        let what = format!(
            "under {} bad clients the server grew by {:.1} MiB (at most {:.0}), and closed {} of \
             them",
            Abuse::size(),
            mib(growth),
            mib(ABUSE_GROWTH_MAX),
            abuse.closed()
        );
        verdict(&what, growth <= ABUSE_GROWTH_MAX);
    }
    let longest = runs(abused).map(|run| run.latency.max).fold(0.0, f64::max);
    let what = format!(
        "p99 beside them {:.2} ms, {:.2} ms without; the longest wait was {:.1} ms (at most {:.0})",
        p99_ms(abused),
        p99_ms(alone),
        longest / 1e3,
        STARVED_US / 1e3
    );
    verdict(&what, longest <= STARVED_US);
}
