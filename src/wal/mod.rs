//! The write-ahead log: what was answered is on disk.
//!
//! | file | what it knows |
//! |---|---|
//! | [`record`] | a request as bytes |
//! | [`commit`] | what is written at once |
//! | [`log`] | from append to durable: ring, group commit, errors |
//! | `files` | the files of a running log |
//! | [`read`] | from files back to records; torn tail or damage |
//! | [`stats`] | numbers for INFO |
//!
//! The formats are drawn byte by byte in `docs/formats.md`. A position in the log is an LSN:
//! bytes since the log began; it never goes back, over restarts neither.
//!
//! Deliberately absent: what a request means, snapshots, connections.

pub mod commit;
mod files;
pub mod log;
pub mod names;
pub mod read;
pub mod record;
pub mod stats;

pub use log::{Health, Log, LogOptions, LogStart, NoCredit, SyncMode, Writing};
pub use read::{Base, LogReader, ReadError, Tail, Torn};
pub use record::{RecordBuf, RecordKind, RecordMeta, SEVERAL_SHARDS};
