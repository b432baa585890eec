//! Segments that are joined: nothing is lost, whatever else goes on.

use super::*;
use crate::limits::SHARDS;
use crate::store::hash::KeyHasher;

/// A store of keys of one tag, of which `stays` says which are left. Its shard.
fn thinned(store: &Store, count: u64, stays: impl Fn(u64) -> bool) -> u16 {
    let deadline = |number: u64| number.is_multiple_of(3).then(|| 1_000_000 + number * 7_000);
    for number in 0..count {
        let text = number.to_string();
        put(store, format!("{{x}}{text}").as_bytes(), text.as_bytes(), deadline(number));
    }
    for number in (0..count).filter(|number| !stays(*number)) {
        assert!(remove(store, format!("{{x}}{number}").as_bytes()));
    }
    store.key(b"{x}").shard()
}

#[test]
fn thin_segments_are_joined_and_keep_their_keys() {
    for seed in 0..6 {
        println!("seed {seed}");
        let store = Store::new(seed);
        let count = if cfg!(miri) { 300 } else { 6_000 };
        let stays = |number: u64| number % 20 == seed;
        let shard = thinned(&store, count, stays);
        let pin = reclaim::pin();
        assert!(store.shard(shard).tables().is_thin(&pin, 0));
        let before = bytes(&store);
        compact_shard(&store, shard);
        assert!(!store.shard(shard).tables().is_thin(&pin, 0), "once is enough");
        assert!(bytes(&store) < before / 3 * 2, "{before} -> {}", bytes(&store));
        assert_eq!(store.len(0), count / 20);
        for number in 0..count {
            let found = value(&store, format!("{{x}}{number}").as_bytes());
            let expected = stays(number).then(|| number.to_string().into_bytes());
            assert_eq!(found, expected, "{number}");
        }
        // Deadlines are found where they are now: each key goes when it is due, and not before.
        let mut due: Vec<u64> =
            (0..count).filter(|number| stays(*number) && number % 3 == 0).collect();
        due.sort_unstable();
        for number in due {
            let deadline = 1_000_000 + number * 7_000;
            let mut gone = 0;
            let mut expire = |now| {
                while store.expire_some(shard, now, &mut 100, &mut |_, _| gone += 1) {}
                gone
            };
            assert_eq!(expire(deadline - 1), 0, "before {number} is due");
            assert_eq!(expire(deadline), 1, "{number} is due");
        }
        for number in (0..count).filter(|number| stays(*number) && number % 3 != 0) {
            assert!(remove(&store, format!("{{x}}{number}").as_bytes()));
        }
        assert!(store.is_empty(0));
        bury_all(&store);
    }
}

#[test]
fn segments_that_were_joined_split_again() {
    let store = Store::new(11);
    let shard = thinned(&store, 3_000, |number| number.is_multiple_of(50));
    compact_shard(&store, shard);
    let name = |number: u64| format!("{{x}}again{number}").into_bytes();
    (0..3_000).for_each(|number| put(&store, &name(number), b"again", None));
    (0..3_000).for_each(|number| {
        assert_eq!(value(&store, &name(number)).as_deref(), Some(&b"again"[..]))
    });
    assert_eq!(store.len(0), 3_060);
    (0..3_000).for_each(|number| assert!(remove(&store, &name(number))));
    let pin = reclaim::pin();
    assert!(store.shard(shard).tables().is_thin(&pin, 0), "and are joined again");
    compact_shard(&store, shard);
    assert!(!store.shard(shard).tables().is_thin(&pin, 0));
    assert_eq!(store.len(0), 60);
}

#[test]
fn chains_are_left_alone() {
    let mut hasher = KeyHasher::new(5);
    hasher.mask = 3 << 40;
    let store = Store::with_hasher(hasher);
    let shard = thinned(&store, 400, |number| number.is_multiple_of(10));
    compact_shard(&store, shard);
    for number in (0..400).step_by(10) {
        assert!(remove(&store, format!("{{x}}{number}").as_bytes()));
    }
    assert!(store.is_empty(0));
    assert!(usize::from(shard) < SHARDS);
}
