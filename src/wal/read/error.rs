//! Why a log cannot be read. Each text is one line that names files and positions, and says what
//! to do.

use std::fmt;
use std::io;

/// Why a log cannot be read.
#[derive(Debug)]
pub enum ReadError {
    /// The disk failed.
    Io(io::Error),
    /// Bytes that were durable are damaged.
    Damaged {
        /// The file.
        file: String,
        /// Where in it.
        offset: u64,
        /// The position in the log.
        lsn: u64,
        /// Up to where writes were acknowledged.
        synced: u64,
    },
    /// The log begins behind the position that is needed.
    Gap {
        /// The first position needed.
        need: u64,
        /// The first position there.
        have: u64,
    },
    /// No file holds a position at which the log must go on.
    Missing {
        /// The first position that is missing.
        lsn: u64,
        /// Up to where writes were acknowledged.
        synced: u64,
    },
    /// A file belongs to another log.
    Foreign {
        /// The file.
        file: String,
        /// The file that it does not belong to.
        other: String,
    },
}

impl ReadError {
    /// The position from which on the log is lost, and up to where writes were acknowledged;
    /// `None` if it cannot be read for another reason.
    pub fn lost(&self) -> Option<(u64, u64)> {
        match self {
            ReadError::Damaged { lsn, synced, .. } | ReadError::Missing { lsn, synced } => {
                Some((*lsn, *synced))
            }
            _ => None,
        }
    }
}

impl From<io::Error> for ReadError {
    fn from(error: io::Error) -> ReadError {
        ReadError::Io(error)
    }
}

impl fmt::Display for ReadError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ReadError::Io(error) => write!(f, "the log cannot be read: {error}"),
            ReadError::Damaged { file, offset, lsn, synced } => write!(
                f,
                "the log is damaged: {file} at offset {offset} (position {lsn}), while writes up \
                 to position {synced} were acknowledged; 'dse-admin check DIR' shows what is left, \
                 'dse-admin repair DIR' cuts the log there"
            ),
            ReadError::Gap { need, have } => write!(
                f,
                "the log begins at position {have}, but what is before it is needed from {need} \
                 on and no snapshot holds it; put the missing files back"
            ),
            ReadError::Missing { lsn, synced } => write!(
                f,
                "a file of the log is missing: none holds position {lsn} (it would be called \
                 log-{lsn:016x}-*.dse or begin below), while writes up to position {synced} were \
                 acknowledged; put it back, or let 'dse-admin repair DIR' end the log there"
            ),
            ReadError::Foreign { file, other } => write!(
                f,
                "{file} and {other} belong to different databases; move the one that is not \
                 wanted, and what came with it, out of this directory"
            ),
        }
    }
}

impl std::error::Error for ReadError {}
