//! Why a measurement could not be made, or must not be believed.

use std::fmt;
use std::io;
use std::process::ExitCode;

/// What ends a run of `dse-bench` early, or makes it fail.
#[derive(Debug)]
pub enum BenchError {
    /// The command line asks for what cannot be.
    Usage(String),
    /// No connection to the server.
    Connect {
        /// Where it should be.
        address: String,
        /// What the system said.
        cause: io::Error,
    },
    /// The server answered with an error where the run could not go on.
    Refused {
        /// Where it is.
        address: String,
        /// Its words.
        reply: String,
    },
    /// A connection that was in use broke.
    Lost {
        /// Where it led.
        address: String,
        /// What the system said.
        cause: io::Error,
    },
    /// The server's bytes are no reply.
    Malformed {
        /// Where it is.
        address: String,
        /// What is wrong with them.
        what: String,
    },
    /// No reply for a long time.
    Silent {
        /// Where the server is.
        address: String,
        /// How long nothing came, seconds.
        seconds: u64,
    },
    /// The system refused something.
    System(io::Error),
    /// A result could not be written or read.
    File {
        /// Where it should be.
        path: String,
        /// What the system said.
        cause: io::Error,
    },
    /// Replies were wrong; the figures are printed but worth nothing.
    Failed(String),
}

impl BenchError {
    /// 2 for a wrong command line, 1 for everything else.
    pub fn exit_code(&self) -> ExitCode {
        ExitCode::from(if matches!(self, BenchError::Usage(_)) { 2 } else { 1 })
    }

    /// For `map_err` of what is done with the file `path`.
    pub fn file(path: &str) -> impl FnOnce(io::Error) -> BenchError {
        let path = path.to_owned();
        move |cause| BenchError::File { path, cause }
    }
}

impl fmt::Display for BenchError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            BenchError::Usage(what) | BenchError::Failed(what) => f.write_str(what),
            BenchError::Connect { address, cause } => {
                write!(f, "could not connect to {address}: {cause}")
            }
            BenchError::Refused { address, reply } => write!(f, "{address} refuses: {reply}"),
            BenchError::Lost { address, cause } => write!(f, "lost {address}: {cause}"),
            BenchError::Malformed { address, what } => {
                write!(f, "{address} sent what is no reply: {what}")
            }
            BenchError::Silent { address, seconds } => {
                write!(f, "{address} has not answered for {seconds} s")
            }
            BenchError::System(cause) => write!(f, "{cause}"),
            BenchError::File { path, cause } => write!(f, "{path}: {cause}"),
        }
    }
}

impl std::error::Error for BenchError {}

impl From<io::Error> for BenchError {
    fn from(cause: io::Error) -> BenchError {
        BenchError::System(cause)
    }
}
