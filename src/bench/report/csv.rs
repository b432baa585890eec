//! One line for each run. The first eight columns are those of `redis-benchmark --csv`, so that
//! programs that read those read these.

use super::document::{Cell, Run};

/// The first line.
pub const HEADER: &str = "\"test\",\"rps\",\"avg_latency_ms\",\"min_latency_ms\",\
\"p50_latency_ms\",\"p95_latency_ms\",\"p99_latency_ms\",\"max_latency_ms\",\
\"p99.9_latency_ms\",\"p99.99_latency_ms\",\"server\",\"label\",\"clients\",\"pipeline\",\
\"data_bytes\",\"key_space\",\"threads\",\"round\",\"requests\",\"errors\",\"wrong\",\
\"server_cpu_ns\",\"client_cpu_ns\"";

/// The line of run number `round` of server number `server`.
pub fn line(cell: &Cell, server: usize, round: usize, run: &Run) -> String {
    let (shape, latency) = (&cell.shape, &run.latency);
    let ms = |us: f64| format!("{:.3}", us / 1e3);
    let cpu = run.server_cpu_ns.map_or(String::new(), |ns| format!("{ns:.1}"));
    let fields = [
        cell.test.clone(),
        format!("{:.2}", run.rps),
        ms(latency.mean),
        ms(latency.min),
        ms(latency.p50),
        ms(latency.p95),
        ms(latency.p99),
        ms(latency.max),
        ms(latency.p99_9),
        ms(latency.p99_99),
        cell.results.get(server).map_or(String::new(), |result| result.server.clone()),
        cell.label.clone(),
        shape.clients.to_string(),
        shape.pipeline.to_string(),
        shape.data_bytes.to_string(),
        shape.key_space.to_string(),
        shape.threads.to_string(),
        (round + 1).to_string(),
        run.requests.to_string(),
        run.errors.to_string(),
        run.wrong.to_string(),
        cpu,
        format!("{:.1}", run.client_cpu_ns),
    ];
    fields.map(|field| format!("\"{}\"", field.replace('"', "\"\""))).join(",")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_column_has_a_name() {
        let cell = Cell { test: "say \"hi\"".into(), ..Cell::default() };
        let line = line(&cell, 0, 0, &Run::default());
        assert_eq!(line.matches("\",\"").count(), HEADER.matches("\",\"").count());
        assert!(line.starts_with("\"say \"\"hi\"\"\",\"0.00\","));
    }
}
