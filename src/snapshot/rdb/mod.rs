//! Redis' RDB files and DUMP payloads: to read what a Redis has saved, and to give it back.
//!
//! ```text
//!   "REDIS" version (4 digits) | [opcode ...] type, key, value | ... | 0xff, crc64 (8)
//!
//!   opcodes in front of a key: 0xfc deadline (8, ms), 0xfd deadline (4, s), 0xf8 idle, 0xf9 freq
//!   opcodes elsewhere: 0xfe database, 0xfb sizes, 0xfa auxiliary field
//!
//!   payload: type, value | version (2) | crc64 (8)
//! ```
//!
//! | file | what it holds |
//! |---|---|
//! | `input` | bytes as they come: lengths, strings, checksum |
//! | `packed` | listpack, ziplist, intset, zipmap |
//! | `value` | values, in all encodings to be read and in the plain ones to be written |
//! | `read` | files, and what imports them |
//! | `write` | files, and what exports to them |
//! | `payload` | what DUMP answers and RESTORE takes |
//!
//! Files of versions 1 to 11 are read (Redis up to 7.2), version 10 is written (Redis 7.0).
//! Deliberately absent: streams, functions and values of modules. A file that holds one is
//! named and refused as a whole, never loaded in part. How long or how often a value was used is
//! passed over.

mod input;
mod packed;
mod payload;
mod read;
#[cfg(test)]
mod tests;
mod value;
mod write;

pub use payload::{PayloadError, decode_payload, encode_payload};
pub use read::{Record, Summary, check, import, read};
pub use value::{RdbValue, RdbValueRef};
pub use write::{Writer, export};

use crate::util::quote::quoted;
use std::fmt;
use std::io;

/// The version that is written, that of Redis 7.0.
const VERSION: u16 = 10;
/// The newest version that is read, that of Redis 7.2.
const VERSION_MAX: u32 = 11;

/// Why an RDB file could not be read. Offsets count in the file.
#[derive(Debug)]
pub enum RdbError {
    /// The system refused something.
    Io(io::Error),
    /// It does not begin as an RDB file does.
    NotRdb,
    /// A version that is not known here.
    Version(u32),
    /// Something that dse does not have.
    Unsupported {
        /// What it is.
        what: &'static str,
        /// The key that holds it; none for what belongs to no key.
        key: Option<Vec<u8>>,
        /// The database of the key.
        db: u64,
        /// Where it is.
        offset: u64,
    },
    /// A string beyond what dse stores.
    TooLong {
        /// Where it is.
        offset: u64,
        /// Its bytes.
        bytes: u64,
    },
    /// Bytes that Redis would not have written.
    Damaged {
        /// Where reading stopped.
        offset: u64,
        /// What is wrong there.
        what: &'static str,
    },
}

impl From<io::Error> for RdbError {
    fn from(error: io::Error) -> RdbError {
        RdbError::Io(error)
    }
}

impl fmt::Display for RdbError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            RdbError::Io(error) => write!(f, "{error}"),
            RdbError::NotRdb => f.write_str("this is no RDB file: it does not begin with REDIS"),
            RdbError::Version(found) => {
                write!(f, "RDB version {found} is not known here; up to {VERSION_MAX} are")
            }
            RdbError::Unsupported { what, key: Some(key), db, offset } => write!(
                f,
                "key {} in database {db} (at byte {offset}) holds {what}, which dse does not \
                 have; nothing was loaded; remove the key and save again",
                quoted(key)
            ),
            RdbError::Unsupported { what, key: None, offset, .. } => write!(
                f,
                "the file holds {what} (at byte {offset}), which dse does not have; nothing was \
                 loaded"
            ),
            RdbError::TooLong { offset, bytes } => {
                write!(f, "a string of {bytes} bytes (at byte {offset}) is longer than allowed")
            }
            RdbError::Damaged { offset, what } => write!(f, "damaged at byte {offset}: {what}"),
        }
    }
}

impl std::error::Error for RdbError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        if let RdbError::Io(error) = self { Some(error) } else { None }
    }
}
