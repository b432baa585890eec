//! The server program.

use dse::config::Config;
use dse::config::load::{FileSource, Sources};
use std::process::ExitCode;

fn main() -> ExitCode {
    let sources = Sources { file: FileSource::None, ..Sources::default() };
    match Config::load(sources) {
        Ok((config, _)) => match dse::server::run(config) {
            Ok(()) => ExitCode::SUCCESS,
            Err(error) => {
                eprintln!("dse-server: {error}");
                ExitCode::FAILURE
            }
        },
        Err(error) => {
            eprintln!("dse-server: {error}");
            ExitCode::FAILURE
        }
    }
}
