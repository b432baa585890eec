//! The server program.

use dse::server::{self, cli, logging::Logging};
use std::fmt::Display;
use std::io::Read;
use std::process::ExitCode;

fn main() -> ExitCode {
    let stdin = || {
        let mut text = Vec::new();
        std::io::stdin().read_to_end(&mut text).map(|_| text)
    };
    let startup = cli::parse(std::env::args_os().skip(1), std::env::vars_os(), stdin);
    match startup {
        Ok(cli::Startup::Run(config, notices)) => {
            let logging = match Logging::start(&config) {
                Ok(logging) => logging,
                Err(error) => return fail(&error),
            };
            for notice in notices {
                tracing::warn!("{notice}");
            }
            match server::run(*config, &logging) {
                Ok(()) => ExitCode::SUCCESS,
                Err(error) => fail(&error),
            }
        }
        Ok(
            cli::Startup::Checked(text) | cli::Startup::Help(text) | cli::Startup::Version(text),
        ) => {
            println!("{text}");
            ExitCode::SUCCESS
        }
        Err(error) => fail(&error),
    }
}

/// One line that says what is wrong.
fn fail(error: &dyn Display) -> ExitCode {
    eprintln!("dse-server: {error}");
    ExitCode::FAILURE
}
