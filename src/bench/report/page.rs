//! The report as one HTML file that needs nothing else: no script, no font, no other file.
//!
//! Plots of all loads of a kind stand together; what belongs to a single load, its table and its
//! latency curve, is folded away where there are many.

use super::charts;
use super::document::{Cell, Document, Memory, Server, ServerResult};
use super::ranking::{Measure, Ratio, Verdict, sentences};
use super::text::shape_line;
use std::fmt::Write;

const STYLE: &str = include_str!("page.css");
/// Loads up to which all details are open.
const OPEN_UP_TO: usize = 4;

/// The page of a document.
pub fn html(document: &Document) -> String {
    let mut out = String::new();
    // Writing to a String cannot fail, here and below.
    _ = write!(
        out,
        "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
         <title>{title}</title>\n<style>\n{STYLE}</style>\n</head>\n<body>\n<h1>{title}</h1>\n",
        title = escaped(&document.title)
    );
    head(document, &mut out);
    legend(&document.servers, &mut out);
    for group in groups(&document.cells) {
        overview(&group, &mut out);
    }
    memory(document, &mut out);
    if !document.cells.is_empty() {
        out.push_str("<h2>Each load</h2>\n");
    }
    let open = if document.cells.len() <= OPEN_UP_TO { " open" } else { "" };
    for cell in &document.cells {
        details(cell, open, &mut out);
    }
    method(&mut out);
    out.push_str("</body>\n</html>\n");
    out
}

fn head(document: &Document, out: &mut String) {
    let machine = &document.machine;
    let gib = machine.memory_bytes as f64 / f64::from(1 << 30);
    let mut rows = vec![
        ("measured", format!("{} (UTC)", document.began)),
        (
            "client on",
            format!(
                "{}: {} processors ({}), {gib:.1} GiB, {}, load average before {}",
                machine.host,
                machine.processors,
                machine.processor,
                machine.system,
                machine.load_average
            ),
        ),
    ];
    for server in &document.servers {
        let process = if server.pids.is_empty() { "elsewhere" } else { "on this machine" };
        rows.push((&server.name, format!("{} at {}, {process}", server.version, server.address)));
    }
    out.push_str("<dl>\n");
    for (name, text) in rows {
        _ = writeln!(out, "<dt>{}</dt><dd>{}</dd>", escaped(name), escaped(&text));
    }
    let command = escaped(&document.command.join(" "));
    _ = writeln!(out, "<dt>command</dt><dd><code>{command}</code></dd>\n</dl>");
}

fn legend(servers: &[Server], out: &mut String) {
    out.push_str("<div class=\"legend\">");
    for (index, server) in servers.iter().enumerate() {
        let sign = ["●", "▲", "■"][index % 3];
        let (colour, name) = (index % charts::SERIES, escaped(&server.name));
        _ = write!(out, "<span><b style=\"color:var(--s{colour})\">{sign}</b> {name}</span>");
    }
    out.push_str("</div>\n");
}

/// Cells of the same test, label and size of values, in order of appearance.
fn groups(cells: &[Cell]) -> Vec<Vec<&Cell>> {
    let mut groups: Vec<Vec<&Cell>> = Vec::new();
    let kind = |cell: &Cell| (cell.test.clone(), cell.label.clone(), cell.shape.data_bytes);
    for cell in cells {
        match groups.iter_mut().find(|group| kind(group[0]) == kind(cell)) {
            Some(group) => group.push(cell),
            None => groups.push(vec![cell]),
        }
    }
    groups
}

fn overview(group: &[&Cell], out: &mut String) {
    let first = group[0];
    let label = if first.label.is_empty() { String::new() } else { format!(", {}", first.label) };
    let bytes = first.shape.data_bytes;
    _ = writeln!(out, "<h2>{}, {bytes} B{}</h2>", escaped(&first.test), escaped(&label));
    out.push_str("<div class=\"charts\">\n");
    let drawn = [
        (
            "Requests a second; the line is the range of the rounds",
            charts::dots(group, "requests a second", |run| Some(run.rps)),
        ),
        (
            "Processor time of the server for each request, ns",
            charts::dots(group, "ns", |run| run.server_cpu_ns),
        ),
        ("99th percentile of latency, us", charts::dots(group, "us", |run| Some(run.latency.p99))),
    ];
    let class = if group.len() >= charts::WIDE_FROM { " class=\"wide\"" } else { "" };
    for (caption, svg) in drawn {
        figure(class, caption, svg, out);
    }
    out.push_str("</div>\n");
}

fn figure(class: &str, caption: &str, svg: Option<String>, out: &mut String) {
    if let Some(svg) = svg {
        let caption = escaped(caption);
        _ = writeln!(out, "<figure{class}><figcaption>{caption}</figcaption>\n{svg}</figure>");
    }
}

fn memory(document: &Document, out: &mut String) {
    if document.memory.is_empty() {
        return;
    }
    let names: Vec<String> = document.servers.iter().map(|server| server.name.clone()).collect();
    out.push_str("<h2>Memory for each key</h2>\n<div class=\"charts\">\n");
    let caption = "Growth of resident memory for each key, beyond key and value";
    figure("", caption, charts::memory(&document.memory, &names), out);
    out.push_str("</div>\n");
    let head = ["server", "keys", "key B", "value B", "resident B/key", "overhead B/key", "s"];
    let row = |row: &Memory| {
        vec![
            row.server.clone(),
            row.keys.to_string(),
            row.key_bytes.to_string(),
            row.data_bytes.to_string(),
            format!("{:.1}", row.per_key()),
            format!("{:.1}", row.overhead()),
            format!("{:.1}", row.seconds),
        ]
    };
    table(&head, document.memory.iter().map(row), out);
}

fn details(cell: &Cell, open: &str, out: &mut String) {
    let title = escaped(&shape_line(cell));
    _ = writeln!(out, "<details{open}><summary>{title}</summary>");
    let head = [
        "server",
        "requests/s",
        "spread",
        "x",
        "cpu ns",
        "x cpu",
        "busy",
        "mean us",
        "p50",
        "p90",
        "p99",
        "p99.9",
        "p99.99",
        "max",
        "client ns",
        "errors",
    ];
    let base = cell.results.first();
    table(&head, cell.results.iter().map(|result| row(result, base)), out);
    let said = [Measure::Throughput, Measure::Cpu].map(|measure| sentences(cell, measure)).concat();
    if !said.is_empty() {
        let items: String = said.iter().map(|s| format!("<li>{}</li>\n", escaped(s))).collect();
        _ = writeln!(out, "<ul>\n{items}</ul>");
    }
    out.push_str("<div class=\"charts\">\n");
    figure("", "Latency of all rounds together", charts::curves(&cell.results), out);
    out.push_str("</div>\n</details>\n");
}

fn row(result: &ServerResult, base: Option<&ServerResult>) -> Vec<String> {
    let figure = |value: Option<f64>, digits: usize| {
        value.map_or("–".into(), |value| format!("{value:.digits$}"))
    };
    let ratio = |measure| {
        let ratio = base.filter(|b| b.server != result.server);
        let Some(ratio) = ratio.and_then(|base| Ratio::of(base, result, measure)) else {
            return String::from("–");
        };
        let class = match ratio.verdict() {
            Verdict::Better => "better",
            Verdict::Worse => "worse",
            Verdict::Open => "open",
        };
        format!("<span class=\"{class}\">{:.2}</span>", ratio.median)
    };
    let latency = |of: fn(&super::document::Latency) -> f64| {
        figure(result.median(|run| Some(of(&run.latency))), 0)
    };
    vec![
        escaped(&result.server),
        figure(result.median(|run| Some(run.rps)), 0),
        format!("{:.0} %", 100.0 * result.spread()),
        ratio(Measure::Throughput),
        figure(result.median(|run| run.server_cpu_ns), 0),
        ratio(Measure::Cpu),
        figure(result.median(|run| run.server_busy), 2),
        latency(|l| l.mean),
        latency(|l| l.p50),
        latency(|l| l.p90),
        latency(|l| l.p99),
        latency(|l| l.p99_9),
        latency(|l| l.p99_99),
        latency(|l| l.max),
        figure(result.median(|run| Some(run.client_cpu_ns)), 0),
        result.runs.iter().map(|run| run.errors + run.wrong).sum::<u64>().to_string(),
    ]
}

/// A table; its cells are HTML.
fn table(head: &[&str], rows: impl Iterator<Item = Vec<String>>, out: &mut String) {
    let line = |cells: Vec<String>, kind: &str| {
        let cells: String = cells.iter().map(|cell| format!("<{kind}>{cell}</{kind}>")).collect();
        format!("<tr>{cells}</tr>\n")
    };
    let head = line(head.iter().map(|name| name.to_string()).collect(), "th");
    let body: String = rows.map(|row| line(row, "td")).collect();
    _ = writeln!(out, "<div class=\"scroll\"><table>\n{head}{body}</table></div>");
}

fn method(out: &mut String) {
    out.push_str(
        "<h2>How to read this</h2>\n<p class=\"soft\">Rounds go through all servers in turn; a \
         ratio (x) is the median of the rounds' ratios to the first server, and larger is better. \
         Spread is (largest − smallest) / median. Two servers are ranked only if three rounds or \
         more agree: if the factor between their largest and smallest ratio is smaller than the \
         factor between the servers. Processor time comes \
         from /proc and counts all threads of the server. Busy is the processors that it kept \
         busy; far below its number of cores the client was the limit, and processor time is \
         what to compare.</p>\n",
    );
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

#[cfg(test)]
mod tests {
    use super::super::document::{Run, VERSION};
    use super::*;

    fn document() -> Document {
        let run = Run { rps: 1000.0, server_cpu_ns: Some(500.0), ..Run::default() };
        let result = |name: &str| ServerResult {
            server: name.into(),
            runs: vec![run.clone(); 3],
            curve: vec![(0.5, 10.0), (0.99, 90.0)],
        };
        let results = vec![result("<a>"), result("b")];
        let server = |name: &str| Server { name: name.into(), ..Server::default() };
        let memory = Memory { server: "b".into(), keys: 10, after_bytes: 900, ..Memory::default() };
        Document {
            version: VERSION,
            title: "a & b".into(),
            servers: vec![server("<a>"), server("b")],
            cells: vec![Cell { test: "GET".into(), results, ..Cell::default() }],
            memory: vec![memory],
            ..Document::default()
        }
    }

    #[test]
    fn the_page_needs_nothing_else_and_quotes_names() {
        let page = html(&document());
        assert!(page.starts_with("<!doctype html>") && page.trim_end().ends_with("</html>"));
        for part in ["a &amp; b", "&lt;a&gt;", "prefers-color-scheme", "viewport", "<svg"] {
            assert!(page.contains(part), "{part} is missing");
        }
        for part in ["<script", "src=", "@import", "<link", "<a>"] {
            assert!(!page.contains(part), "{part} is there");
        }
        assert_eq!(page.matches("<details").count(), page.matches("</details>").count());
        assert_eq!(page.matches("<svg").count(), 4, "all but the latencies, which are 0");
    }
}
