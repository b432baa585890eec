//! The server program.

#[cfg(not(loom))]
use {
    dse::server::{self, cli, logging::Logging},
    std::{fmt::Display, io::Read, process::ExitCode},
};

/// A build for model checking has only the room `sync`, and nothing to serve with.
#[cfg(loom)]
fn main() {}

#[cfg(not(loom))]
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
#[cfg(not(loom))]
fn fail(error: &dyn Display) -> ExitCode {
    eprintln!("dse-server: {error}");
    ExitCode::FAILURE
}
