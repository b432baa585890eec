//! Memory of the store, in a process of its own, so that what is retired is this test's alone.

use dse::limits::{SHARDS, SLAB_SPAN_BYTES, SLAB_SPANS_KEPT};
use dse::store::objects::Set;
use dse::store::{Key, Object, ShardSet, SharedValue, Store, Value};
use dse::sync::reclaim;
use dse::util::rng::SplitMix64;
use std::thread;

const KEYS: u64 = 60_000;
const LARGE: usize = 50_000;

fn write(store: &Store, seed: u64) {
    let mut rng = SplitMix64::new(seed);
    for _ in 0..KEYS {
        let name = format!("key{}", rng.below(KEYS));
        let key = store.key(name.as_bytes());
        let db = rng.below(3) as u8;
        let mut held = store.lock_one(key.shard());
        let deadline = (rng.below(4) == 0).then(|| 1 + rng.below(1000));
        match rng.below(100) {
            0 => held.put(db, &key, Value::Str(&[b'v'; LARGE]), deadline),
            1..60 => held.put(db, &key, Value::Str(&vec![b'v'; rng.below(200) as usize]), deadline),
            60..70 => held.put(db, &key, Value::Object(set(&mut rng)), deadline),
            70..80 => assert!(!held.remove(db, &key) || held.find(db, &key).is_none()),
            80..90 => {
                assert_eq!(held.find(db, &key).is_some(), held.set_deadline(db, &key, deadline))
            }
            90..99 => rename(&mut held, db, &key),
            _ => {
                drop(held);
                store.expire_some(key.shard(), rng.below(1000), &mut 100, &mut |_, _| ());
            }
        }
    }
    reclaim::flush();
}

fn set(rng: &mut SplitMix64) -> Object {
    let mut set = Set::new();
    for _ in 0..rng.below(100) {
        set.insert(&rng.next_u64().to_le_bytes());
    }
    Object::Set(set)
}

/// Out of one database and into another.
fn rename(held: &mut dse::store::Held<'_>, db: u8, key: &Key<'_>) {
    if let Some(taken) = held.take(db, key) {
        let deadline = taken.deadline();
        held.put((db + 1) % 3, key, Value::Taken(taken), deadline);
    }
}

fn shared_values(store: &Store) -> Vec<SharedValue> {
    let mut shared = Vec::new();
    store.scan(0, 0, usize::MAX, &mut |entry, _| shared.extend(entry.share()));
    shared
}

/// Whatever was done to a store, nothing of it is left when it is empty, and what clients still
/// send is whole.
#[test]
fn all_memory_comes_back() {
    let store = Store::new(1);
    assert_eq!(store.memory_bytes(), 0, "an empty store costs nothing");
    thread::scope(|scope| {
        for seed in 0..2 {
            let store = &store;
            scope.spawn(move || write(store, seed));
        }
    });
    reclaim::collect();
    let full = store.memory_bytes();
    let keys: u64 = (0..3).map(|db| store.len(db)).sum();
    assert!(full > keys * 50, "{full} bytes for {keys} keys");
    let shared = shared_values(&store);
    assert!(!shared.is_empty());

    let mut held = store.lock(&ShardSet::all());
    (0..3).for_each(|db| held.flush(db));
    drop(held);
    assert!((0..3).all(|db| store.is_empty(db)));
    for shard in 0..SHARDS as u16 {
        let mut slices = 0;
        while store.bury_some(shard, &mut 64) {
            slices += 1;
            assert!(slices < 10_000, "flushed tables come to an end");
        }
    }
    assert_eq!(reclaim::collect(), 0, "nobody reads, so nothing waits");
    assert_eq!(store.data_bytes(), 0, "of {full}");
    // What this thread keeps, and a bounded number of spans.
    let left = store.slab_usage();
    let kept = (SLAB_SPANS_KEPT * SLAB_SPAN_BYTES) as u64;
    assert!(left.slack_bytes <= kept + full / 8, "{left:?} of {full}");
    assert!(left.out_bytes <= full / 8, "{left:?} of {full}");
    assert!(shared.iter().all(|value| value.as_ref() == [b'v'; LARGE]));
}
