//! Snapshots: files that hold the whole keyspace.
//!
//! ```text
//!   header | block | block | ... | index | footer
//!            a shard's entries, up to 1 MiB, checked by crc32c; blocks of shards in any order
//! ```
//!
//! | file | what it holds |
//! |---|---|
//! | `format` | the bytes of header, blocks, index and footer |
//! | `writer` | a snapshot as it is written: temporary name, sync, rename |
//! | `reader` | opens one and checks that it is whole |
//! | `load` | its entries, by many threads, into a store |
//! | `names` | file names, and which snapshots a directory holds |
//! | `rdb` | Redis' own files: import and export |
//!
//! Invariants:
//! - a file without a footer is no snapshot, and no byte of a file escapes a checksum;
//! - a block is valid only at its own position in its own snapshot: what an older file left on
//!   the disk never passes for a part of a newer one;
//! - a load that fails leaves the store empty, never half filled.
//!
//! Deliberately absent: when a snapshot is due, how shards are cut, how fast it may be written,
//! and what the log must have on disk before it is published. `docs/formats.md` draws the bytes.

mod error;
mod format;
mod load;
pub mod names;
pub mod rdb;
mod reader;
#[cfg(test)]
mod tests;
mod writer;

pub use error::SnapshotError;
pub use reader::{SnapshotInfo, SnapshotReader};
pub use writer::{Finished, SnapshotMeta, SnapshotWriter};
