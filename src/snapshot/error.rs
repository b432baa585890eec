//! What can go wrong with a snapshot, and what to do about it.

use crate::store::Damaged;
use std::fmt;
use std::io;

/// Why a snapshot could not be written or read. `file` is the path, offsets count in the file.
#[derive(Debug)]
pub enum SnapshotError {
    /// The system refused something; its message names the file.
    Io(io::Error),
    /// There is no footer: writing it was interrupted, or its end is missing or damaged.
    Unfinished {
        /// The file.
        file: String,
        /// Bytes that it has.
        bytes: u64,
    },
    /// A version that this program does not know.
    Version {
        /// The file.
        file: String,
        /// The version that it names.
        found: u32,
    },
    /// Bytes that are not what was written.
    Damaged {
        /// The file.
        file: String,
        /// Where the damaged block begins.
        offset: u64,
        /// What is wrong with it.
        what: &'static str,
    },
    /// A block as it was written, with an entry in it that makes no sense.
    Entry {
        /// The file.
        file: String,
        /// Where the block begins.
        offset: u64,
        /// What is wrong with the entry.
        damaged: Damaged,
    },
}

impl From<io::Error> for SnapshotError {
    fn from(error: io::Error) -> SnapshotError {
        SnapshotError::Io(error)
    }
}

impl fmt::Display for SnapshotError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const ADVICE: &str = "move the file away to start from the snapshot before it";
        match self {
            SnapshotError::Io(error) => write!(f, "{error}"),
            SnapshotError::Unfinished { file, bytes } => write!(
                f,
                "{file} is not a whole snapshot: its {bytes} bytes do not end in a valid footer; \
                 {ADVICE}"
            ),
            SnapshotError::Version { file, found } => write!(
                f,
                "{file} is of format version {found}, which this program does not know; \
                 read it with the version of dse that wrote it"
            ),
            SnapshotError::Damaged { file, offset, what } => {
                write!(f, "{file} is damaged at offset {offset}: {what}; {ADVICE}")
            }
            SnapshotError::Entry { file, offset, damaged } => write!(
                f,
                "{file} holds a senseless entry in its block at offset {offset}: {damaged}; \
                 {ADVICE}"
            ),
        }
    }
}

impl std::error::Error for SnapshotError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            SnapshotError::Io(error) => Some(error),
            SnapshotError::Entry { damaged, .. } => Some(damaged),
            _ => None,
        }
    }
}
