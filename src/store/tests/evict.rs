//! The hand that names keys to evict, and the times of use that it and the sweep keep.

use super::*;
use crate::limits::SHARDS;
use crate::store::{By, Choice};
use crate::util::rng::SplitMix64;
use std::collections::{HashMap, HashSet};
use std::sync::atomic::{AtomicBool, Ordering};

const USED: Choice = Choice { volatile_only: false, by: By::Recency };

/// Evicts one key of `shard`; its name.
fn evict(store: &Store, shard: u16, choice: Choice) -> Option<Vec<u8>> {
    let pin = reclaim::pin();
    let mut held = store.lock_one(shard);
    let found = held.candidate(&pin, shard, choice)?;
    assert!(held.remove(found.db, &store.key(&found.key)), "a candidate is there");
    Some(found.key)
}

/// Names of keys that fall into shard 0.
fn names_of_shard(store: &Store, count: usize) -> Vec<Vec<u8>> {
    let names = (0_u64..).map(|number| format!("{{tag}}{number}").into_bytes());
    names.take(count).inspect(|name| assert_eq!(store.key(name).shard(), shard_of(store))).collect()
}

fn shard_of(store: &Store) -> u16 {
    store.key(b"{tag}").shard()
}

#[test]
fn every_order_names_every_key_once_and_nothing_else() {
    let orders = [By::Recency, By::Frequency, By::Any, By::Deadline];
    for by in orders {
        let store = Store::new(1);
        let shard = shard_of(&store);
        let mut names: HashSet<Vec<u8>> = names_of_shard(&store, 1000).into_iter().collect();
        for (number, name) in names.iter().enumerate() {
            put(&store, name, b"v", Some(1_000 + number as u64 * 700));
        }
        let choice = Choice { volatile_only: by == By::Deadline, by };
        while let Some(name) = evict(&store, shard, choice) {
            assert!(names.remove(&name), "{name:?} was named twice by {by:?}");
        }
        assert!(names.is_empty(), "{} were never named by {by:?}", names.len());
    }
}

#[test]
fn what_is_used_stays_and_a_scan_goes() {
    let store = Store::new(2);
    let shard = shard_of(&store);
    let names = names_of_shard(&store, 20_000);
    let (popular, scanned) = names.split_at(300);
    popular.iter().for_each(|name| put(&store, name, b"v", None));
    let mut in_use = SplitMix64::new(3);
    for (count, name) in scanned.iter().enumerate() {
        put(&store, name, b"v", None);
        for _ in 0..2 {
            let key = &popular[in_use.below(300) as usize];
            if value(&store, key).is_none() {
                put(&store, key, b"v", None);
            }
        }
        if count > 700 {
            evict(&store, shard, USED).expect("there are a thousand");
        }
    }
    let left = popular.iter().filter(|name| value(&store, name).is_some()).count();
    assert!(left > 280, "{left} of 300 popular keys are left");
}

#[test]
fn a_key_without_a_deadline_is_not_named_where_only_others_may_go() {
    for by in [By::Recency, By::Frequency, By::Any, By::Deadline] {
        let store = Store::new(4);
        let shard = shard_of(&store);
        let names = names_of_shard(&store, 2000);
        for (number, name) in names.iter().enumerate() {
            put(&store, name, b"v", (number % 10 == 0).then_some(5_000));
        }
        let choice = Choice { volatile_only: true, by };
        let mut gone = 0;
        // A round of the hand may pass more homes than it looks at in one go.
        for _ in 0..3_000 {
            if let Some(name) = evict(&store, shard, choice) {
                let number: usize = String::from_utf8(name[5..].to_vec()).unwrap().parse().unwrap();
                assert_eq!(number % 10, 0, "by {by:?}");
                gone += 1;
            }
        }
        assert_eq!(gone, 200, "by {by:?}");
    }
}

#[test]
fn the_nearest_deadline_goes_first() {
    let store = Store::new(5);
    let shard = shard_of(&store);
    let mut rng = SplitMix64::new(6);
    let mut deadlines = HashMap::new();
    for name in names_of_shard(&store, 1500) {
        let deadline = (rng.below(4) != 0).then(|| 1_000_000 + rng.below(10_000_000));
        put(&store, &name, b"v", deadline);
        deadline.map(|deadline| deadlines.insert(name, deadline));
    }
    let choice = Choice { volatile_only: true, by: By::Deadline };
    let mut newest = 0;
    while let Some(name) = evict(&store, shard, choice) {
        let deadline = deadlines.remove(&name).expect("named once, and only with a deadline");
        // Bounds are kept in units of 1.024 s.
        assert!(deadline + 1024 > newest, "{deadline} after {newest}");
        newest = newest.max(deadline);
        if rng.below(5) == 0 {
            put(&store, &name, b"v", Some(newest + 2_000_000));
            deadlines.insert(name, newest + 2_000_000);
        }
        if newest > 40_000_000 {
            break;
        }
    }
    assert!(newest > 11_000_000, "{newest}");
}

/// Passes over all shards.
fn sweep(store: &Store, now_ms: u64, all: bool) {
    for shard in 0..SHARDS as u16 {
        while !store.sweep_some(shard, now_ms, all, &mut 1000) {}
    }
}

fn idle_s(store: &Store, name: &[u8], now_ms: u64) -> u64 {
    let key = store.key(name);
    let mut held = store.lock_one(key.shard());
    held.raise_clock(now_ms);
    held.idle_s(0, &key).expect("the key is there")
}

#[test]
fn times_of_use_are_kept_by_sweeps() {
    let store = Store::new(7);
    let start = 1_795_000_000_000;
    sweep(&store, start, true);
    for name in [b"a", b"b"] {
        let key = store.key(name);
        let mut held = store.lock_one(key.shard());
        held.raise_clock(start);
        held.put(0, &key, Value::Str(b"v"), None);
    }
    assert_eq!(idle_s(&store, b"a", start + 9_000), 9, "a new key was used when it was made");
    value(&store, b"b");
    assert_eq!(idle_s(&store, b"b", start + 9_000), 0, "a mark: since the last sweep");
    sweep(&store, start + 10_000, false);
    assert_eq!(idle_s(&store, b"b", start + 15_000), 5);
    assert_eq!(idle_s(&store, b"a", start + 15_000), 15);
    let pin = reclaim::pin();
    store.peek(&pin, 0, &store.key(b"a")).expect("it is there");
    assert_eq!(idle_s(&store, b"a", start + 15_000), 15, "a look is no use");
    let mut now_ms = start;
    for _ in 0..20 {
        now_ms += crate::store::PASS_WITHIN_S * 1000;
        sweep(&store, now_ms, true);
    }
    let told = idle_s(&store, b"a", now_ms);
    let idle = (now_ms - start) / 1000;
    assert!(told <= idle && told + 256 > idle, "{told} of {idle}");
    let key = store.key(b"a");
    store.lock_one(key.shard()).set_idle(0, &key, 1000);
    assert_eq!(idle_s(&store, b"a", now_ms + 1000), 1001);
}

#[test]
fn times_of_use_are_swept_beside_readers() {
    let store = Store::new(8);
    let names = names_of_shard(&store, 300);
    names.iter().for_each(|name| put(&store, name, name, None));
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                while !done.load(Ordering::Relaxed) {
                    for name in &names {
                        assert!(value(&store, name).is_none_or(|value| value == *name));
                    }
                }
            });
        }
        let shard = shard_of(&store);
        let rounds = if cfg!(miri) { 20 } else { 3_000 };
        for round in 0..rounds {
            store.sweep_some(shard, round * 1000, round % 7 == 0, &mut 20);
            if let Some(name) = evict(&store, shard, USED) {
                put(&store, &name, &name, (round % 3 == 0).then_some(u64::MAX / 2));
            }
        }
        done.store(true, Ordering::Relaxed);
    });
    assert!(names.iter().all(|name| value(&store, name).as_ref() == Some(name)));
}

#[test]
fn the_sum_that_is_about_right_is() {
    let store = Store::new(9);
    let mut rng = SplitMix64::new(10);
    for number in 0..20_000 {
        let name = format!("{}", rng.below(5_000));
        match rng.below(4) {
            0 => {
                remove(&store, name.as_bytes());
            }
            _ => put(&store, name.as_bytes(), &vec![b'v'; number % 500], None),
        }
    }
    bury_all(&store);
    let (about, exact) = (store.data_bytes_about(), bytes(&store));
    let bound = crate::limits::ACCOUNT_CHUNK_BYTES * SHARDS as u64;
    assert!(about.abs_diff(exact) < bound, "{about} and {exact}");
    let shard = shard_of(&store);
    let before = store.shard_bytes(shard);
    put(&store, b"{tag}", b"v", None);
    let held = store.shard_bytes(shard);
    evict(&store, shard, Choice { volatile_only: false, by: By::Frequency });
    store.lock_one(shard).drop_sketch(shard);
    assert!(
        store.shard_bytes(shard) < held && held > before,
        "sketches are counted and given back"
    );
}
