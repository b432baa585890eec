//! Caches that the server's eviction is compared with: of so many keys, on a trace of accesses.

use crate::store::{By, Choice, Store, Value};
use crate::sync::reclaim;
use std::collections::{BTreeMap, HashMap, HashSet, VecDeque};

/// A cache of a fixed number of keys, which takes in every key that is missed.
pub trait Cache {
    /// What it is called.
    fn name(&self) -> &'static str;
    /// Accesses a key; whether it was there.
    fn access(&mut self, key: u64) -> bool;
}

/// The least recently used goes.
pub struct Lru {
    capacity: usize,
    clock: u64,
    times: HashMap<u64, u64>,
    order: BTreeMap<u64, u64>,
}

impl Lru {
    /// An empty one.
    pub fn new(capacity: usize) -> Lru {
        Lru { capacity, clock: 0, times: HashMap::new(), order: BTreeMap::new() }
    }
}

impl Cache for Lru {
    fn name(&self) -> &'static str {
        "exact LRU"
    }

    fn access(&mut self, key: u64) -> bool {
        self.clock += 1;
        let before = self.times.insert(key, self.clock);
        if let Some(time) = before {
            self.order.remove(&time);
        } else if self.order.len() >= self.capacity
            && let Some((_, oldest)) = self.order.pop_first()
        {
            self.times.remove(&oldest);
        }
        self.order.insert(self.clock, key);
        before.is_some()
    }
}

/// SIEVE (Zhang and others, 2024): a queue, a mark for each key, and a hand that stays where it
/// evicted.
pub struct Sieve {
    capacity: usize,
    marks: HashMap<u64, bool>,
    /// From the oldest to the newest.
    queue: VecDeque<u64>,
    /// The oldest keys up to the hand, which are looked at again when it has been through.
    passed: VecDeque<u64>,
}

impl Sieve {
    /// An empty one.
    pub fn new(capacity: usize) -> Sieve {
        let (queue, passed) = Default::default();
        Sieve { capacity, marks: HashMap::new(), queue, passed }
    }

    fn evict(&mut self) {
        loop {
            let Some(key) = self.queue.pop_front() else {
                std::mem::swap(&mut self.queue, &mut self.passed);
                continue;
            };
            match self.marks.get_mut(&key) {
                Some(mark) if *mark => {
                    *mark = false;
                    self.passed.push_back(key);
                }
                _ => {
                    self.marks.remove(&key);
                    return;
                }
            }
        }
    }
}

impl Cache for Sieve {
    fn name(&self) -> &'static str {
        "SIEVE"
    }

    fn access(&mut self, key: u64) -> bool {
        if let Some(mark) = self.marks.get_mut(&key) {
            *mark = true;
            return true;
        }
        if self.marks.len() >= self.capacity {
            self.evict();
        }
        self.marks.insert(key, false);
        self.queue.push_back(key);
        false
    }
}

/// S3-FIFO (Yang and others, 2023): a small queue for newcomers, a main one, and a memory of
/// those that were turned away.
pub struct S3Fifo {
    capacity: usize,
    uses: HashMap<u64, u8>,
    small: VecDeque<u64>,
    main: VecDeque<u64>,
    ghosts: VecDeque<u64>,
    is_ghost: HashSet<u64>,
}

impl S3Fifo {
    /// An empty one.
    pub fn new(capacity: usize) -> S3Fifo {
        let (small, main, ghosts) = Default::default();
        let (uses, is_ghost) = Default::default();
        S3Fifo { capacity, uses, small, main, ghosts, is_ghost }
    }

    fn evict(&mut self) {
        let from_small = self.small.len() >= self.capacity / 10 || self.main.is_empty();
        while from_small && let Some(key) = self.small.pop_front() {
            if self.uses.get(&key).is_some_and(|uses| *uses > 1) {
                self.uses.insert(key, 0);
                self.main.push_back(key);
                continue;
            }
            self.uses.remove(&key);
            self.ghosts.push_back(key);
            self.is_ghost.insert(key);
            if self.ghosts.len() > self.capacity
                && let Some(forgotten) = self.ghosts.pop_front()
            {
                self.is_ghost.remove(&forgotten);
            }
            return;
        }
        while let Some(key) = self.main.pop_front() {
            let uses = self.uses.entry(key).or_default();
            if *uses == 0 {
                self.uses.remove(&key);
                return;
            }
            *uses -= 1;
            self.main.push_back(key);
        }
    }
}

impl Cache for S3Fifo {
    fn name(&self) -> &'static str {
        "S3-FIFO"
    }

    fn access(&mut self, key: u64) -> bool {
        if let Some(uses) = self.uses.get_mut(&key) {
            *uses = (*uses + 1).min(3);
            return true;
        }
        if self.uses.len() >= self.capacity {
            self.evict();
        }
        let returns = self.is_ghost.remove(&key);
        if returns { &mut self.main } else { &mut self.small }.push_back(key);
        self.uses.insert(key, 0);
        false
    }
}

/// The store of the server, with the hand that the server evicts by.
pub struct Ours {
    capacity: usize,
    keys: usize,
    store: Store,
    choice: Choice,
    name: &'static str,
    turn: u64,
}

impl Ours {
    /// An empty one.
    pub fn new(capacity: usize, name: &'static str, by: By) -> Ours {
        let choice = Choice { volatile_only: false, by };
        Ours { capacity, keys: 0, store: Store::new(1), choice, name, turn: 0 }
    }

    fn evict(&mut self) {
        self.turn += 197;
        let shard = (self.turn % crate::limits::SHARDS as u64) as u16;
        let pin = reclaim::pin();
        let mut held = self.store.lock_one(shard);
        if let Some(found) = held.candidate(&pin, shard, self.choice) {
            self.keys -= usize::from(held.remove(found.db, &self.store.key(&found.key)));
        }
    }
}

impl Cache for Ours {
    fn name(&self) -> &'static str {
        self.name
    }

    fn access(&mut self, key: u64) -> bool {
        let name = key.to_le_bytes();
        let key = self.store.key(&name);
        if self.store.get(&reclaim::pin(), 0, &key).is_some() {
            return true;
        }
        while self.keys >= self.capacity {
            self.evict();
        }
        let key = self.store.key(&name);
        self.store.lock_one(key.shard()).put(0, &key, Value::Str(b"v"), None);
        self.keys += 1;
        false
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn misses(cache: &mut dyn Cache, trace: &[u64]) -> usize {
        trace.iter().filter(|key| !cache.access(**key)).count()
    }

    #[test]
    fn what_fits_is_missed_once_by_all() {
        let trace: Vec<u64> = (0..10_000).map(|at| at * 7 % 3_000).collect();
        let caches: [Box<dyn Cache>; 5] = [
            Box::new(Lru::new(3_000)),
            Box::new(Sieve::new(3_000)),
            Box::new(S3Fifo::new(3_000)),
            Box::new(Ours::new(3_000, "lru", By::Recency)),
            Box::new(Ours::new(3_000, "lfu", By::Frequency)),
        ];
        for mut cache in caches {
            assert_eq!(misses(cache.as_mut(), &trace), 3_000, "{}", cache.name());
        }
    }

    #[test]
    fn references_do_what_their_papers_say() {
        let looping: Vec<u64> = (0..5_000).map(|at| at % 110).collect();
        assert_eq!(misses(&mut Lru::new(100), &looping), 5_000, "a loop defeats it");
        assert_eq!(misses(&mut Sieve::new(100), &looping), 5_000, "as it does a queue");
        assert!(misses(&mut S3Fifo::new(100), &looping) < 2_500, "newcomers leave soon");
        // 1 2 3 with 1 used again, then 4: the mark spares 1, and the hand takes 2.
        let mut sieve = Sieve::new(3);
        assert_eq!(misses(&mut sieve, &[1, 2, 3, 1, 4]), 4);
        assert!(sieve.access(1) && sieve.access(3) && sieve.access(4) && !sieve.access(2));
        let mut lru = Lru::new(3);
        assert_eq!(misses(&mut lru, &[1, 2, 3, 1, 4]), 4);
        assert!(lru.access(1) && !lru.access(2));
    }

    /// The bounds that the server's policies must keep: no worse than the exact order of recency
    /// on what people's keys look like, and far better where that fails.
    #[test]
    fn ours_is_no_worse_than_lru_and_stands_loops() {
        let zipf = crate::bench::load::zipf::Zipf::new(100_000, 0.9);
        let mut rng = crate::util::rng::SplitMix64::new(1);
        let trace: Vec<u64> = (0..300_000).map(|_| zipf.sample(&mut rng)).collect();
        let lru = misses(&mut Lru::new(10_000), &trace);
        for by in [By::Recency, By::Frequency] {
            let ours = misses(&mut Ours::new(10_000, "ours", by), &trace);
            assert!(ours < lru, "{ours} misses by {by:?}, {lru} by LRU");
        }
        let looping: Vec<u64> = (0..100_000).map(|at| at % 11_000).collect();
        let ours = misses(&mut Ours::new(10_000, "ours", By::Recency), &looping);
        assert!(ours < 50_000, "{ours} of 100000");
    }
}
