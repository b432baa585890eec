//! The keyspace: 512 shards of buckets, read without a lock, written under one lock a shard.
//!
//! This file is the room's public face; see the files for how each part works.

mod entry;
pub mod objects;
mod shard;
mod table;

pub use entry::{EntryRef, Kind, SharedValue};
pub use objects::Object;
pub use shard::{Held, Key, Pin, ShardSet, Store, Taken, Value, Watch};
