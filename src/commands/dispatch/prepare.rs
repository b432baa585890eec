//! The first two passes over a batch: whose turn it is, and where its keys are.

use crate::commands::node::Node;
use crate::commands::table::{LOOKUP, TABLE};
use crate::limits::BATCH_COMMANDS;
use crate::net::Batch;
use crate::store::{Key, Pin};

/// What the first pass found out about a request.
#[derive(Clone, Copy, Default)]
pub(super) struct Prepared {
    /// Index in the table + 1; 0: unknown.
    pub(super) row: u16,
    /// The first key was hashed.
    pub(super) hashed: bool,
    pub(super) hash_slot: u16,
    pub(super) hash: u64,
}

impl Node {
    /// First and second pass.
    pub(super) fn prepare(
        &self,
        pin: &Pin,
        db: u8,
        batch: &Batch<'_>,
        prepared: &mut [Prepared; BATCH_COMMANDS],
    ) {
        let store = &self.engine.store;
        for (at, place) in prepared.iter_mut().enumerate().take(batch.len()) {
            let args = batch.args(at);
            let Some(row) = LOOKUP.find(args.get(0)) else { continue };
            place.row = row as u16 + 1;
            let first = TABLE[row].keys.first;
            if first > 0 && (first as usize) < args.len() {
                let key = store.key(args.get(first as usize));
                (place.hashed, place.hash, place.hash_slot) = (true, key.hash, key.hash_slot);
                store.prefetch_bucket(pin, db, &key);
            }
        }
        if batch.len() < 2 {
            return; // The bucket would not have arrived yet.
        }
        for (at, place) in prepared.iter().enumerate().take(batch.len()) {
            if place.hashed {
                let args = batch.args(at);
                let first = TABLE[place.row as usize - 1].keys.first as usize;
                let bytes = args.get(first);
                let key = Key { bytes, hash: place.hash, hash_slot: place.hash_slot };
                store.prefetch_entry(pin, db, &key);
            }
        }
    }
}
