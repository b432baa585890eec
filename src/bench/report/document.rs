//! Results as data. What is written as JSON can be read again and joined with others.
//!
//! Latencies are in microseconds, everything else in the unit that its name ends in.

use crate::bench::client::run::Outcome;
use crate::bench::error::BenchError;
use hdrhistogram::Histogram;
use serde::{Deserialize, Serialize};

/// The version of the JSON form; readers refuse others.
pub const VERSION: u32 = 1;

/// All that one or several runs of the program have measured.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Document {
    /// Of the form of this document.
    pub version: u32,
    /// What it is about, for the head of the report.
    pub title: String,
    /// When it was begun, in UTC.
    pub began: String,
    /// The command line.
    pub command: Vec<String>,
    /// Where the client ran.
    pub machine: Machine,
    /// Who was measured; the first is the base of all ratios.
    pub servers: Vec<Server>,
    /// Loads.
    pub cells: Vec<Cell>,
    /// Memory for each key.
    pub memory: Vec<Memory>,
}

/// A machine.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Machine {
    /// Its name.
    pub host: String,
    /// Its system.
    pub system: String,
    /// Model of its processor.
    pub processor: String,
    /// Processors that the client may use.
    pub processors: usize,
    /// Its memory.
    pub memory_bytes: u64,
    /// What ran on it before, as its load average.
    pub load_average: String,
}

/// A server.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Server {
    /// What it is called here.
    pub name: String,
    /// Where it listens.
    pub address: String,
    /// What it says it is.
    pub version: String,
    /// Its processes, if they are here.
    pub pids: Vec<u32>,
}

/// A load, and how the servers did under it.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Cell {
    /// The test.
    pub test: String,
    /// Where things ran ("pinned", "unpinned"), or whatever sets documents apart that are joined.
    pub label: String,
    /// How it was driven.
    pub shape: Shape,
    /// Each server's runs.
    pub results: Vec<ServerResult>,
}

/// How a load is driven.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Shape {
    /// Connections.
    pub clients: usize,
    /// Requests under way on each.
    pub pipeline: usize,
    /// Bytes of a value.
    pub data_bytes: usize,
    /// Different numbers; 0 for a single key.
    pub key_space: u64,
    /// Client threads.
    pub threads: usize,
    /// Requests a second, if there is a limit.
    pub rate: Option<f64>,
}

/// A server under one load.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct ServerResult {
    /// Its name.
    pub server: String,
    /// Its runs, in order.
    pub runs: Vec<Run>,
    /// Latencies of all runs together: share of requests, and the latency that they kept, us.
    pub curve: Vec<(f64, f64)>,
}

/// One run.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Run {
    /// Requests that were answered in the window.
    pub requests: u64,
    /// Length of the window.
    pub seconds: f64,
    /// Requests a second.
    pub rps: f64,
    /// Replies that were errors.
    pub errors: u64,
    /// Replies that were wrong.
    pub wrong: u64,
    /// The first of them.
    pub first_error: Option<String>,
    /// How long replies took.
    pub latency: Latency,
    /// Processor time of the server for each request.
    pub server_cpu_ns: Option<f64>,
    /// Processors that the server kept busy.
    pub server_busy: Option<f64>,
    /// Resident memory of the server after the run.
    pub server_rss_bytes: Option<u64>,
    /// Processor time of the client for each request.
    pub client_cpu_ns: f64,
    /// Bytes received.
    pub bytes_in: u64,
    /// Bytes sent.
    pub bytes_out: u64,
}

/// Latencies, us.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Latency {
    /// Mean.
    pub mean: f64,
    /// Shortest.
    pub min: f64,
    /// Half are at most this.
    pub p50: f64,
    /// 90 % are at most this.
    pub p90: f64,
    /// 95 % are at most this.
    pub p95: f64,
    /// 99 % are at most this.
    pub p99: f64,
    /// 99.9 % are at most this.
    pub p99_9: f64,
    /// 99.99 % are at most this.
    pub p99_99: f64,
    /// Longest.
    pub max: f64,
}

/// What keys cost a server.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Memory {
    /// The server.
    pub server: String,
    /// Keys written.
    pub keys: u64,
    /// Bytes of a key.
    pub key_bytes: usize,
    /// Bytes of a value.
    pub data_bytes: usize,
    /// Resident before.
    pub before_bytes: u64,
    /// Resident after.
    pub after_bytes: u64,
    /// How long writing took.
    pub seconds: f64,
}

impl Document {
    /// As JSON, for people too.
    pub fn to_json(&self) -> String {
        // A document has nothing that JSON has not.
        serde_json::to_string_pretty(self).unwrap_or_default() + "\n"
    }

    /// The document in the file `path`.
    pub fn read(path: &str) -> Result<Document, BenchError> {
        let text = std::fs::read_to_string(path).map_err(BenchError::file(path))?;
        let document: Document = serde_json::from_str(&text)
            .map_err(|error| BenchError::Usage(format!("{path}: no report: {error}")))?;
        if document.version != VERSION {
            let version = document.version;
            return Err(BenchError::Usage(format!("{path}: version {version}, not {VERSION}")));
        }
        Ok(document)
    }

    /// Adds what `other` has.
    pub fn join(&mut self, other: Document) {
        for server in other.servers {
            if !self.servers.iter().any(|mine| mine.name == server.name) {
                self.servers.push(server);
            }
        }
        self.cells.extend(other.cells);
        self.memory.extend(other.memory);
    }
}

impl Memory {
    /// Bytes for each key beyond key and value.
    pub fn overhead(&self) -> f64 {
        self.per_key() - (self.key_bytes + self.data_bytes) as f64
    }

    /// Bytes for each key.
    pub fn per_key(&self) -> f64 {
        (self.after_bytes as f64 - self.before_bytes as f64) / self.keys.max(1) as f64
    }
}

impl ServerResult {
    /// The median over the runs of what `of` gives; 0 where it gives nothing.
    pub fn median(&self, of: impl Fn(&Run) -> Option<f64>) -> Option<f64> {
        median(&mut self.runs.iter().filter_map(of).collect::<Vec<_>>())
    }

    /// (largest - smallest) / median of the requests a second.
    pub fn spread(&self) -> f64 {
        spread(&self.runs.iter().map(|run| run.rps).collect::<Vec<_>>())
    }
}

impl Run {
    /// The figures of a run.
    pub fn of(outcome: &Outcome) -> Run {
        let requests = outcome.requests();
        let each = |ns: u64| ns as f64 / requests.max(1) as f64;
        Run {
            requests,
            seconds: outcome.window_ns as f64 / 1e9,
            rps: outcome.rps(),
            errors: outcome.errors,
            wrong: outcome.wrong,
            first_error: outcome.first.clone(),
            latency: Latency::of(&outcome.histogram),
            server_cpu_ns: outcome.server_cpu_ns.map(each),
            server_busy: outcome.server_cpu_ns.map(|ns| ns as f64 / outcome.window_ns as f64),
            server_rss_bytes: outcome.server_rss_bytes,
            client_cpu_ns: each(outcome.client_cpu_ns),
            bytes_in: outcome.bytes.0,
            bytes_out: outcome.bytes.1,
        }
    }
}

impl Latency {
    fn of(histogram: &Histogram<u64>) -> Latency {
        let at = |quantile| histogram.value_at_quantile(quantile) as f64 / 1e3;
        Latency {
            mean: histogram.mean() / 1e3,
            min: histogram.min() as f64 / 1e3,
            p50: at(0.5),
            p90: at(0.9),
            p95: at(0.95),
            p99: at(0.99),
            p99_9: at(0.999),
            p99_99: at(0.9999),
            max: histogram.max() as f64 / 1e3,
        }
    }
}

/// The curve of `histogram`, denser towards the end.
pub fn curve(histogram: &Histogram<u64>) -> Vec<(f64, f64)> {
    let mut shares = Vec::new();
    let mut tail = 1.0;
    while tail > 1e-5 {
        shares.extend([1.0, 0.8, 0.6, 0.4, 0.25, 0.15].map(|part| 1.0 - tail * part));
        tail /= 10.0;
    }
    // Beyond this there is less than one request.
    let last = 1.0 - 1.0 / histogram.len().max(1) as f64;
    shares.retain(|share| *share <= last);
    shares.iter().map(|&s| (s, histogram.value_at_quantile(s) as f64 / 1e3)).collect()
}

/// The middle of `values`, which are put in order.
pub fn median(values: &mut [f64]) -> Option<f64> {
    values.sort_by(f64::total_cmp);
    let high = *values.get(values.len() / 2)?;
    let low = values[(values.len() - 1) / 2];
    Some((low + high) / 2.0)
}

/// (largest - smallest) / median.
pub fn spread(values: &[f64]) -> f64 {
    let mut values = values.to_vec();
    match median(&mut values) {
        Some(middle) if middle > 0.0 => (values[values.len() - 1] - values[0]) / middle,
        _ => 0.0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn medians_and_spreads() {
        assert_eq!(median(&mut []), None);
        assert_eq!(median(&mut [3.0, 1.0, 2.0]), Some(2.0));
        assert_eq!(median(&mut [4.0, 1.0, 2.0, 3.0]), Some(2.5));
        assert_eq!(spread(&[90.0, 100.0, 110.0]), 0.2);
        assert_eq!(spread(&[]), 0.0);
    }

    #[test]
    fn a_document_survives_json_and_joins_another() {
        let server = |name: &str| Server { name: name.into(), ..Server::default() };
        let run = Run { rps: 1.5, server_cpu_ns: Some(0.25), ..Run::default() };
        let result = ServerResult { server: "a".into(), runs: vec![run], curve: vec![(0.5, 1.0)] };
        let cell = Cell { test: "GET".into(), results: vec![result], ..Cell::default() };
        let mut first = Document {
            version: VERSION,
            servers: vec![server("a")],
            cells: vec![cell.clone()],
            ..Document::default()
        };
        let back: Document = serde_json::from_str(&first.to_json()).expect("it is JSON");
        assert_eq!(back, first);
        first.join(Document { servers: vec![server("a"), server("b")], ..back });
        assert_eq!(first.servers, [server("a"), server("b")]);
        assert_eq!(first.cells, [cell.clone(), cell]);
    }

    #[test]
    fn a_curve_ends_where_requests_end() {
        let mut histogram = crate::bench::client::run::empty_histogram();
        (1..=100u64).for_each(|us| histogram.saturating_record(us * 1000));
        let points = curve(&histogram);
        assert!(points.is_sorted_by(|a, b| a.0 <= b.0 && a.1 <= b.1), "{points:?}");
        assert!(points.last().is_some_and(|(share, _)| *share <= 0.99));
    }
}
