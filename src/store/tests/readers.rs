//! Readers beside writers, with splits, expiry and removals forced: no torn or foreign value.

use super::*;
use crate::util::crc16::crc16;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::thread;

const TAGS: u64 = 3;

fn name(number: u64) -> Vec<u8> {
    format!("{{{}}}{number}", number % TAGS).into_bytes()
}

/// A value that says whose it is: the key, filling, and a checksum over both.
fn sealed(key: &[u8], rng: &mut SplitMix64) -> Vec<u8> {
    let fill = if rng.below(50) == 0 { 20_000 } else { rng.below(100) };
    let mut text = key.to_vec();
    text.extend((0..fill).map(|_| rng.next_u64() as u8));
    let sum = crc16(&text);
    text.extend(sum.to_le_bytes());
    text
}

fn check_seal(key: &[u8], text: &[u8]) {
    assert!(text.starts_with(key), "the value of another key");
    let (body, sum) = text.split_at(text.len() - 2);
    assert_eq!(crc16(body).to_le_bytes(), sum, "a torn value");
}

fn read(store: &Store, seed: u64, keys: u64, done: &AtomicBool) -> u64 {
    let mut rng = SplitMix64::new(seed);
    let mut hits = 0;
    while !done.load(Relaxed) {
        let names: Vec<Vec<u8>> = (0..8).map(|_| name(rng.below(keys))).collect();
        let keys: Vec<Key<'_>> = names.iter().map(|name| store.key(name)).collect();
        let pin = reclaim::pin();
        let mut found = Vec::new();
        if rng.below(2) == 0 {
            store.get_many(&pin, 0, &keys, true, &mut found);
        } else {
            let hints = keys.iter().map(|key| store.locate(&pin, 0, key));
            let mut hints: Vec<Hint<'_>> = hints.collect();
            hints.iter_mut().for_each(Hint::approach);
            let by_hint = |(key, hint)| store.get_hinted(&pin, 0, key, hint);
            found.extend(keys.iter().zip(&hints).map(by_hint));
        }
        for (key, entry) in keys.iter().zip(&found) {
            let Some(entry) = entry else { continue };
            hits += 1;
            assert_eq!(entry.key(), key.bytes);
            check_seal(key.bytes, entry.value());
            if let Some(shared) = entry.share() {
                check_seal(key.bytes, shared.as_ref());
            }
        }
    }
    hits
}

fn write(store: &Store, seed: u64, keys: u64, steps: usize) {
    let mut rng = SplitMix64::new(seed);
    for step in 0..steps {
        let name = name(rng.below(keys));
        let key = store.key(&name);
        let now = step as u64;
        match rng.below(100) {
            0..60 => {
                let deadline = (rng.below(4) == 0).then(|| now + rng.below(2_000));
                put(store, &name, &sealed(&name, &mut rng), deadline);
            }
            60..65 => {
                let pin = reclaim::pin();
                let hint = store.locate(&pin, 0, &key);
                let value = sealed(&name, &mut rng);
                let mut held = store.lock_one(key.shard());
                held.set_hint(&hint);
                held.put(0, &key, Value::Str(&value), None);
            }
            65..80 => drop(store.lock_one(key.shard()).take(0, &key)),
            80..90 => {
                let deadline = (rng.below(2) == 0).then(|| now + rng.below(2_000));
                store.lock_one(key.shard()).set_deadline(0, &key, deadline);
            }
            90..99 => drop(store.expire_some(key.shard(), now, &mut 40, &mut |_, _| ())),
            _ if rng.below(20) == 0 => store.lock_one(key.shard()).flush(0),
            _ => reclaim::flush(),
        }
    }
}

#[test]
fn no_reader_sees_a_torn_or_foreign_value() {
    let (keys, steps) = if cfg!(miri) { (50, 300) } else { (4_000, 60_000) };
    let store = Store::new(11);
    let done = AtomicBool::new(false);
    let hits: u64 = thread::scope(|scope| {
        let (store, done) = (&store, &done);
        let readers: Vec<_> =
            (0..8).map(|seed| scope.spawn(move || read(store, 100 + seed, keys, done))).collect();
        let writers: Vec<_> =
            (0..2).map(|seed| scope.spawn(move || write(store, seed, keys, steps))).collect();
        let results: Vec<_> = writers.into_iter().map(|writer| writer.join()).collect();
        done.store(true, Relaxed);
        let hits = readers.into_iter().map(|reader| reader.join().expect("a reader's checks"));
        let hits = hits.sum();
        results.into_iter().for_each(|result| result.expect("a writer's checks"));
        hits
    });
    assert!(hits > 0, "the readers found something to check");
    let mut counted = 0;
    store.scan(0, 0, usize::MAX, &mut |entry, _| {
        check_seal(entry.key(), entry.value());
        counted += 1;
    });
    assert_eq!(store.len(0), counted);
}
