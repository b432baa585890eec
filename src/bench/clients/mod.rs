//! Many connections at once: each writes a key of its own and checks what it reads.
//!
//! Some may stay idle, to see what they cost the others and the server.
//!
//! ```text
//!   mod     connections, idle and active      trial     phases, and bounds for what they show
//!   abuse   those that read nothing           heavy     one that asks for much at once
//!                                             verdict   figures held against bounds
//! ```

mod abuse;
mod heavy;
mod trial;
mod verdict;

pub use heavy::heavy;
pub use trial::trial;

use super::client::run::run;
use super::error::BenchError;
use super::measure::{Named, Subject, document, plan, reserve_descriptors, subjects};
use super::options::Options;
use super::progress::{Progress, println};
use super::report::document::{Cell, Document, Run, ServerResult, Shape, curve};
use super::report::text;
use std::os::fd::OwnedFd;
use std::thread;
use std::time::Duration;

/// How long memory may settle before it is looked at.
const SETTLE: Duration = Duration::from_millis(500);
/// How often an idle client looks at its server.
const IDLE_LOOK: Duration = Duration::from_secs(1);

/// Runs `active` of the connections with an own key each; the others are open meanwhile.
pub fn many(options: &Options, active: usize) -> Result<Document, BenchError> {
    let options = Options { verify: true, ..options.clone() };
    let all = options.shapes[0].clients;
    reserve_descriptors(all)?;
    let subjects = subjects(&options)?;
    let mut document = document(&options, &subjects);
    for subject in &subjects {
        let cell = one_server(&options, subject, all, active)?;
        document.cells.push(cell);
    }
    Ok(document)
}

fn one_server(
    options: &Options,
    subject: &Subject,
    all: usize,
    active: usize,
) -> Result<Cell, BenchError> {
    let crowd = Crowd { options, subject, all, active };
    let progress = Progress::new(1, !options.output.quiet);
    let before = subject.process.rss_bytes();
    let idle = crowd.open_idle(crowd.idle(), &progress)?;
    thread::sleep(if idle.is_empty() { Duration::ZERO } else { SETTLE });
    let opened = subject.process.rss_bytes();
    let mut cell = crowd.cell("");
    crowd.run_active(&mut cell, &progress)?;
    progress.finish();
    println(&said(&cell, before, opened, idle.len()));
    Ok(cell)
}

/// Connections to one server, some of which are active.
struct Crowd<'a> {
    options: &'a Options,
    subject: &'a Subject,
    all: usize,
    active: usize,
}

impl Crowd<'_> {
    /// An empty cell for what the active ones do.
    fn cell(&self, what: &str) -> Cell {
        // One number each: every connection reads what it wrote itself.
        let base = &self.options.shapes[0];
        let shape = Shape {
            clients: self.active,
            key_space: self.active as u64,
            data_bytes: base.data_bytes.max(16),
            threads: base.threads.min(self.active),
            ..base.clone()
        };
        let comma = if what.is_empty() { "" } else { ", " };
        Cell {
            test: format!("{} connections, {} active{comma}{what}", self.all, self.active),
            label: self.options.output.label.clone(),
            shape,
            results: vec![ServerResult {
                server: self.subject.server.name.clone(),
                ..ServerResult::default()
            }],
        }
    }

    /// How many send nothing but a greeting.
    fn idle(&self) -> usize {
        self.all - self.active
    }

    /// Opens so many of those.
    fn open_idle(&self, count: usize, progress: &Progress) -> Result<Vec<OwnedFd>, BenchError> {
        open_idle(self.subject, count, progress)
    }

    /// Lets the active ones write, read and check; adds what was seen to the cell.
    fn run_active(&self, cell: &mut Cell, progress: &Progress) -> Result<(), BenchError> {
        let Crowd { options, subject, .. } = self;
        for named in &Named::of(&options.load) {
            let plan = plan(named, &cell.shape, options, subject);
            let outcome = run(&plan, &subject.process, &mut |done| {
                progress.say(&format!("{}: {done} answers", cell.test));
            })?;
            for result in &mut cell.results {
                result.curve = curve(&outcome.histogram);
                result.runs.push(Run::of(&outcome));
            }
        }
        Ok(())
    }
}

fn open_idle(
    subject: &Subject,
    count: usize,
    progress: &Progress,
) -> Result<Vec<OwnedFd>, BenchError> {
    let mut idle = Vec::with_capacity(count);
    for at in 0..count {
        if at % 500 == 0 {
            progress.say(&format!("{at} idle connections"));
        }
        let node = &subject.nodes[at % subject.nodes.len()];
        let mut session = node.target.open()?;
        // A connection that was served may cost more than one that was only accepted.
        session.demand(&["PING"])?;
        idle.push(session.into_fd()?);
    }
    Ok(idle)
}

fn said(cell: &Cell, before: Option<u64>, opened: Option<u64>, idle: usize) -> String {
    let Some(run) = cell.results.first().and_then(|result| result.runs.first()) else {
        return cell.test.clone();
    };
    let mut out = format!(
        "{}: {} answers checked, {} wrong, {} errors; {:.0} a second, \
         p50 {:.3} ms, p99 {:.3} ms, p99.9 {:.3} ms",
        cell.test,
        run.requests,
        run.wrong,
        run.errors,
        run.rps,
        run.latency.p50 / 1e3,
        run.latency.p99 / 1e3,
        run.latency.p99_9 / 1e3
    );
    if let (Some(before), Some(opened), true) = (before, opened, idle > 0) {
        let each = (opened as f64 - before as f64) / idle as f64;
        out += &format!("; an idle connection costs {each:.0} B resident");
    }
    if let (Some(before), Some(after)) = (before, run.server_rss_bytes) {
        let mib = |bytes: u64| bytes as f64 / f64::from(1 << 20);
        out += &format!("; server {:.1} -> {:.1} MiB", mib(before), mib(after));
    }
    if let Some(complaint) = text::complaint(run) {
        out += &format!("\n{complaint}");
    }
    out
}

/// Opens connections and waits until the server goes away or somebody interrupts.
pub fn idle(options: &Options) -> Result<(), BenchError> {
    let count = options.shapes[0].clients;
    reserve_descriptors(count)?;
    let subjects = subjects(options)?;
    let progress = Progress::new(1, !options.output.quiet);
    let mut held = Vec::new();
    for subject in &subjects {
        held.push(open_idle(subject, count, &progress)?);
    }
    progress.finish();
    println(&format!("{count} idle connections are open; interrupt to end"));
    loop {
        thread::sleep(IDLE_LOOK);
        for subject in &subjects {
            subject.nodes[0].target.open()?;
        }
    }
}
