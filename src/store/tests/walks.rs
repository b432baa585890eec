//! SCAN and RANDOMKEY.

use super::*;
use crate::limits::SHARDS;
use std::collections::{BTreeMap, BTreeSet};

/// Scans from start to end; `between` runs after each call. How often each key was returned.
fn scan_all(
    store: &Store,
    count: usize,
    mut between: impl FnMut(&Store),
) -> BTreeMap<Vec<u8>, u32> {
    let mut seen = BTreeMap::new();
    let mut cursor = 0;
    loop {
        cursor = store.scan(0, cursor, count, &mut |entry, object| {
            assert!(object.is_none());
            *seen.entry(entry.key().to_vec()).or_default() += 1;
        });
        assert!(cursor < 1 << 53, "some clients keep cursors in a double");
        if cursor == 0 {
            return seen;
        }
        between(store);
    }
}

#[test]
fn a_key_that_stays_is_returned_exactly_once() {
    for seed in 0..count(12, 1) {
        println!("seed {seed}");
        let mut rng = SplitMix64::new(seed);
        let store = Store::new(seed);
        // One crowded shard, whose segments split while the scan is in it, and the others.
        let name = |kind: &str, number: u64| {
            let tag = if number.is_multiple_of(3) { "" } else { "{x}" };
            format!("{tag}{kind}{number}").into_bytes()
        };
        let stays: BTreeSet<Vec<u8>> = (0..400).map(|number| name("stays", number)).collect();
        stays.iter().for_each(|key| put(&store, key, b"", None));
        let mut next = 0;
        let count = 1 + rng.below(30) as usize;
        let seen = scan_all(&store, count, |store| {
            for _ in 0..rng.below(60) {
                next += 1;
                put(store, &name("comes", next), b"", None);
                let goes = name("comes", rng.below(next + 1));
                if rng.below(3) == 0 {
                    remove(store, &goes);
                }
            }
        });
        for key in &stays {
            assert_eq!(seen.get(key), Some(&1), "{}", String::from_utf8_lossy(key));
        }
        let known = |key: &[u8]| stays.contains(key) || key.windows(5).any(|part| part == b"comes");
        assert!(seen.keys().all(|key| known(key)));
    }
}

#[test]
fn a_key_that_stays_is_returned_exactly_once_across_joins() {
    for seed in 0..12 {
        println!("seed {seed}");
        let mut rng = SplitMix64::new(seed);
        let store = Store::new(seed);
        let name = |kind: &str, number: u64| format!("{{x}}{kind}{number}").into_bytes();
        let shard = store.key(b"{x}").shard();
        let stays: BTreeSet<Vec<u8>> = (0..300).map(|number| name("stays", number)).collect();
        stays.iter().for_each(|key| put(&store, key, b"", None));
        let many = 4_000;
        (0..many).for_each(|number| put(&store, &name("goes", number), b"", None));
        let mut gone = 0;
        let count = 1 + rng.below(8) as usize;
        // The table shrinks under the scan, and grows again for a while.
        let seen = scan_all(&store, count, |store| {
            for _ in 0..rng.below(200) {
                if gone < many {
                    remove(store, &name("goes", gone));
                    gone += 1;
                }
                if gone > many / 2 && rng.below(4) == 0 {
                    put(store, &name("comes", rng.below(500)), b"", None);
                }
            }
            if rng.below(4) == 0 {
                compact_shard(store, shard);
            }
        });
        for key in &stays {
            assert_eq!(seen.get(key), Some(&1), "{}", String::from_utf8_lossy(key));
        }
    }
}

#[test]
fn nothing_is_returned_twice_while_nothing_changes() {
    let store = Store::new(8);
    let keys = count(3000, 300);
    (0..keys).for_each(|number| put(&store, format!("{{x}}{number}").as_bytes(), b"", None));
    for count in [1, 10, 1000, usize::MAX] {
        let seen = scan_all(&store, count, |_| ());
        assert_eq!(seen.len() as u64, keys);
        assert!(seen.values().all(|times| *times == 1));
    }
    assert!(scan_all(&Store::new(8), 10, |_| ()).is_empty());
}

#[test]
fn a_few_keys_are_seen_by_one_large_call() {
    let store = Store::new(8);
    (0..900).for_each(|number| put(&store, format!("{number}").as_bytes(), b"", None));
    let mut count = 0;
    assert_eq!(store.scan(0, 0, 1000, &mut |_, _| count += 1), 0);
    assert_eq!(count, 900);
}

#[test]
fn hostile_cursors_end() {
    let store = Store::new(8);
    (0..500).for_each(|number| put(&store, format!("{{x}}{number}").as_bytes(), b"", None));
    let mut rng = SplitMix64::new(1);
    let edges = (0..64).flat_map(|bit| [(1 << bit) - 1, 1 << bit, (1 << bit) + 1, u64::MAX - bit]);
    let random: Vec<u64> = (0..count(500, 5)).map(|_| rng.next_u64() >> rng.below(64)).collect();
    for start in edges.chain(random) {
        let mut cursor = start;
        let mut calls = 0;
        loop {
            let next = store.scan(0, cursor, 10, &mut |_, _| ());
            calls += 1;
            assert!(next == 0 || next > cursor, "{cursor} leads back to {next}");
            assert!(calls < 1000, "no end from {start}");
            if next == 0 {
                break;
            }
            cursor = next;
        }
    }
}

#[test]
fn a_holder_of_all_shards_scans_too() {
    let store = Store::new(8);
    (0..300).for_each(|number| put(&store, format!("{number}").as_bytes(), b"", None));
    let held = store.lock(&ShardSet::all());
    let mut count = 0;
    assert_eq!(held.scan(0, 0, 1000, &mut |_, _| count += 1), 0);
    assert_eq!(count, 300);
    assert!(held.random(0, 77, &mut |entry| assert!(!entry.key().is_empty())));
    assert!(!held.random(1, 77, &mut |_| panic!("an empty database has no key")));
}

#[test]
#[cfg_attr(miri, ignore = "counts thousands")]
fn every_key_is_chosen_about_as_often() {
    let store = Store::new(8);
    // A crowded shard beside nearly empty ones, segments of different depth.
    let name = |number: u64| {
        let tag = if number < 100 { "{x}" } else { "" };
        format!("{tag}{number}").into_bytes()
    };
    (0..200).for_each(|number| put(&store, &name(number), b"", None));
    let mut rng = SplitMix64::new(3);
    let mut chosen = BTreeMap::<Vec<u8>, u32>::new();
    for _ in 0..200 * 100 {
        let mut note = |entry: EntryRef<'_>| *chosen.entry(entry.key().to_vec()).or_default() += 1;
        assert!(store.random(0, rng.next_u64(), &mut note));
    }
    assert_eq!(chosen.len(), 200);
    // 100 expected, standard deviation 10.
    assert!(chosen.values().all(|times| (50..150).contains(times)), "{chosen:?}");
    assert!(!store.random(1, 0, &mut |_| panic!("an empty database has no key")));
}

#[test]
#[cfg_attr(miri, ignore = "thousands of keys, all shards")]
fn counts_and_bytes_of_a_spread_database_are_exact() {
    let store = Store::new(8);
    (0..5000).for_each(|number| put(&store, format!("{number}").as_bytes(), b"12345678", None));
    assert_eq!(store.len(0), 5000);
    let pin = reclaim::pin();
    let entries: usize = (0..5000)
        .filter_map(|number| store.get(&pin, 0, &store.key(format!("{number}").as_bytes())))
        .map(|entry| entry.alloc_bytes())
        .sum();
    let frames = bytes(&store) - entries as u64;
    (0..5000).for_each(|number| assert!(remove(&store, format!("{number}").as_bytes())));
    bury_all(&store);
    assert!(bytes(&store) <= frames);
    assert!(!store.has_flushed());
    store.lock(&ShardSet::all()).flush(0);
    assert!(store.has_flushed());
    bury_all(&store);
    assert!(!store.has_flushed());
    assert_eq!(bytes(&store), 0);
    assert_eq!(SHARDS, 512);
}
