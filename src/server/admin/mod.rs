//! The program `dse-admin`: looks at a data directory, mends it, and carries data in and out.
//!
//! ```text
//!   check    directory --> snapshots and log, whole or damaged
//!   dump     directory --> one line for each record of the log
//!   repair   directory --> a log that ends in front of the damage
//!   restore  directory --> the keyspace at a moment --> a snapshot in a new directory
//!   import   RDB file  --> keyspace                 --> a snapshot in a new directory
//!   export   directory --> keyspace                 --> RDB file
//! ```
//!
//! It exits with 0 when all is well, with 1 when data is damaged or not what was asked for, and
//! with 2 when it could not look: no such directory, a server is running on it, a wrong flag.
//!
//! Invariant: nothing but `repair --yes` changes a directory that holds data, and `repair` keeps
//! every byte that it takes away under another name.

mod check;
mod cli;
mod copies;
mod directory;
mod dump;
mod error;
mod keyspace;
mod repair;

use cli::{Request, Task};
use error::AdminError;
use std::io::{self, BufWriter, Write};
use std::path::Path;
use std::process::ExitCode;

/// Where what was found is written to.
type Out<'o> = &'o mut dyn Write;

/// The whole program.
pub fn program() -> ExitCode {
    let request = match cli::parse(std::env::args_os()) {
        Ok(request) => request,
        Err(error) => {
            // Nobody may be there to read it; the exit code still tells.
            _ = error.print();
            return ExitCode::from(error.exit_code() as u8);
        }
    };
    finish("dse-admin", |out| run(&request, out))
}

/// `dse-server --check DIR`: what `dse-admin check DIR` does.
pub(super) fn check_directory(path: &Path) -> ExitCode {
    finish("dse-server", |out| check::check(path, out))
}

fn run(request: &Request, out: Out<'_>) -> Result<(), AdminError> {
    let Request { directory, task } = request;
    match task {
        Task::Check => check::check(directory, out),
        Task::Dump { from, to } => dump::dump(directory, *from, *to, out),
        Task::Repair { agreed } => repair::repair(directory, *agreed, out),
        Task::Restore { to, into } => copies::restore(directory, *to, into, out),
        Task::Import { file } => copies::import(file, directory, out),
        Task::Export { file } => copies::export(directory, file, out),
    }
}

/// Runs `work` with standard output and turns its end into an exit code.
fn finish(program: &str, work: impl FnOnce(Out<'_>) -> Result<(), AdminError>) -> ExitCode {
    let mut out = BufWriter::new(io::stdout().lock());
    let outcome = work(&mut out);
    let flushed = out.flush().map_err(AdminError::Output);
    match outcome.and(flushed) {
        Ok(()) => ExitCode::SUCCESS,
        // A reader that has seen enough (`dump | head`) is no failure.
        Err(AdminError::Output(error)) if error.kind() == io::ErrorKind::BrokenPipe => {
            ExitCode::SUCCESS
        }
        Err(error) => {
            _ = writeln!(io::stderr(), "{program}: {error}");
            error.exit_code()
        }
    }
}
