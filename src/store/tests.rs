//! Tests of the store from the inside, over segments of 8 buckets: forced collisions, one shard.

use super::hash::KeyHasher;
use super::*;
use crate::sync::reclaim;
use crate::util::rng::SplitMix64;
use std::collections::HashMap;

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

/// What the table must be: a map from key to value and deadline.
type Model = HashMap<Vec<u8>, (Vec<u8>, Option<u64>)>;

fn check(store: &Store, model: &Model) {
    let pin = reclaim::pin();
    for (key, (expected, deadline)) in model {
        let entry = store.get(&pin, 0, &store.key(key)).expect("a key of the model");
        assert_eq!((entry.key(), entry.value()), (&key[..], &expected[..]));
        assert_eq!(entry.deadline(), *deadline);
    }
    let with_deadline = model.values().filter(|(_, deadline)| deadline.is_some()).count();
    assert_eq!(store.len(0), model.len() as u64);
    assert_eq!(store.len_with_deadline(0), with_deadline as u64);
}

/// Random operations on keys of one hash tag, so that one shard splits often.
fn run_against_the_model(store: &Store, seed: u64, keys: u64, steps: usize) {
    println!("seed {seed}");
    let mut rng = SplitMix64::new(seed);
    let mut model = Model::new();
    for step in 0..steps {
        let key = format!("{{x}}{}", rng.below(keys)).into_bytes();
        let text = vec![step as u8; rng.below(40) as usize];
        let deadline = (rng.below(3) == 0).then(|| 1 + rng.below(1 << 40));
        let hashed = store.key(&key);
        match rng.below(8) {
            0..4 => {
                put(store, &key, &text, deadline);
                model.insert(key, (text, deadline));
            }
            4..6 => assert_eq!(remove(store, &key), model.remove(&key).is_some()),
            6 => {
                let found = store.lock_one(hashed.shard()).set_deadline(0, &hashed, deadline);
                let expected = model.get_mut(&key).map(|value| value.1 = deadline);
                assert_eq!(found, expected.is_some());
            }
            _ => assert_eq!(value(store, &key), model.get(&key).map(|(value, _)| value.clone())),
        }
        if step % (steps / 8) == 0 {
            check(store, &model);
        }
    }
    check(store, &model);
    for key in model.keys() {
        assert!(remove(store, key));
    }
    assert_eq!(store.len(0), 0);
}

#[test]
fn random_operations_agree_with_a_map() {
    for seed in 0..4 {
        run_against_the_model(&Store::new(seed), seed, 3000, 40_000);
    }
}

#[test]
fn equal_hashes_stay_correct() {
    for mask in [0, 3 << 40, 1 << 63] {
        let mut hasher = KeyHasher::new(5);
        hasher.mask = mask;
        run_against_the_model(&Store::with_hasher(hasher), mask, 400, 8_000);
    }
}
