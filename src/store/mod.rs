//! The keyspace: 512 shards of buckets, read without a lock, written under one lock a shard.
//!
//! This file is the room's public face; see the files for how each part works.
//!
//! | file | what it holds |
//! |---|---|
//! | `hash` | key to hash slot, shard and position in hash order |
//! | `entry` | header, key and value in one allocation; making, sharing, freeing |
//! | `segment` | 64 buckets of a control word and 7 slots: layout and words |
//! | `slab` | the memory of entries, segments and directories |
//! | `table` | lookups, changes and growth; the shard's lock |
//! | `shard`, `held` | the store without a lock, and under locks |
//! | `expire`, `scan`, `watch` | active expiry; SCAN and RANDOMKEY; WATCH |
//! | `used`, `sweep` | when keys were in use, kept up to date |
//! | `evict` | which key goes when memory is short |
//! | `compact` | giving memory back after the data has shrunk |
//! | `objects` | the collections |
//! | `codec` | entries as bytes, and back |

mod codec;
mod compact;
mod entry;
mod evict;
mod expire;
mod footprint;
mod hash;
mod held;
pub mod objects;
mod scan;
mod segment;
mod shard;
mod shard_set;
mod slab;
mod sweep;
mod table;
#[cfg(test)]
mod tests;
mod used;
mod watch;

pub use crate::sync::reclaim::Pin;
pub use codec::{DecodedEntry, DecodedValue, encode_entry, encode_entry_head};
pub use compact::Compactor;
pub use entry::{EntryRef, Kind, SharedValue};
pub use evict::{By, Candidate, Choice};
pub use hash::Key;
pub use held::{Held, Taken, Value};
pub use objects::codec::Damaged;
pub use objects::{Frozen, Object};
pub use shard::Store;
pub use shard_set::ShardSet;
pub use slab::Usage;
pub use table::Hint;
pub use used::PASS_WITHIN_S;
pub use watch::Watch;
