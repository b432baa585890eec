//! The program `dse-bench`: measures servers that speak the Redis protocol, and our own table.
//!
//! ```text
//!   cli --> options --> measure --> client (threads, connections) <--> servers
//!                          |           ^ load (what is sent and must come back)
//!                          v
//!                       report (ranking; text, CSV, JSON, .hgrm, HTML)
//!
//!   clients   many connections that check their answers
//!   floor     a server that does the least        ping   does it answer?
//!   local     benches in process: throughput, read-compare, miss-ratio
//! ```
//!
//! Whoever measures must be trusted: rounds are interleaved, ratios are taken within a round, the
//! server's processor time stands beside its throughput, replies can be checked one by one, and
//! where the rounds disagree nobody is ranked.
//!
//! Deliberately absent: TLS, and starting or stopping servers (scripts do that).

mod cli;
mod client;
mod clients;
mod error;
mod floor;
mod load;
mod local;
mod machine;
mod measure;
mod options;
mod ping;
mod progress;
mod report;

use cli::{NoTask, Task};
use error::BenchError;
use options::{Options, Output};
use progress::println;
use report::document::Document;
use report::{page, text};
use std::io::Write;
use std::process::ExitCode;

/// The whole program. It exits with 0 if all went well, with 1 if a server did not answer, or
/// answered wrongly, and with 2 for a command line that cannot be.
pub fn program() -> ExitCode {
    let result = match cli::parse(std::env::args_os()) {
        Ok(task) => perform(task),
        Err(NoTask::Bench(error)) => Err(error),
        Err(NoTask::Clap(error)) => {
            // Nobody may be there to read it; the exit code still tells.
            _ = error.print();
            return ExitCode::from(error.exit_code() as u8);
        }
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            _ = writeln!(std::io::stderr(), "dse-bench: {error}");
            error.exit_code()
        }
    }
}

fn perform(task: Task) -> Result<(), BenchError> {
    match task {
        Task::Load(options) => loop {
            finish(&measure::series(&options)?, &options.output)?;
            if !options.forever {
                return Ok(());
            }
        },
        Task::Idle(options) => clients::idle(&options),
        Task::Clients { options, active } => {
            finish(&clients::many(&options, active)?, &options.output)
        }
        Task::Abuse { options, active } => {
            finish(&clients::trial(&options, active)?, &options.output)
        }
        Task::Heavy(options) => finish(&clients::heavy(&options)?, &options.output),
        Task::Memory { options, keys, settle } => memory(&options, keys, settle),
        Task::Ping(target) => {
            println(&ping::ping(&target)?);
            Ok(())
        }
        Task::Floor(options) => floor::serve(&options),
        Task::Throughput(options) => local::throughput::mix(&options),
        Task::ReadCompare(options) => local::read_compare::compare(&options),
        Task::MissRatio(options) => local::miss_ratio::compare(&options),
        Task::Report { files, output } => join(&files, &output),
    }
}

fn memory(options: &Options, keys: u64, settle: std::time::Duration) -> Result<(), BenchError> {
    let document = measure::memory(options, keys, settle)?;
    println(text::memory_table(&document).trim_end());
    finish(&document, &options.output)
}

fn join(files: &[String], output: &Output) -> Result<(), BenchError> {
    let mut all: Option<Document> = None;
    for file in files {
        let document = Document::read(file)?;
        match &mut all {
            Some(all) => all.join(document),
            None => all = Some(document),
        }
    }
    let Some(mut document) = all else { return Ok(()) };
    if output.title != "dse-bench" {
        document.title.clone_from(&output.title);
    }
    write(&document, output)
}

/// Writes the files that were asked for, and fails if replies were wrong.
fn finish(document: &Document, output: &Output) -> Result<(), BenchError> {
    write(document, output)?;
    let runs = || document.cells.iter().flat_map(|cell| &cell.results).flat_map(|r| &r.runs);
    let sum = |of: fn(&report::document::Run) -> u64| runs().map(of).sum::<u64>();
    let (errors, wrong) = (sum(|run| run.errors), sum(|run| run.wrong));
    if errors + wrong == 0 {
        return Ok(());
    }
    let first = runs().find_map(|run| run.first_error.clone()).unwrap_or_default();
    Err(BenchError::Failed(format!("{errors} errors, {wrong} wrong replies; the first: {first}")))
}

fn write(document: &Document, output: &Output) -> Result<(), BenchError> {
    match output.json.as_deref() {
        None => {}
        Some("-") => println(document.to_json().trim_end()),
        Some(path) => std::fs::write(path, document.to_json()).map_err(BenchError::file(path))?,
    }
    if let Some(path) = output.html.as_deref() {
        std::fs::write(path, page::html(document)).map_err(BenchError::file(path))?;
    }
    Ok(())
}
