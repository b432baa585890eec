//! Compaction, in a process of its own, so that the slabs are this test's alone.

use dse::limits::{SLAB_SPAN_BYTES, SLAB_SPANS_KEPT};
use dse::store::objects::Set;
use dse::store::{Compactor, Object, Store, Value, Watch};
use dse::sync::reclaim;
use dse::util::rng::SplitMix64;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::thread;

const KEYS: u64 = 200_000;
const WORKERS: usize = 2;
/// Every so manieth key stays.
const STAYS: u64 = 10;

/// In a few shards, so that their tables are large.
fn name(number: u64) -> String {
    format!("{{{}}}key:{number:09}", number % 23)
}

/// Values of several sizes, all told by the number.
fn text(number: u64) -> Vec<u8> {
    let len = match number % 7 {
        0 => 0,
        1 => 1000,
        rest => rest * 20,
    };
    (0..len).map(|at| (number + at) as u8).collect()
}

fn deadline(number: u64) -> Option<u64> {
    number.is_multiple_of(5).then_some(1_000_000 + number)
}

fn is_collection(number: u64) -> bool {
    number.is_multiple_of(50 * STAYS)
}

fn set_of(number: u64) -> Object {
    let mut set = Set::new();
    (0..10).for_each(|member: u64| _ = set.insert(&(number + member).to_le_bytes()));
    Object::Set(set)
}

fn fill(store: &Store) {
    for number in 0..KEYS {
        let name = name(number);
        let key = store.key(name.as_bytes());
        let text = text(number);
        let value = match is_collection(number) {
            true => Value::Object(set_of(number)),
            false => Value::Str(&text),
        };
        store.lock_one(key.shard()).put(db(number), &key, value, deadline(number));
    }
}

fn db(number: u64) -> u8 {
    (number / STAYS % 2) as u8
}

fn thin_out(store: &Store) {
    for number in (0..KEYS).filter(|number| number % STAYS != 0) {
        let name = name(number);
        let key = store.key(name.as_bytes());
        assert!(store.lock_one(key.shard()).remove(db(number), &key));
    }
    while reclaim::collect() > 0 {}
}

/// What is left is what was put there.
fn check(store: &Store) {
    for number in (0..KEYS).filter(|number| number % STAYS == 0) {
        let name = name(number);
        let key = store.key(name.as_bytes());
        let held = store.lock_one(key.shard());
        let entry = held.find(db(number), &key).expect("it stays");
        assert_eq!(entry.deadline(), deadline(number));
        match held.object(db(number), &key) {
            Some(Object::Set(set)) => {
                assert!(is_collection(number));
                assert_eq!(set.len(), 10);
                assert!(set.contains(&(number + 9).to_le_bytes()));
            }
            Some(_) => panic!("another collection"),
            None => assert_eq!(entry.value(), text(number)),
        }
    }
    let with_deadline = store.len_with_deadline(0) + store.len_with_deadline(1);
    let left = KEYS / STAYS;
    assert_eq!(store.len(0) + store.len(1), left);
    assert_eq!(with_deadline, (0..KEYS).filter(|n| n % STAYS == 0 && n % 5 == 0).count() as u64);
}

/// Reads at random until told to stop; every value that stays must be there, and be whole.
fn read(store: &Store, seed: u64, done: &AtomicBool) -> u64 {
    let mut rng = SplitMix64::new(seed);
    let mut count = 0;
    while !done.load(Relaxed) {
        let number = rng.below(KEYS / STAYS) * STAYS;
        let name = name(number);
        let pin = reclaim::pin();
        let entry = store.get(&pin, db(number), &store.key(name.as_bytes())).expect("it stays");
        if !is_collection(number) {
            assert_eq!(entry.value(), text(number), "a torn value");
        }
        count += 1;
    }
    count
}

fn compact(store: &Store) {
    let mut workers: Vec<Compactor> =
        (0..WORKERS).map(|worker| Compactor::new(worker, WORKERS)).collect();
    // A minute of ticks.
    for _ in 0..600 {
        for worker in &mut workers {
            let mut segments = 0;
            worker.tick(store, false, &mut || {
                segments += 1;
                segments < 100
            });
        }
        reclaim::collect();
    }
}

#[test]
fn what_is_left_of_a_large_database_moves_together() {
    let store = Store::new(3);
    fill(&store);
    let full = store.slab_usage();
    thin_out(&store);
    let before = store.slab_usage();
    assert!(before.out_bytes < full.out_bytes / 4, "{full:?} -> {before:?}");
    let watch = Arc::new(Watch::default());
    let watched = name(STAYS);
    let key = store.key(watched.as_bytes());
    store.lock_one(key.shard()).watch(db(STAYS), &key, &watch);
    let data = store.data_bytes();
    let done = AtomicBool::new(false);
    thread::scope(|scope| {
        let readers: Vec<_> = (0..2)
            .map(|seed| {
                let (store, done) = (&store, &done);
                scope.spawn(move || read(store, seed, done))
            })
            .collect();
        compact(&store);
        done.store(true, Relaxed);
        let reads: u64 = readers.into_iter().map(|r| r.join().expect("no reader panics")).sum();
        assert!(reads > 0);
    });
    while reclaim::collect() > 0 {}
    check(&store);
    assert!(!watch.is_marked(), "nothing that a watcher could see has changed");
    assert!(store.data_bytes() < data, "segments were joined");
    let after = store.slab_usage();
    // A few spans are kept, and each size has one that is partly used.
    assert!(after.slack_bytes < before.slack_bytes / 4, "{before:?} -> {after:?}");
    let kept = (SLAB_SPANS_KEPT * SLAB_SPAN_BYTES) as u64;
    assert!(after.slack_bytes < after.out_bytes + kept, "{after:?}");
}
