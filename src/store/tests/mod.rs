//! Tests of the store from the inside, over segments of 8 buckets, so that they split often.

mod atomicity;
mod compact;
mod evict;
mod model;
mod readers;
mod values;
mod walks;

use super::*;
use crate::sync::reclaim;
use crate::util::rng::SplitMix64;

/// How much of something is done: less under miri, which is slow.
const fn count(most: u64, under_miri: u64) -> u64 {
    if cfg!(miri) { under_miri } else { most }
}

fn put(store: &Store, key: &[u8], value: &[u8], deadline: Option<u64>) {
    let key = store.key(key);
    store.lock_one(key.shard()).put(0, &key, Value::Str(value), deadline);
}

fn value(store: &Store, key: &[u8]) -> Option<Vec<u8>> {
    let pin = reclaim::pin();
    store.get(&pin, 0, &store.key(key)).map(|entry| entry.value().to_vec())
}

fn remove(store: &Store, key: &[u8]) -> bool {
    let key = store.key(key);
    store.lock_one(key.shard()).remove(0, &key)
}

/// Bytes of the store alone, without what other tests retire at the same time.
fn bytes(store: &Store) -> u64 {
    store.shards().iter().map(|shard| shard.tables().bytes()).sum()
}

/// Walks through a shard as compaction does.
fn compact_shard(store: &Store, shard: u16) {
    let tables = store.shard(shard).tables();
    for db in 0..crate::limits::DATABASES as u8 {
        let mut next = Some(0);
        while let Some(hash) = next {
            // Declared before the lock is taken: nothing is freed under it.
            let mut left = Vec::new();
            next = tables.lock().compact(db, hash, &mut left);
        }
    }
}

/// Retires all that was flushed.
fn bury_all(store: &Store) {
    for shard in 0..crate::limits::SHARDS as u16 {
        while store.bury_some(shard, &mut 100) {}
    }
}
