//! Which keys are used most: a HeavyKeeper sketch with the names of the leaders.
//!
//! ```text
//!   use --1 of 16--> two rows of (fingerprint, count); a stranger wears a count down, the less
//!                    likely the higher it is, and takes the place when nothing is left
//!                --> leaders: the 32 keys with the highest counts, by name
//! ```
//!
//! So a key that is used often keeps its place however many others pass by, and one that is used
//! rarely has no count at all: an estimate is never far above the truth. Counts are halved now and
//! then; they speak of the last minutes. One worker writes, through a lock that is nearly always
//! free, and anyone may ask.

use crate::util::rng::SplitMix64;
use crossbeam_utils::CachePadded;
use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// Uses of which one is counted.
pub const SAMPLE: u64 = 16;
/// Keys that are known by name.
pub const LEADERS: usize = 32;
const ROWS: usize = 2;
const PLACES: usize = 2048;
/// Longer names are not kept.
const NAME_LEN_MAX: usize = 512;
/// A count is worn down with the probability 1.08^-count.
const WEAR_BASE: f64 = 1.08;

#[derive(Clone, Copy, Default)]
struct Place {
    fingerprint: u32,
    count: u32,
}

/// A key that is used often.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Leader {
    /// Its database.
    pub db: u8,
    /// The key.
    pub key: Vec<u8>,
    /// Uses, of which it was counted one in [`SAMPLE`].
    pub count: u32,
    hash: u64,
}

/// Counts of the keys used most.
pub struct HotKeys {
    places: Box<[[Place; PLACES]; ROWS]>,
    leaders: Vec<Leader>,
    rng: SplitMix64,
}

impl HotKeys {
    /// Nothing counted yet.
    pub fn new(seed: u64) -> HotKeys {
        let places = Box::new([[Place::default(); PLACES]; ROWS]);
        HotKeys { places, leaders: Vec::new(), rng: SplitMix64::new(seed) }
    }

    /// Counts a use of a key, given with its hash.
    pub fn add(&mut self, db: u8, hash: u64, key: &[u8]) {
        let hash = of_database(hash, db);
        let mut count = 0;
        for row in 0..ROWS {
            let place = &mut self.places[row][spot(hash, row)];
            let fingerprint = fingerprint(hash);
            if place.count > 0 && place.fingerprint != fingerprint {
                let wears =
                    self.rng.next_f64() < WEAR_BASE.powi(-(place.count.min(1 << 20) as i32));
                place.count -= u32::from(wears);
            }
            if place.count == 0 {
                *place = Place { fingerprint, count: 0 };
            }
            if place.fingerprint == fingerprint {
                place.count = place.count.saturating_add(1);
                count = count.max(place.count);
            }
        }
        if count > 0 && key.len() <= NAME_LEN_MAX {
            self.lead(db, hash, key, count);
        }
    }

    /// Uses of a key that were counted; 0 for one that is used rarely.
    pub fn count(&self, db: u8, hash: u64) -> u32 {
        let hash = of_database(hash, db);
        let of_row = |row: usize| {
            let place = self.places[row][spot(hash, row)];
            if place.fingerprint == fingerprint(hash) { place.count } else { 0 }
        };
        (0..ROWS).map(of_row).max().unwrap_or(0)
    }

    /// The keys used most, in no order.
    pub fn leaders(&self) -> &[Leader] {
        &self.leaders
    }

    /// Halves all counts: what was hot is forgotten.
    pub fn halve(&mut self) {
        self.places.iter_mut().flatten().for_each(|place| place.count /= 2);
        self.leaders.iter_mut().for_each(|leader| leader.count /= 2);
        self.leaders.retain(|leader| leader.count > 0);
    }

    /// Forgets everything.
    pub fn clear(&mut self) {
        *self.places = [[Place::default(); PLACES]; ROWS];
        self.leaders.clear();
    }

    fn lead(&mut self, db: u8, hash: u64, key: &[u8], count: u32) {
        let known = |leader: &&mut Leader| leader.hash == hash && leader.key == key;
        if let Some(leader) = self.leaders.iter_mut().find(known) {
            leader.count = count;
            return;
        }
        let leader = || Leader { db, key: key.to_vec(), count, hash };
        if self.leaders.len() < LEADERS {
            self.leaders.push(leader());
            return;
        }
        let last = self.leaders.iter_mut().min_by_key(|leader| leader.count);
        if let Some(last) = last.filter(|last| last.count < count) {
            *last = leader();
        }
    }
}

/// The counts of all workers.
pub struct HotSet(Box<[CachePadded<Mutex<HotKeys>>]>);

impl HotSet {
    /// Nothing counted, for `workers` workers.
    pub fn new(workers: usize) -> HotSet {
        let of_one = |worker| CachePadded::new(Mutex::new(HotKeys::new(worker as u64)));
        HotSet((0..workers).map(of_one).collect())
    }

    /// One worker's counts, to add to.
    pub fn of(&self, worker: usize) -> MutexGuard<'_, HotKeys> {
        self.0[worker].lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Uses of a key in the last minutes, as estimated from those that were counted.
    pub fn uses(&self, db: u8, hash: u64) -> u64 {
        let counted = |worker| u64::from(self.of(worker).count(db, hash));
        (0..self.0.len()).map(counted).sum::<u64>() * SAMPLE
    }

    /// The keys of a database that are used most, with their estimated uses in the last minutes,
    /// the highest first.
    pub fn leaders(&self, db: u8, count: usize) -> Vec<(Vec<u8>, u64)> {
        let mut uses = BTreeMap::<Vec<u8>, u64>::new();
        for worker in 0..self.0.len() {
            let hot = self.of(worker);
            for leader in hot.leaders().iter().filter(|leader| leader.db == db) {
                *uses.entry(leader.key.clone()).or_default() += u64::from(leader.count) * SAMPLE;
            }
        }
        let mut leaders: Vec<_> = uses.into_iter().collect();
        leaders.sort_by_key(|(_, uses)| std::cmp::Reverse(*uses));
        leaders.truncate(count);
        leaders
    }
}

fn of_database(hash: u64, db: u8) -> u64 {
    hash ^ u64::from(db).wrapping_mul(0x9E37_79B9_7F4A_7C15)
}

fn fingerprint(hash: u64) -> u32 {
    (hash >> 32) as u32
}

fn spot(hash: u64, row: usize) -> usize {
    let mixed = hash.wrapping_mul([0xD6E8_FEB8_6659_FD93, 0xA076_1D64_78BD_642F][row]);
    (mixed >> 48) as usize % PLACES
}

/// How often a key is used on Redis' scale of 0 to 255: its logarithmic counter would stand there
/// after `uses` uses with that `lfu-log-factor`.
pub fn log_scale(uses: u64, log_factor: u64) -> u8 {
    if uses == 0 {
        return 0;
    }
    // Each step from c to c + 1 takes (c - 5) * factor + 1 uses.
    let mut count = 5;
    let mut left = uses as f64;
    while count < 255 && left >= 1.0 {
        left -= (count - 5) as f64 * log_factor as f64 + 1.0;
        count += 1;
    }
    count.min(255) as u8
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hash(number: u64) -> u64 {
        SplitMix64::new(number).next_u64()
    }

    #[test]
    fn those_used_most_are_known_among_a_million_others() {
        let mut hot = HotKeys::new(1);
        for other in 0..400_000_u64 {
            hot.add(0, hash(1000 + other), &other.to_le_bytes());
            if other % 50 == 0 {
                (0..8).for_each(|key| hot.add(0, hash(key), format!("hot:{key}").as_bytes()));
            }
        }
        for key in 0..8 {
            let count = hot.count(0, hash(key));
            assert!((6_500..=8_000).contains(&count), "{key}: {count} of 8000");
            let name = format!("hot:{key}").into_bytes();
            assert!(hot.leaders().iter().any(|leader| leader.key == name), "{key} is no leader");
        }
        let cold = (0..10_000).map(|other| hot.count(0, hash(1000 + other))).max();
        assert!(cold < Some(100), "{cold:?}");
    }

    #[test]
    fn databases_are_told_apart_and_counts_fade() {
        let mut hot = HotKeys::new(2);
        (0..1000).for_each(|_| hot.add(3, hash(1), b"k"));
        assert_eq!((hot.count(3, hash(1)), hot.count(4, hash(1))), (1000, 0));
        (0..10).for_each(|_| hot.halve());
        assert_eq!(hot.leaders(), &[]);
        hot.add(3, hash(1), b"k");
        hot.add(3, hash(2), &[b'x'; NAME_LEN_MAX + 1]);
        assert_eq!(hot.leaders().len(), 1);
        hot.clear();
        assert_eq!((hot.count(3, hash(1)), hot.leaders().len()), (0, 0));
    }

    #[test]
    fn the_scale_is_that_of_redis() {
        let told = [0, 1, 100, 1000, 100_000, 1_000_000].map(|uses| log_scale(uses, 10));
        assert_eq!(told[..2], [0, 6]);
        assert!((9..=11).contains(&told[2]) && (17..=21).contains(&told[3]), "{told:?}");
        assert!((140..=150).contains(&told[4]), "{told:?}");
        assert_eq!(told[5], 255);
    }
}
