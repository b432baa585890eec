//! The store with segments of full size and many keys: a scan over all, and the expiry of very
//! many keys at once.

use dse::limits::SHARDS;
use dse::store::{Store, Value};
use dse::sync::reclaim;

const KEYS: u64 = 300_000;

fn name(number: u64) -> String {
    format!("key:{number:09}")
}

fn fill(store: &Store, deadline: impl Fn(u64) -> Option<u64>) {
    for number in 0..KEYS {
        let name = name(number);
        let key = store.key(name.as_bytes());
        let value = Value::Str(name.as_bytes());
        store.lock_one(key.shard()).put(0, &key, value, deadline(number));
    }
}

#[test]
fn a_large_database_is_complete_and_ordered() {
    let store = Store::new(2);
    fill(&store, |_| None);
    assert_eq!(store.len(0), KEYS);
    let pin = reclaim::pin();
    for number in 0..KEYS {
        let name = name(number);
        let found = store.get(&pin, 0, &store.key(name.as_bytes()));
        assert_eq!(found.map(|entry| entry.value()), Some(name.as_bytes()));
    }
    assert!(store.get(&pin, 0, &store.key(name(KEYS).as_bytes())).is_none());
    let mut cursor = 0;
    let mut seen = Vec::new();
    loop {
        cursor = store.scan(0, cursor, 1000, &mut |entry, _| {
            let key = store.key(entry.key());
            seen.push((key.shard(), key.hash));
        });
        if cursor == 0 {
            break;
        }
    }
    // In order of home buckets, each of which has a few keys.
    seen.iter().zip(seen.iter().skip(1000)).for_each(|(first, later)| assert!(first < later));
    seen.sort_unstable();
    seen.dedup();
    assert_eq!(seen.len() as u64, KEYS);
}

/// The budget bounds each visit, so that no request waits long, and the visits get there.
#[test]
fn very_many_keys_due_at_once_go_in_slices() {
    let store = Store::new(2);
    let due = |number: u64| 1_000_000 + number % 1000;
    fill(&store, |number| (number % 3 != 0).then(|| due(number)));
    let mut removed = 0;
    for shard in 0..SHARDS as u16 {
        assert!(!store.expire_some(shard, 999_999, &mut 500, &mut |_, _| panic!("not due")));
        loop {
            let before = removed;
            let more = store.expire_some(shard, 1_001_000, &mut 500, &mut |_, _| removed += 1);
            assert!(
                removed - before <= 500 + 8 * 28,
                "a slice is eight homes over its budget at most"
            );
            if !more {
                break;
            }
        }
        assert!(store.lock_one(shard).clock() <= 1_000_999);
    }
    assert_eq!(removed, KEYS * 2 / 3);
    assert_eq!((store.len(0), store.len_with_deadline(0)), (KEYS / 3, 0));
}
