//! A change of several keys is seen whole, and the test sees it if it is not.

use super::*;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::thread;

/// Changes several keys in different shards, again and again, always all to the same number,
/// the first of `names` first.
fn write(store: &Store, names: &[Vec<u8>], rounds: u64, done: &AtomicBool) {
    let mut shards = ShardSet::new();
    names.iter().for_each(|name| shards.insert(store.key(name).shard()));
    assert!(shards.len() > 1);
    for round in 1..=rounds {
        if done.load(Relaxed) {
            break;
        }
        let mut held = store.lock(&shards);
        held.begin_exclusive();
        // A state from the middle, which nobody may see.
        held.remove(0, &store.key(&names[0]));
        for (index, name) in names.iter().enumerate() {
            held.put(0, &store.key(name), Value::Str(&round.to_le_bytes()), None);
            if index as u64 == round % 64 {
                thread::yield_now();
            }
        }
    }
    done.store(true, Relaxed);
}

fn number(entry: Option<EntryRef<'_>>) -> Option<u64> {
    let bytes = entry?.value().try_into().ok()?;
    Some(u64::from_le_bytes(bytes))
}

/// Reads the first key and then the last, one after the other.
fn one_by_one(store: &Store, names: &[Vec<u8>]) -> bool {
    let pin = reclaim::pin();
    let read = |name: &[u8]| number(store.get(&pin, 0, &store.key(name)));
    let first = read(&names[0]);
    let last = read(&names[names.len() - 1]);
    first.is_some() && last >= first
}

/// As `one_by_one`, by hints that were made before both.
fn by_hints(store: &Store, names: &[Vec<u8>]) -> bool {
    let pin = reclaim::pin();
    let keys = [&names[0], &names[names.len() - 1]].map(|name| store.key(name));
    let mut hints = keys.map(|key| store.locate(&pin, 0, &key));
    hints.iter_mut().for_each(Hint::approach);
    let first = number(store.get_hinted(&pin, 0, &keys[0], &hints[0]));
    let last = number(store.get_hinted(&pin, 0, &keys[1], &hints[1]));
    first.is_some() && last >= first
}

fn together(store: &Store, names: &[Vec<u8>]) -> bool {
    let pin = reclaim::pin();
    let keys = [&names[0], &names[names.len() - 1]].map(|name| store.key(name));
    let mut found = Vec::new();
    store.get_many(&pin, 0, &keys, true, &mut found);
    number(found[0]).is_some() && number(found[0]) == number(found[1])
}

/// Whether a reader ever saw a part of a change.
fn is_seen_in_part(store: &Store, rounds: u64, whole: fn(&Store, &[Vec<u8>]) -> bool) -> bool {
    let names: Vec<Vec<u8>> = (0..20).map(|number| format!("key{number}").into_bytes()).collect();
    names.iter().for_each(|name| put(store, name, &0u64.to_le_bytes(), None));
    let done = AtomicBool::new(false);
    thread::scope(|scope| {
        let (names, done) = (&names, &done);
        let readers: Vec<_> = (0..2)
            .map(|_| {
                scope.spawn(move || {
                    let mut whole_so_far = true;
                    while whole_so_far && !done.load(Relaxed) {
                        whole_so_far = whole(store, names);
                    }
                    done.fetch_or(!whole_so_far, Relaxed);
                    !whole_so_far
                })
            })
            .collect();
        scope.spawn(move || write(store, names, rounds, done));
        readers.into_iter().any(|reader| reader.join().expect("no panic"))
    })
}

#[test]
fn a_change_of_several_keys_is_seen_whole() {
    for whole in [one_by_one, by_hints, together] {
        let store = Store::new(12);
        assert!(!is_seen_in_part(&store, count(5_000, 20), whole));
    }
}

/// The test above is worth something: it fails when readers do not look at the sequence.
#[test]
#[cfg_attr(miri, ignore = "waits for an interleaving")]
fn without_the_sequence_it_would_be_seen_in_part() {
    for whole in [one_by_one, together] {
        let mut store = Store::new(12);
        store.ignore_exclusive();
        assert!(is_seen_in_part(&store, 50_000_000, whole));
    }
}
