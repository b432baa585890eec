//! A series of runs: every load, round by round, through all servers in turn.
//!
//! ```text
//!   for each shape, each test:   for each round:   for each server:   run
//! ```
//!
//! So whatever the machine does besides falls on all servers alike, and ratios are taken within
//! a round.

use super::client::nodes::of_cluster;
use super::client::process::ServerProcess;
use super::client::run::{Amount, Node, Outcome, Plan, Verify, empty_histogram, run};
use super::client::target::Target;
use super::error::BenchError;
use super::load::builder::Op;
use super::load::keys::Keys;
use super::load::suite::{self, Check, Test};
use super::load::template::Template;
use super::machine;
use super::options::{Load, Options};
use super::progress::Progress;
use super::report::document::{
    Cell, Document, Memory, Run, Server, ServerResult, Shape, VERSION, curve,
};
use super::report::{csv, hgrm, text};
use crate::limits::CONNECTIONS_MAX;
use crate::sys::process::raise_fd_limit;
use hdrhistogram::Histogram;
use std::fs;
use std::time::Duration;

/// Descriptors beside those of connections.
const OTHER_DESCRIPTORS: u64 = 64;
/// Connections and requests under way while the key space is written.
const PRELOAD_CLIENTS: usize = 8;
const PRELOAD_PIPELINE: usize = 128;

/// A server that is measured.
pub struct Subject {
    /// Where it is.
    pub nodes: Vec<Node>,
    /// Its processes.
    pub process: ServerProcess,
    /// What it is.
    pub server: Server,
}

/// Something that is sent, under a name.
#[derive(Clone, Debug)]
pub struct Named {
    title: String,
    args: Vec<(Vec<Vec<u8>>, Check, u64)>,
    inline: bool,
}

impl Named {
    fn test(test: &Test) -> Named {
        let inline = test.title == "PING_INLINE";
        Named { title: test.title.into(), args: vec![(args_of(test), test.check, 1)], inline }
    }

    /// A mix of SET and GET.
    pub fn ratio(set: u64, get: u64) -> Named {
        let of = |name: &str, weight| {
            suite::named(name).map(|test| (args_of(&test), test.check, weight))
        };
        let args = [of("set", set), of("get", get)].into_iter().flatten();
        // A side that is never sent would be taken for something to fill models with.
        let args = args.filter(|(.., weight)| *weight > 0).collect();
        Named { title: format!("SET:GET {set}:{get}"), args, inline: false }
    }

    fn custom(args: &[Vec<u8>]) -> Named {
        let title = String::from_utf8_lossy(&args.join(&b' ')).into_owned();
        Named { title, args: vec![(args.to_vec(), Check::NoError, 1)], inline: false }
    }

    /// All that `load` names.
    pub fn of(load: &Load) -> Vec<Named> {
        match load {
            Load::Ratio(set, get) => vec![Named::ratio(*set, *get)],
            Load::Custom(args) => vec![Named::custom(args)],
            // The list was checked when the command line was read.
            Load::Tests(list) => {
                suite::chosen(list.as_deref()).unwrap_or_default().iter().map(Named::test).collect()
            }
        }
    }

    /// The requests, with values of `shape`.
    fn ops(&self, shape: &Shape, options: &Options) -> Vec<Op> {
        let data = vec![b'x'; shape.data_bytes];
        let mut args = self.args.clone();
        if options.verify {
            args.extend(fills(&args));
            for (args, ..) in &mut args {
                args.iter_mut().for_each(|arg| *arg = prefixed(arg, options.prefix.as_bytes()));
            }
        }
        let op = |(args, check, weight): (Vec<Vec<u8>>, Check, u64)| Op {
            template: match self.inline {
                true => Template::inline(&args),
                false => Template::new(&args, &data, options.cluster),
            },
            check,
            weight,
        };
        args.into_iter().map(op).collect()
    }
}

fn args_of(test: &Test) -> Vec<Vec<u8>> {
    test.args.iter().map(|arg| arg.as_bytes().to_vec()).collect()
}

/// Requests that bring about a state that models know: values for what reads them, zero for what
/// counts.
fn fills(args: &[(Vec<Vec<u8>>, Check, u64)]) -> Vec<(Vec<Vec<u8>>, Check, u64)> {
    let has = |wanted: Check| args.iter().any(|(_, check, _)| *check == wanted);
    let mut fills = Vec::new();
    if let (true, Some(set)) = (has(Check::Get), suite::named("set")) {
        fills.push((args_of(&set), Check::Set, 0));
    }
    if let (true, Some(incr)) = (has(Check::Incr), suite::named("incr")) {
        let mut zero = args_of(&incr);
        zero[0] = b"SET".to_vec();
        zero.push(b"0".to_vec());
        fills.push((zero, Check::Reset, 0));
    }
    fills
}

/// Names with numbers get `prefix`; other words stay as they are.
fn prefixed(arg: &[u8], prefix: &[u8]) -> Vec<u8> {
    let is_name = arg.starts_with(b"key:") || arg.starts_with(b"counter:");
    if is_name { [prefix, arg].concat() } else { arg.to_vec() }
}

/// The servers of `options`, asked what they are.
pub fn subjects(options: &Options) -> Result<Vec<Subject>, BenchError> {
    let subject = |target: &Target| {
        let nodes = match options.cluster {
            true => of_cluster(target)?,
            false => vec![Node { target: target.clone(), tags: Vec::new() }],
        };
        // A server that is not there is told at once, not in the middle of a series.
        drop(target.open()?);
        let process = ServerProcess::find(nodes.iter().map(|node| &node.target));
        let server = machine::server(target, process.pids.clone());
        Ok(Subject { nodes, process, server })
    };
    options.targets.iter().map(subject).collect()
}

/// Checks that so many connections can be open.
pub fn reserve_descriptors(clients: usize) -> Result<(), BenchError> {
    let wanted = clients as u64 + OTHER_DESCRIPTORS;
    let limit = raise_fd_limit(wanted.min(CONNECTIONS_MAX as u64 * 2))?;
    if limit < wanted {
        return Err(BenchError::Usage(format!(
            "{clients} connections need {wanted} open files, and the limit is {limit} (ulimit -n)"
        )));
    }
    Ok(())
}

/// How one load is driven.
pub fn plan(named: &Named, shape: &Shape, options: &Options, subject: &Subject) -> Plan {
    let verify = Verify { key_space: shape.key_space.max(1), value_bytes: shape.data_bytes };
    Plan {
        nodes: subject.nodes.clone(),
        clients: shape.clients,
        threads: shape.threads,
        pipeline: shape.pipeline,
        ops: named.ops(shape, options),
        keys: Keys::new(shape.key_space, options.zipf),
        amount: options.amount,
        warmup: options.warmup,
        rate: shape.rate,
        verify: options.verify.then_some(verify),
        reconnect: options.reconnect,
        cpus: options.cpus.clone(),
        seed: options.seed,
        silence: options.silence,
    }
}

/// An empty document about these servers.
pub fn document(options: &Options, subjects: &[Subject]) -> Document {
    Document {
        version: VERSION,
        title: options.output.title.clone(),
        began: machine::now(),
        command: options.output.command.clone(),
        machine: machine::describe(),
        servers: subjects.iter().map(|subject| subject.server.clone()).collect(),
        cells: Vec::new(),
        memory: Vec::new(),
    }
}

/// Runs everything that `options` names, and shows results as they come.
pub fn series(options: &Options) -> Result<Document, BenchError> {
    let most = options.shapes.iter().map(|shape| shape.clients).max().unwrap_or(0);
    reserve_descriptors(most)?;
    let subjects = subjects(options)?;
    let mut document = document(options, &subjects);
    let loads = Named::of(&options.load);
    let runs = loads.len() * options.shapes.len() * options.rounds * subjects.len();
    let mut series = Series {
        options,
        subjects: &subjects,
        progress: Progress::new(runs, !options.output.quiet),
        preloaded: None,
    };
    if options.output.csv {
        series.progress.print(csv::HEADER);
    }
    for shape in &options.shapes {
        for named in &loads {
            let cell = series.cell(named, shape)?;
            document.cells.push(cell);
        }
    }
    series.progress.finish();
    Ok(document)
}

struct Series<'a> {
    options: &'a Options,
    subjects: &'a [Subject],
    progress: Progress,
    /// Keys and size of values that were written last.
    preloaded: Option<(u64, usize)>,
}

impl Series<'_> {
    fn cell(&mut self, named: &Named, shape: &Shape) -> Result<Cell, BenchError> {
        self.preload(shape)?;
        let result = |subject: &Subject| ServerResult {
            server: subject.server.name.clone(),
            ..ServerResult::default()
        };
        let mut cell = Cell {
            test: named.title.clone(),
            label: self.options.output.label.clone(),
            shape: shape.clone(),
            results: self.subjects.iter().map(result).collect(),
        };
        let mut histograms = vec![empty_histogram(); self.subjects.len()];
        for round in 0..self.options.rounds {
            for (at, subject) in self.subjects.iter().enumerate() {
                let plan = plan(named, shape, self.options, subject);
                let line = text::shape_line(&cell);
                self.progress.say(&format!("{line} {}", subject.server.name));
                let outcome = run(&plan, &subject.process, &mut |done| {
                    self.progress.say(&format!("{line} {}: {done}", subject.server.name));
                })?;
                // All have the same bounds.
                _ = histograms[at].add(&outcome.histogram);
                cell.results[at].runs.push(Run::of(&outcome));
                self.progress.step();
                self.show_run(&cell, at, round);
            }
        }
        for (result, histogram) in cell.results.iter_mut().zip(&histograms) {
            result.curve = curve(histogram);
        }
        self.write_percentiles(&cell, &histograms)?;
        if !self.options.output.csv && (self.subjects.len() > 1 || self.options.rounds > 1) {
            self.progress.print(&text::cell_table(&cell));
        }
        Ok(cell)
    }

    fn show_run(&self, cell: &Cell, at: usize, round: usize) {
        let output = &self.options.output;
        let Some(run) = cell.results[at].runs.last() else { return };
        if output.csv {
            self.progress.print(&csv::line(cell, at, round, run));
        } else if self.subjects.len() > 1 || self.options.rounds > 1 {
            // The table of the whole load follows.
        } else if output.quiet {
            self.progress.print(&text::quiet_line(&cell.test, run, output.precision));
        } else {
            self.progress.print(&text::run_text(cell, run));
        }
    }

    fn preload(&mut self, shape: &Shape) -> Result<(), BenchError> {
        let wanted = (shape.key_space, shape.data_bytes);
        if !self.options.preload || shape.key_space == 0 || self.preloaded == Some(wanted) {
            return Ok(());
        }
        for subject in self.subjects {
            self.progress.say(&format!("writing {} keys to {}", wanted.0, subject.server.name));
            write_keys(self.options, subject, wanted.0, wanted.1)?;
        }
        self.preloaded = Some(wanted);
        Ok(())
    }

    fn write_percentiles(
        &self,
        cell: &Cell,
        histograms: &[Histogram<u64>],
    ) -> Result<(), BenchError> {
        let Some(directory) = &self.options.output.hgrm else { return Ok(()) };
        let shown = directory.display().to_string();
        fs::create_dir_all(directory).map_err(BenchError::file(&shown))?;
        for (result, histogram) in cell.results.iter().zip(histograms) {
            let name = format!("{} {}.hgrm", text::shape_line(cell), result.server);
            let plain = |c: char| if c.is_alphanumeric() || ".-=".contains(c) { c } else { '_' };
            let path = directory.join(name.chars().map(plain).collect::<String>());
            let shown = path.display().to_string();
            fs::write(&path, hgrm::text(histogram)).map_err(BenchError::file(&shown))?;
        }
        Ok(())
    }
}

/// Writes `keys` keys in order. Returns how long it took.
fn write_keys(
    options: &Options,
    subject: &Subject,
    keys: u64,
    data_bytes: usize,
) -> Result<Outcome, BenchError> {
    let Some(set) = suite::named("set") else {
        return Err(BenchError::Usage("the suite has no SET".into()));
    };
    let shape = Shape {
        clients: PRELOAD_CLIENTS,
        pipeline: PRELOAD_PIPELINE,
        data_bytes,
        key_space: keys,
        threads: 1,
        rate: None,
    };
    let options = Options {
        verify: false,
        reconnect: false,
        warmup: Duration::ZERO,
        amount: Amount::Requests(keys),
        ..options.clone()
    };
    let plan = plan(&Named::test(&set), &shape, &options, subject);
    let plan = Plan { keys: Keys::InOrder, ..plan };
    let outcome = run(&plan, &subject.process, &mut |_| {})?;
    match &outcome.first {
        Some(reply) => Err(BenchError::Refused {
            address: subject.server.address.clone(),
            reply: reply.clone(),
        }),
        None => Ok(outcome),
    }
}

/// Writes keys, and looks how much larger the servers have become.
pub fn memory(options: &Options, keys: u64, settle: Duration) -> Result<Document, BenchError> {
    let subjects = subjects(options)?;
    let mut document = document(options, &subjects);
    for shape in &options.shapes {
        for subject in &subjects {
            let name = &subject.server.name;
            let rss = || {
                subject.process.rss_bytes().ok_or_else(|| {
                    BenchError::Usage(format!("{name}: its process cannot be seen from here"))
                })
            };
            if options.shapes.len() > 1 {
                subject.nodes[0].target.open()?.demand(&["FLUSHALL"])?;
                std::thread::sleep(settle);
            }
            let before_bytes = rss()?;
            let outcome = write_keys(options, subject, keys, shape.data_bytes)?;
            std::thread::sleep(settle);
            document.memory.push(Memory {
                server: name.clone(),
                keys,
                key_bytes: "key:000000000000".len(),
                data_bytes: shape.data_bytes,
                before_bytes,
                after_bytes: rss()?,
                seconds: outcome.window_ns as f64 / 1e9,
            });
        }
    }
    Ok(document)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_and_counters_begin_in_a_known_state() {
        let get = Named::test(&suite::named("get").expect("a test"));
        let filled = fills(&get.args);
        assert_eq!(filled.len(), 1);
        assert_eq!((filled[0].1, filled[0].2), (Check::Set, 0));
        let incr = Named::test(&suite::named("incr").expect("a test"));
        let filled = fills(&incr.args);
        assert_eq!(filled[0].1, Check::Reset);
        assert_eq!(filled[0].0.concat(), b"SETcounter:{tag}:__rand_int__0");
        assert!(fills(&Named::custom(&[b"TIME".to_vec()]).args).is_empty());
    }

    #[test]
    fn only_names_get_the_prefix() {
        assert_eq!(prefixed(b"key:1", b"v:"), b"v:key:1");
        assert_eq!(prefixed(b"SET", b"v:"), b"SET");
    }
}
