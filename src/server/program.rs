//! The program around the server: reads the command line, starts the log, runs the server.
//!
//! It exits with 0 after an orderly end, `--help`, `--version` and a good `--check-config`, and
//! with 1 and one line on standard error after everything that keeps it from starting.

use super::cli::{self, Startup};
use super::logging::Logging;
use std::fmt::Display;
use std::io::{self, Read, Write};
use std::process::ExitCode;

use crate::config::Config;
use crate::config::load::Notice;
use crate::limits::CONFIG_FILE_BYTES_MAX;

/// The whole program.
pub fn program() -> ExitCode {
    let args = std::env::args_os().skip(1);
    match cli::parse(args, std::env::vars_os(), read_stdin) {
        Ok(Startup::Run(config, notices)) => run(*config, &notices),
        Ok(Startup::CheckData(directory)) => super::admin::check_directory(&directory),
        Ok(Startup::Help(text) | Startup::Version(text) | Startup::Checked(text)) => print(&text),
        Err(error) => fail(&error),
    }
}

fn run(config: Config, notices: &[Notice]) -> ExitCode {
    let log = match Logging::start(&config) {
        Ok(log) => log,
        Err(error) => return fail(&error),
    };
    for notice in notices {
        tracing::warn!("{notice}");
    }
    match super::start::run(config, &log) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // Said once at each place: without a file the log goes to the terminal too.
            if log.has_file() {
                tracing::error!("{error}");
            }
            fail(&error)
        }
    }
}

fn read_stdin() -> io::Result<Vec<u8>> {
    let mut text = Vec::new();
    // One byte over the bound shows that there is more than the bound allows.
    io::stdin().lock().take(CONFIG_FILE_BYTES_MAX as u64 + 1).read_to_end(&mut text)?;
    Ok(text)
}

fn print(text: &str) -> ExitCode {
    // A reader that has seen enough (`--help | head`) is no failure.
    _ = writeln!(io::stdout(), "{}", text.trim_end());
    ExitCode::SUCCESS
}

fn fail(error: &dyn Display) -> ExitCode {
    // Nobody may be there to read it; the exit code still tells.
    _ = writeln!(io::stderr(), "dse-server: {error}");
    ExitCode::FAILURE
}
