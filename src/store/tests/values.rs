//! What entries hold: large values, long keys, collections, and their accounting.

use super::*;
use crate::limits::{ENTRY_SHARED_MIN, LARGE_HEADROOM};
use crate::store::objects::List;
use crate::sys::bulk::BulkBuf;
use std::sync::Arc;

fn bulk(headroom: usize, value: &[u8]) -> BulkBuf {
    let mut bulk = BulkBuf::reserve(headroom, value.len()).expect("memory");
    bulk.extend(value);
    bulk
}

fn get<'p>(store: &Store, pin: &'p Pin, key: &[u8]) -> EntryRef<'p> {
    store.get(pin, 0, &store.key(key)).expect("the key is there")
}

fn list(elements: &[&[u8]]) -> Object {
    let mut list = List::new();
    elements.iter().for_each(|element| list.push_back(element));
    Object::List(list)
}

fn elements(object: &Object) -> Vec<Vec<u8>> {
    let Object::List(list) = object else { panic!("a list was stored") };
    list.iter().map(|element| element.to_vec()).collect()
}

#[test]
fn every_combination_of_lengths_comes_back() {
    let store = Store::new(1);
    let lengths = [0, 1, 7, 8, 9, 100, 16_300, 16_384, 40_000];
    let pin = reclaim::pin();
    for key_len in [0, 1, 5, 255, 20_000] {
        for value_len in lengths {
            for deadline in [None, Some(1), Some(u64::MAX)] {
                let (name, text) = (vec![b'k'; key_len], vec![b'v'; value_len]);
                put(&store, &name, &text, deadline);
                let entry = get(&store, &pin, &name);
                assert_eq!((entry.key(), entry.value()), (&name[..], &text[..]));
                assert_eq!((entry.deadline(), entry.kind()), (deadline, Kind::String));
                let least = key_len + value_len + 8;
                assert!(entry.alloc_bytes() >= least && entry.alloc_bytes() <= least * 2 + 40);
                assert_eq!(entry.share().is_some(), least >= ENTRY_SHARED_MIN);
            }
        }
    }
}

#[test]
#[cfg_attr(miri, ignore = "hashes 16 MiB")]
fn a_key_of_more_than_24_bits_works() {
    let store = Store::new(1);
    let name = vec![b'k'; (1 << 24) + 3];
    put(&store, &name, b"short", Some(9));
    let pin = reclaim::pin();
    let entry = get(&store, &pin, &name);
    assert_eq!((entry.key().len(), entry.value()), (name.len(), &b"short"[..]));
    let key = store.key(&name);
    assert!(store.lock_one(key.shard()).set_deadline(0, &key, None));
    assert_eq!(value(&store, &name).as_deref(), Some(&b"short"[..]));
    assert!(remove(&store, &name));
}

#[test]
fn a_bulk_becomes_an_entry_where_it_lies() {
    let store = Store::new(1);
    let text: Vec<u8> = (0..60_000).map(|n| n as u8).collect();
    let pin = reclaim::pin();
    for (name, headroom, deadline, moves) in [
        (&b"key"[..], LARGE_HEADROOM + 3, Some(5), false),
        (b"another key", LARGE_HEADROOM + 11, None, false),
        (b"no head room", 0, Some(5), true),
        (b"little head room", 20, None, true),
    ] {
        let bulk = bulk(headroom, &text);
        let start = bulk.filled().as_ptr();
        let key = store.key(name);
        store.lock_one(key.shard()).put(0, &key, Value::Bulk(bulk), deadline);
        let entry = get(&store, &pin, name);
        assert_eq!((entry.key(), entry.value()), (name, &text[..]));
        assert_eq!(entry.deadline(), deadline);
        assert_eq!(entry.value().as_ptr() != start, moves);
        assert!(entry.alloc_bytes() >= text.len());
    }
    let small = store.key(b"small");
    store.lock_one(small.shard()).put(0, &small, Value::Bulk(bulk(99, b"tiny")), None);
    assert_eq!(value(&store, b"small").as_deref(), Some(&b"tiny"[..]));
}

#[test]
fn a_shared_value_outlives_its_entry() {
    let store = Store::new(1);
    let text = vec![b'x'; 100_000];
    let shared: Vec<SharedValue> = {
        let pin = reclaim::pin();
        put(&store, b"copied", &text, None);
        let key = store.key(b"bulk");
        let bulk = bulk(LARGE_HEADROOM + 4, &text);
        store.lock_one(key.shard()).put(0, &key, Value::Bulk(bulk), None);
        // Under another deadline, twice, and under another name.
        assert!(store.lock_one(key.shard()).set_deadline(0, &key, Some(7)));
        assert!(store.lock_one(key.shard()).set_deadline(0, &key, Some(8)));
        let names: [&[u8]; 2] = [b"copied", b"bulk"];
        names.iter().map(|name| get(&store, &pin, name).share().expect("large")).collect()
    };
    for name in [&b"copied"[..], b"bulk"] {
        assert!(remove(&store, name));
    }
    reclaim::collect();
    drop(store);
    let threads = shared.into_iter().map(|value| {
        std::thread::spawn(move || assert!(value.as_ref().iter().all(|byte| *byte == b'x')))
    });
    threads.for_each(|thread| thread.join().expect("the value is whole"));
}

#[test]
fn a_large_value_is_not_copied_for_a_deadline_or_a_name() {
    let store = Store::new(1);
    let text = vec![b'x'; 50_000];
    put(&store, b"{a}1", &text, None);
    let before = bytes(&store);
    let pin = reclaim::pin();
    let start = get(&store, &pin, b"{a}1").value().as_ptr();
    let (old, new) = (store.key(b"{a}1"), store.key(b"{a}2"));
    let mut held = store.lock_one(old.shard());
    assert!(held.set_deadline(0, &old, Some(77)));
    let taken = held.take(0, &old).expect("it is there");
    assert_eq!((taken.kind(), taken.deadline()), (Kind::String, Some(77)));
    held.put(0, &new, Value::Taken(taken), None);
    drop(held);
    let entry = get(&store, &pin, b"{a}2");
    assert_eq!((entry.value().as_ptr(), entry.value().len()), (start, text.len()));
    assert_eq!((entry.key(), entry.deadline()), (&b"{a}2"[..], None));
    assert!(bytes(&store) - before < 200, "only a shell was added");
    assert!(remove(&store, b"{a}2"));
    assert!(bytes(&store) < before - text.len() as u64);
}

#[test]
fn raw_strings_stay_raw_and_small_ones_move() {
    let store = Store::new(1);
    let (old, new) = (store.key(b"{a}old"), store.key(b"{a}new"));
    let mut held = store.lock_one(old.shard());
    held.put(0, &old, Value::Raw(&[b"one", b"", b"two"]), None);
    assert!(held.find(0, &old).is_some_and(|entry| entry.is_raw()));
    assert!(held.set_deadline(0, &old, Some(5)));
    let taken = held.take(0, &old).expect("it is there");
    held.put(0, &new, Value::Taken(taken), Some(6));
    assert!(held.find(0, &old).is_none());
    let entry = held.find(0, &new).expect("it was put");
    assert_eq!((entry.value(), entry.deadline()), (&b"onetwo"[..], Some(6)));
    assert!(entry.is_raw());
    let pin = reclaim::pin();
    let before = held.find_pinned(&pin, 0, &new).expect("it was put");
    held.put(0, &new, Value::Str(before.value()), None);
    assert_eq!(before.value(), b"onetwo", "readable after it was replaced");
    assert!(held.find(0, &new).is_some_and(|entry| !entry.is_raw()));
}

#[test]
fn collections_are_changed_in_place_and_moved_whole() {
    let store = Store::new(1);
    let (old, new) = (store.key(b"{a}old"), store.key(b"{a}new"));
    let mut held = store.lock_one(old.shard());
    held.put(0, &old, Value::Object(list(&[b"a", b"b"])), None);
    let before = bytes(&store);
    let big = vec![b'c'; 100_000];
    let length = held.change_object(0, &old, |object| {
        let Object::List(list) = object else { panic!("a list was stored") };
        list.push_back(&big);
        list.len()
    });
    assert_eq!(length, Some(3));
    assert!(bytes(&store) >= before + 100_000, "the change is accounted");
    let address = held.object(0, &old).map(std::ptr::from_ref);
    assert!(held.set_deadline(0, &old, Some(4)));
    let taken = held.take(0, &old).expect("it is there");
    assert_eq!(taken.kind(), Kind::List);
    assert!(held.object(0, &old).is_none());
    held.put(0, &new, Value::Taken(taken), Some(4));
    assert_eq!(held.object(0, &new).map(std::ptr::from_ref), address);
    let entry = held.find(0, &new).expect("it was put");
    assert_eq!((entry.kind(), entry.value()), (Kind::List, &b""[..]));
    let stored = held.object(0, &new).expect("a collection");
    assert_eq!(elements(stored), [b"a".to_vec(), b"b".to_vec(), big]);
    assert!(held.change_object(0, &old, |_| ()).is_none());
    held.put(0, &old, Value::Str(b"text"), None);
    assert!(held.change_object(0, &old, |_| ()).is_none(), "a string is no collection");
    assert!(held.remove(0, &new));
    drop(held.take(0, &old));
    drop(held);
    assert!(store.is_empty(0));
    assert!(bytes(&store) < before, "all is accounted for");
}

#[test]
fn a_value_that_was_taken_and_dropped_is_freed() {
    let store = Store::new(1);
    let key = store.key(b"list");
    let mut held = store.lock_one(key.shard());
    held.put(0, &key, Value::Object(list(&[b"a"])), Some(3));
    let taken = held.take(0, &key).expect("it is there");
    drop(held);
    std::thread::scope(|scope| scope.spawn(reclaim::collect).join()).expect("no panic");
    assert_eq!(taken.deadline(), Some(3));
}

#[test]
fn watchers_are_marked_by_every_change_of_their_key() {
    type Change = fn(&mut Held<'_>, &Key<'_>, &Key<'_>);
    let changes: [(&str, bool, Change); 13] = [
        ("put", true, |held, key, _| held.put(0, key, Value::Str(b"x"), None)),
        ("put elsewhere", false, |held, _, other| held.put(0, other, Value::Str(b"x"), None)),
        ("put in another database", false, |h, key, _| h.put(1, key, Value::Str(b"x"), None)),
        ("remove", true, |held, key, _| assert!(held.remove(0, key))),
        ("remove what is absent", false, |held, _, other| assert!(!held.remove(0, other))),
        ("take", true, |held, key, _| assert!(held.take(0, key).is_some())),
        ("deadline", true, |held, key, _| assert!(held.set_deadline(0, key, Some(1)))),
        ("flush", true, |held, _, _| held.flush(0)),
        ("flush of another database", false, |held, _, _| held.flush(1)),
        ("swap", true, |held, _, _| held.swap(0, 5)),
        ("swap of others", false, |held, _, _| held.swap(3, 5)),
        ("touch", true, |held, key, _| held.touch(0, key)),
        ("an idle change", false, |held, key, _| {
            held.put(4, key, Value::Object(list(&[b"a"])), None);
            held.change_object_if(4, key, |_| ((), false));
        }),
    ];
    for (name, marks, change) in changes {
        let store = Store::new(1);
        let (key, other) = (store.key(b"{a}watched"), store.key(b"{a}other"));
        let watch = Arc::new(Watch::default());
        let mut held = store.lock_one(key.shard());
        held.put(0, &key, Value::Str(b"value"), None);
        held.watch(0, &key, &watch);
        held.watch(0, &key, &watch);
        assert!(!watch.is_marked());
        change(&mut held, &key, &other);
        assert_eq!(watch.is_marked(), marks, "{name}");
    }
}

#[test]
fn watchers_of_absent_keys_and_forgotten_watchers_are_left_alone() {
    let store = Store::new(1);
    let key = store.key(b"key");
    let (first, second) = (Arc::new(Watch::default()), Arc::new(Watch::default()));
    let mut held = store.lock_one(key.shard());
    held.watch(0, &key, &first);
    held.watch(0, &key, &second);
    held.flush(0);
    held.swap(0, 1);
    assert!(!first.is_marked(), "there was no such key");
    held.unwatch(0, &key, &first);
    held.put(0, &key, Value::Str(b"value"), Some(10));
    assert!(!first.is_marked() && second.is_marked());
    let third = Arc::new(Watch::default());
    held.watch(0, &key, &third);
    drop(held);
    assert!(!store.expire_some(key.shard(), 10, &mut 100, &mut |_, _| ()));
    assert!(third.is_marked(), "expiry is a change");
    assert_eq!(store.lock_one(key.shard()).clock(), 10, "the clock is not behind what expired");
}

#[test]
#[should_panic(expected = "not among those that were locked")]
fn a_shard_that_is_not_held_cannot_be_touched() {
    let store = Store::new(1);
    let (key, other) = (store.key(b"a"), store.key(b"b"));
    assert_ne!(key.shard(), other.shard());
    store.lock_one(key.shard()).put(0, &other, Value::Str(b""), None);
}
