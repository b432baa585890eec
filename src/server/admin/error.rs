//! Why `dse-admin` did not do what it was asked. Each text is one line that says what to do.

use crate::commands::replay::ReplayError;
use crate::snapshot::SnapshotError;
use crate::snapshot::rdb::RdbError;
use crate::wal::ReadError;
use std::fmt;
use std::io;
use std::path::PathBuf;
use std::process::ExitCode;

/// Why a task failed.
#[derive(Debug)]
pub(super) enum AdminError {
    /// There is no such directory.
    NoDirectory(PathBuf),
    /// A server is running on it.
    InUse(PathBuf),
    /// New data would go into a directory that is not empty.
    NotEmpty(PathBuf),
    /// A file that would be written is there.
    Exists(PathBuf),
    /// The system refused something; its message names the file.
    Io(io::Error),
    /// Standard output.
    Output(io::Error),
    /// The log.
    Log(ReadError),
    /// A snapshot.
    Snapshot(SnapshotError),
    /// A record.
    Replay(ReplayError),
    /// An RDB file.
    Rdb(PathBuf, RdbError),
    /// What was asked for is older than what the directory holds.
    TooEarly {
        /// What the oldest way back is.
        have: String,
    },
    /// The directory holds neither snapshots nor a log.
    Nothing(PathBuf),
    /// So many things are damaged; they were told one by one.
    Damage(usize),
    /// It cannot be mended, for this reason.
    BeyondRepair(String),
    /// Something to mend, and no consent.
    NotAgreed,
}

impl AdminError {
    /// 1 when the data is at fault, 2 when nobody could look.
    pub(super) fn exit_code(&self) -> ExitCode {
        match self {
            AdminError::NoDirectory(_)
            | AdminError::InUse(_)
            | AdminError::NotEmpty(_)
            | AdminError::Exists(_)
            | AdminError::Io(_)
            | AdminError::Output(_)
            | AdminError::Log(ReadError::Io(_))
            | AdminError::Snapshot(SnapshotError::Io(_))
            | AdminError::Rdb(_, RdbError::Io(_)) => ExitCode::from(2),
            _ => ExitCode::FAILURE,
        }
    }
}

impl From<io::Error> for AdminError {
    fn from(error: io::Error) -> AdminError {
        AdminError::Io(error)
    }
}

impl From<ReadError> for AdminError {
    fn from(error: ReadError) -> AdminError {
        AdminError::Log(error)
    }
}

impl From<SnapshotError> for AdminError {
    fn from(error: SnapshotError) -> AdminError {
        AdminError::Snapshot(error)
    }
}

impl From<ReplayError> for AdminError {
    fn from(error: ReplayError) -> AdminError {
        AdminError::Replay(error)
    }
}

impl fmt::Display for AdminError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            AdminError::NoDirectory(path) => {
                write!(f, "{} is no directory; give the server's --dir", path.display())
            }
            AdminError::InUse(path) => write!(
                f,
                "a server is running on {} (it holds dse.lock); stop it first, or look at a copy",
                path.display()
            ),
            AdminError::NotEmpty(path) => {
                write!(f, "{} is not empty; name a new directory", path.display())
            }
            AdminError::Exists(path) => {
                write!(f, "{} is there already; name another file", path.display())
            }
            AdminError::Io(error) => error.fmt(f),
            AdminError::Output(error) => write!(f, "standard output: {error}"),
            AdminError::Log(error) => error.fmt(f),
            AdminError::Snapshot(error) => error.fmt(f),
            AdminError::Replay(error) => error.fmt(f),
            AdminError::Rdb(path, error) => write!(f, "{}: {error}", path.display()),
            AdminError::TooEarly { have } => {
                write!(f, "the directory does not reach back that far: {have}")
            }
            AdminError::Nothing(path) => {
                write!(f, "{} holds neither a snapshot nor a log", path.display())
            }
            AdminError::Damage(1) => f.write_str("one thing is damaged"),
            AdminError::Damage(count) => write!(f, "{count} things are damaged"),
            AdminError::BeyondRepair(why) => write!(f, "this cannot be repaired: {why}"),
            AdminError::NotAgreed => f.write_str("nothing was changed; --yes does it"),
        }
    }
}
