//! Random operations against a naive map.

use super::*;
use crate::limits::SHARDS;
use crate::store::hash::KeyHasher;
use std::collections::{BTreeSet, HashMap};

/// What the table must be: a map from key to value and deadline.
type Model = HashMap<Vec<u8>, (Vec<u8>, Option<u64>)>;

struct Run<'s> {
    store: &'s Store,
    model: Model,
    rng: SplitMix64,
    now: u64,
}

impl<'s> Run<'s> {
    fn new(store: &'s Store, seed: u64) -> Run<'s> {
        println!("seed {seed}");
        Run { store, model: Model::new(), rng: SplitMix64::new(seed), now: 1_000_000 }
    }

    /// Everything that can be asked, compared.
    fn check(&self) {
        let pin = reclaim::pin();
        let keys: Vec<Key<'_>> = self.model.keys().map(|key| self.store.key(key)).collect();
        let mut together = Vec::new();
        self.store.get_many(&pin, 0, &keys, true, &mut together);
        for (key, found) in keys.iter().zip(together) {
            let (value, deadline) = &self.model[key.bytes];
            let entry = self.store.get(&pin, 0, key).expect("a key of the model");
            assert_eq!((entry.key(), entry.value()), (key.bytes, &value[..]));
            assert_eq!(entry.deadline(), *deadline);
            assert_eq!(found.map(|entry| entry.value()), Some(&value[..]));
        }
        let with_deadline = self.model.values().filter(|(_, deadline)| deadline.is_some()).count();
        assert_eq!(self.store.len(0), self.model.len() as u64);
        assert_eq!(self.store.len_with_deadline(0), with_deadline as u64);
    }

    /// One random operation on a key of one hash tag.
    fn step(&mut self, key_count: u64) {
        let key = format!("{{x}}{}", self.rng.below(key_count)).into_bytes();
        let text = vec![self.rng.next_u64() as u8; self.rng.below(40) as usize];
        let deadline = (self.rng.below(3) == 0).then(|| self.now + self.rng.below(5_000));
        let hashed = self.store.key(&key);
        match self.rng.below(400) {
            0..200 => {
                put(self.store, &key, &text, deadline);
                self.model.insert(key, (text, deadline));
            }
            200..290 => {
                assert_eq!(remove(self.store, &key), self.model.remove(&key).is_some());
            }
            290..340 => {
                let found = self.store.lock_one(hashed.shard()).set_deadline(0, &hashed, deadline);
                let expected = self.model.get_mut(&key).map(|value| value.1 = deadline);
                assert_eq!(found, expected.is_some());
            }
            340..342 => compact_shard(self.store, hashed.shard()),
            342..399 => {
                let expected = self.model.get(&key).map(|(value, _)| value.clone());
                assert_eq!(value(self.store, &key), expected);
            }
            _ => self.expire(hashed.shard()),
        }
    }

    /// Random operations between the steps of lookups and writes by hint, which must not care.
    fn hinted(&mut self, key_count: u64) {
        let (store, pin) = (self.store, reclaim::pin());
        let name = |rng: &mut SplitMix64| format!("{{x}}{}", rng.below(key_count)).into_bytes();
        let names: [Vec<u8>; 8] = std::array::from_fn(|_| name(&mut self.rng));
        let mut hints = names.each_ref().map(|name| store.locate(&pin, 0, &store.key(name)));
        (0..self.rng.below(4)).for_each(|_| self.step(key_count));
        hints.iter_mut().for_each(Hint::approach);
        (0..self.rng.below(4)).for_each(|_| self.step(key_count));
        for (name, hint) in names.iter().zip(&hints) {
            let key = store.key(name);
            let expected = self.model.get(name).map(|(value, _)| &value[..]);
            let found = store.get_hinted(&pin, 0, &key, hint);
            assert_eq!(found.map(|entry| entry.value()), expected);
            assert!(store.get_hinted(&pin, 1, &key, hint).is_none(), "of another database");
            let other = store.key(&names[0]);
            let expected = self.model.get(&names[0]).map(|(value, _)| &value[..]);
            let found = store.get_hinted(&pin, 0, &other, hint);
            assert_eq!(found.map(|entry| entry.value()), expected, "by the hint of another key");
            let mut held = store.lock_one(key.shard());
            held.set_hint(hint);
            let was_there = held.find(0, &key).is_some();
            assert_eq!(was_there, self.model.contains_key(name));
            if self.rng.below(2) == 0 {
                held.put(0, &key, Value::Str(name), None);
                self.model.insert(name.clone(), (name.clone(), None));
            } else {
                assert_eq!(held.remove(0, &key), self.model.remove(name).is_some());
            }
        }
    }

    /// Time goes on; what is due goes away, and nothing else.
    fn expire(&mut self, shard: u16) {
        self.now += self.rng.below(1_500);
        let mut removed = BTreeSet::new();
        loop {
            let mut budget = 1 + self.rng.below(50) as usize;
            let mut note = |db, key: &[u8]| {
                assert_eq!(db, 0);
                assert!(removed.insert(key.to_vec()), "removed twice");
            };
            if !self.store.expire_some(shard, self.now, &mut budget, &mut note) {
                break;
            }
            assert_eq!(budget, 0, "work is left although the budget is not used up");
        }
        let is_due = |deadline: &Option<u64>| deadline.is_some_and(|d| d <= self.now);
        let due = self.model.extract_if(|_, (_, deadline)| is_due(deadline));
        assert_eq!(removed, due.map(|(key, _)| key).collect());
        let held = self.store.lock_one(shard);
        assert!(held.clock() <= self.now);
    }

    fn empty(self) {
        for key in self.model.keys() {
            assert!(remove(self.store, key));
        }
        assert_eq!(self.store.len(0), 0);
        bury_all(self.store);
    }
}

fn run_against_the_model(store: &Store, seed: u64, key_count: u64, steps: usize) {
    let mut run = Run::new(store, seed);
    for step in 0..steps {
        run.step(key_count);
        if step % 8 == 0 {
            run.hinted(key_count);
        }
        if step % (steps / 8) == 0 {
            run.check();
        }
    }
    run.check();
    run.empty();
}

#[test]
fn random_operations_agree_with_a_map() {
    for seed in 0..count(4, 1) {
        let store = Store::new(seed);
        run_against_the_model(&store, seed, count(3000, 100), count(30_000, 800) as usize);
        // What is left: a table of one segment at most, in the one shard that was used.
        let frame = crate::store::slab::SEGMENT_BYTES + 1024;
        assert!(bytes(&store) <= frame as u64, "{} bytes are left", bytes(&store));
    }
}

#[test]
fn equal_hashes_stay_correct() {
    for mask in [0, 3 << 40, 1 << 63] {
        let mut hasher = KeyHasher::new(5);
        hasher.mask = mask;
        run_against_the_model(
            &Store::with_hasher(hasher),
            mask,
            count(400, 60),
            count(8_000, 300) as usize,
        );
    }
}

#[test]
fn many_keys_of_one_hash_tag_work() {
    let store = Store::new(9);
    let name = |number: u32| format!("{{x}}{number}").into_bytes();
    let count = count(200_000, 600) as u32;
    for number in 0..count {
        put(&store, &name(number), &number.to_le_bytes(), None);
    }
    assert_eq!(store.len(0), u64::from(count));
    for number in 0..count {
        assert_eq!(value(&store, &name(number)).as_deref(), Some(&number.to_le_bytes()[..]));
    }
    assert_eq!(value(&store, &name(count)), None);
    for number in 0..count {
        assert!(remove(&store, &name(number)));
    }
    assert!(store.is_empty(0));
}

#[test]
fn databases_are_separate_and_can_be_exchanged() {
    let store = Store::new(3);
    let names: Vec<String> = (0..500).map(|number| format!("key{number}")).collect();
    for (index, name) in names.iter().enumerate() {
        let key = store.key(name.as_bytes());
        let db = (index % 3) as u8;
        store.lock_one(key.shard()).put(db, &key, Value::Str(name.as_bytes()), Some(7));
    }
    let lengths = |store: &Store| [0, 1, 2, 3].map(|db| store.len(db));
    assert_eq!(lengths(&store), [167, 167, 166, 0]);
    let mut held = store.lock(&ShardSet::all());
    held.swap(1, 3);
    held.flush(2);
    drop(held);
    assert_eq!(lengths(&store), [167, 0, 0, 167]);
    assert_eq!(store.len_with_deadline(3), 167);
    let pin = reclaim::pin();
    for (index, name) in names.iter().enumerate() {
        let key = store.key(name.as_bytes());
        let found = [0, 1, 2, 3].map(|db| store.get(&pin, db, &key).is_some());
        assert_eq!(found, [index % 3 == 0, false, false, index % 3 == 1]);
    }
    // Expiry finds the bounds of the tables where they are now.
    let mut removed = [0; 4];
    for shard in 0..SHARDS as u16 {
        let mut count = |db: u8, _: &[u8]| removed[usize::from(db)] += 1;
        assert!(!store.expire_some(shard, 7, &mut 10_000, &mut count));
    }
    assert_eq!(removed, [167, 0, 0, 167]);
}

#[test]
fn a_hint_does_not_outlive_a_flush_or_an_exchange() {
    let store = Store::new(3);
    let pin = reclaim::pin();
    let key = store.key(b"key");
    let value_by = |hint: &Hint<'_>, db: u8| {
        store.get_hinted(&pin, db, &key, hint).map(|entry| entry.value().to_vec())
    };
    let located = || {
        let mut hint = store.locate(&pin, 0, &key);
        hint.approach();
        hint
    };
    store.lock_one(key.shard()).put(0, &key, Value::Str(b"zero"), None);
    store.lock_one(key.shard()).put(1, &key, Value::Str(b"one"), None);
    let hint = located();
    assert_eq!(value_by(&hint, 0).as_deref(), Some(&b"zero"[..]));
    store.lock_one(key.shard()).swap(0, 1);
    assert_eq!(value_by(&hint, 0).as_deref(), Some(&b"one"[..]));
    let hint = located();
    store.lock_one(key.shard()).flush(0);
    assert_eq!(value_by(&hint, 0), None);
    let mut held = store.lock_one(key.shard());
    held.set_hint(&hint);
    held.put(0, &key, Value::Str(b"new"), None);
    drop(held);
    assert_eq!(value_by(&hint, 0).as_deref(), Some(&b"new"[..]));
    assert_eq!(value_by(&hint, 1).as_deref(), Some(&b"zero"[..]));
}

#[test]
fn a_flushed_table_is_retired_in_slices() {
    let store = Store::new(4);
    for number in 0..2_000 {
        put(&store, format!("{{x}}{number}").as_bytes(), b"value", None);
    }
    let shard = store.key(b"{x}").shard();
    let full = bytes(&store);
    store.lock_one(shard).flush(0);
    assert_eq!((store.len(0), bytes(&store)), (0, full));
    put(&store, b"{x}1", b"new", None);
    let mut slices = 1;
    while store.bury_some(shard, &mut 100) {
        slices += 1;
    }
    assert!((20..=60).contains(&slices), "{slices} slices of 100 for 2000 keys");
    assert_eq!(value(&store, b"{x}1").as_deref(), Some(&b"new"[..]));
    store.lock_one(shard).flush(0);
    bury_all(&store);
    assert_eq!(bytes(&store), 0, "nothing is left of an empty store");
}
