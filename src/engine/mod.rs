//! The engine: one clock, the store, and the two ways commands reach it.
//!
//! [`Read`] looks at the keyspace without a lock. [`Txn`] is a view of locked shards: the only
//! way to change anything. A write command is one function of (locked state, clock, seed,
//! arguments): it reads no configuration that could change the state, no wall clock and no
//! random source of its own, so the same function can serve a client, a replay and a replica.

mod clock;
mod error;
mod hot;
mod journal;
mod read;
mod tally;
mod txn;
mod walk;

pub use clock::ProcessClock;
pub use error::{CmdError, shown};
pub use hot::{HotSet, LEADERS, SAMPLE, log_scale};
pub use journal::{Journal, append, seed_of};
pub use read::{Read, ReadParts};
pub use tally::{Count, Tally};
pub use txn::{Collection, Effects, Event, Moment, Txn, TxnParts};
pub use walk::Walk;

use crate::store::Store;

/// The keyspace with its clock.
pub struct Engine {
    /// The keyspace.
    pub store: Store,
    /// The clock that expiry is judged by.
    pub clock: ProcessClock,
}

impl Engine {
    /// An empty engine whose key hash is keyed by `hash_seed`.
    pub fn new(hash_seed: u64) -> Engine {
        Engine { store: Store::new(hash_seed), clock: ProcessClock::start() }
    }
}
