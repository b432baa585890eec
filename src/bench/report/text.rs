//! Results on the terminal.

use super::document::{Cell, Document, Memory, Run, ServerResult};
use super::ranking::{Measure, Ratio, sentences};
use std::fmt::Write;

/// A load in one line.
pub fn shape_line(cell: &Cell) -> String {
    let shape = &cell.shape;
    let mut line = format!(
        "{} c={} P={} d={} r={} threads={}",
        cell.test, shape.clients, shape.pipeline, shape.data_bytes, shape.key_space, shape.threads
    );
    if let Some(rate) = shape.rate {
        _ = write!(line, " rate={rate}");
    }
    if !cell.label.is_empty() {
        _ = write!(line, " ({})", cell.label);
    }
    line
}

/// The line that `-q` prints, as redis-benchmark has it.
pub fn quiet_line(test: &str, run: &Run, precision: usize) -> String {
    let (rps, p50) = (run.rps, run.latency.p50 / 1e3);
    format!("{test}: {rps:.2} requests per second, p50={p50:.*} msec", precision.max(3))
}

/// What a run without `-q` prints.
pub fn run_text(cell: &Cell, run: &Run) -> String {
    let (latency, shape) = (&run.latency, &cell.shape);
    let mut out = format!("====== {} ======\n", cell.test);
    let mut line = |text: String| _ = writeln!(out, "  {text}");
    line(format!("{} requests completed in {:.2} seconds", run.requests, run.seconds));
    line(format!("{} parallel clients, pipeline of {}", shape.clients, shape.pipeline));
    line(format!("{} bytes payload, {} keys", shape.data_bytes, shape.key_space.max(1)));
    line(format!("throughput: {:.2} requests per second", run.rps));
    line("latency (msec):".into());
    let names = ["avg", "min", "p50", "p95", "p99", "p99.9", "p99.99", "max"];
    line(names.map(|name| format!("{name:>9}")).concat());
    let values = [
        latency.mean,
        latency.min,
        latency.p50,
        latency.p95,
        latency.p99,
        latency.p99_9,
        latency.p99_99,
        latency.max,
    ];
    line(values.map(|us| format!("{:9.3}", us / 1e3)).concat());
    let server = match (run.server_cpu_ns, run.server_busy) {
        (Some(ns), Some(busy)) => format!("server {ns:.0} ns a request ({busy:.2} processors)"),
        _ => "server: not on this machine".into(),
    };
    line(format!("processor time: {server}, client {:.0} ns a request", run.client_cpu_ns));
    if let Some(said) = complaint(run) {
        line(said);
    }
    out
}

/// What was wrong in a run.
pub fn complaint(run: &Run) -> Option<String> {
    if run.errors + run.wrong == 0 {
        return None;
    }
    let first = run.first_error.as_deref().unwrap_or_default();
    Some(format!("{} errors, {} wrong replies; the first: {first}", run.errors, run.wrong))
}

/// The servers of one load side by side, and what can be said of them.
pub fn cell_table(cell: &Cell) -> String {
    let rounds = cell.results.iter().map(|result| result.runs.len()).max().unwrap_or(0);
    let mut out = format!("\n## {} rounds={rounds}\n", shape_line(cell));
    let head = [
        "server",
        "rps",
        "p50 us",
        "p99 us",
        "p99.9 us",
        "p99.99 us",
        "cpu ns/req",
        "busy",
        "client ns",
        "x rps",
        "x cpu",
        "spread",
    ];
    let base = cell.results.first();
    let rows = cell.results.iter().map(|result| row(result, base));
    out += &columns(std::iter::once(head.map(String::from).to_vec()).chain(rows).collect());
    for measure in [Measure::Throughput, Measure::Cpu] {
        for sentence in sentences(cell, measure) {
            _ = writeln!(out, "  {sentence}");
        }
    }
    for result in &cell.results {
        for complaint in result.runs.iter().filter_map(complaint).take(1) {
            _ = writeln!(out, "  {}: {complaint}", result.server);
        }
    }
    out
}

fn row(result: &ServerResult, base: Option<&ServerResult>) -> Vec<String> {
    let show = |value: Option<f64>, digits: usize| {
        value.map_or("-".into(), |value| format!("{value:.digits$}"))
    };
    let ratio = |measure| {
        let ratio = base.and_then(|base| Ratio::of(base, result, measure));
        show(ratio.map(|ratio| ratio.median), 2)
    };
    vec![
        result.server.clone(),
        show(result.median(|run| Some(run.rps)), 0),
        show(result.median(|run| Some(run.latency.p50)), 0),
        show(result.median(|run| Some(run.latency.p99)), 0),
        show(result.median(|run| Some(run.latency.p99_9)), 0),
        show(result.median(|run| Some(run.latency.p99_99)), 0),
        show(result.median(|run| run.server_cpu_ns), 0),
        show(result.median(|run| run.server_busy), 2),
        show(result.median(|run| Some(run.client_cpu_ns)), 0),
        ratio(Measure::Throughput),
        ratio(Measure::Cpu),
        format!("{:.0}%", 100.0 * result.spread()),
    ]
}

/// What keys cost, a server a line.
pub fn memory_table(document: &Document) -> String {
    let head = ["server", "keys", "value B", "RSS B/key", "overhead B/key", "load s"];
    let row = |row: &Memory| {
        vec![
            row.server.clone(),
            row.keys.to_string(),
            row.data_bytes.to_string(),
            format!("{:.1}", row.per_key()),
            format!("{:.1}", row.overhead()),
            format!("{:.1}", row.seconds),
        ]
    };
    let rows = document.memory.iter().map(row);
    columns(std::iter::once(head.map(String::from).to_vec()).chain(rows).collect())
}

/// Rows as lines, with columns as wide as they must be; the first is on the left.
pub fn columns(rows: Vec<Vec<String>>) -> String {
    let count = rows.first().map_or(0, Vec::len);
    let width = |column: usize| {
        rows.iter().filter_map(|row| row.get(column)).map(|cell| cell.chars().count()).max()
    };
    let widths: Vec<usize> = (0..count).map(|column| width(column).unwrap_or(0)).collect();
    let mut out = String::new();
    for row in &rows {
        for (column, (cell, width)) in row.iter().zip(&widths).enumerate() {
            _ = match column {
                0 => write!(out, "  {cell:<width$}"),
                _ => write!(out, "  {cell:>width$}"),
            };
        }
        out.push('\n');
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_stand_below_each_other() {
        let rows = [["server", "rps"], ["a", "12345"]];
        let text = columns(rows.map(|row| row.map(String::from).to_vec()).to_vec());
        assert_eq!(text, "  server    rps\n  a       12345\n");
    }

    #[test]
    fn the_quiet_line_is_that_of_redis_benchmark() {
        let mut run = Run { rps: 97087.379, ..Run::default() };
        run.latency.p50 = 255.0;
        let line = quiet_line("SET", &run, 0);
        assert_eq!(line, "SET: 97087.38 requests per second, p50=0.255 msec");
    }

    #[test]
    fn errors_are_named() {
        let first_error = Some("LOADING".into());
        let run = Run { errors: 3, first_error, ..Run::default() };
        let text = run_text(&Cell::default(), &run);
        assert!(text.contains("3 errors, 0 wrong replies; the first: LOADING"), "{text}");
        assert_eq!(complaint(&Run::default()), None);
    }
}
