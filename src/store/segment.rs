//! Segments and buckets: the memory layout, and what can be done with words alone.
//!
//! ```text
//!   Segment   header: min_deadline, live count, next in the chain; for each eight home buckets a
//!             coarse lower bound of their entries' deadlines (one cache line)
//!             64 buckets
//!   Bucket    control word | 7 slots                                     (one cache line)
//!   Slot      distance 2 bits | tag 14 bits | entry pointer 45 bits | level 3 bits  (0 = empty)
//! ```
//!
//! A key's *home* is the bucket that its hash names. Its entry lies there or, when that is full,
//! in one of the next three buckets; the slot says how far from home, so that an entry's home is
//! known without looking at it. The home's control word says how far to look (reach), and it is
//! *the version of the set of keys whose home this is*, wherever they lie: whoever inserts,
//! replaces or removes such a key brackets the change with `write_begin` and `write_end` of the
//! home's word. A reader therefore validates one word, however many buckets it looked at.
//!
//! The level is what eviction notes of an entry's use; see `evict`. It lies in the bits that the
//! alignment of entries leaves, is changed under the shard's lock, and no reader looks at it.
//!
//! Deliberately absent: what a word points to. See `table`.

use crate::limits::{BUCKET_SLOTS, SEGMENT_BUCKETS};
use crate::sync::seqlock::{ControlWord, REACH_MAX};
use std::ptr::{NonNull, null_mut};
use std::sync::atomic::Ordering::{Acquire, Relaxed, Release};
use std::sync::atomic::{AtomicPtr, AtomicU32, AtomicU64};

/// Hash bits that name a bucket. Small in unit tests, so that they split often.
pub const BUCKET_BITS: u32 = if cfg!(test) { 3 } else { SEGMENT_BUCKETS.ilog2() };
/// Buckets of a segment.
pub const BUCKETS: usize = 1 << BUCKET_BITS;

/// Neighbouring home buckets that share a lower bound of their deadlines.
pub const HOMES_PER_DUE: usize = BUCKETS.div_ceil(8);

const TAG_BITS: u32 = 14;
const MARK_SHIFT: u32 = 48;
/// Largest level.
pub const LEVEL_MAX: u8 = 7;
const LEVEL: usize = LEVEL_MAX as usize;
const ADDRESS: usize = ((1 << MARK_SHIFT) - 1) & !LEVEL;

/// No deadline.
pub const NEVER: u64 = u64::MAX;
/// The unit of the coarse bounds: 1024 ms, which lasts until the year 2109.
const COARSE_SHIFT: u32 = 10;

/// The word of a slot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Word(*mut u8);

impl Default for Word {
    fn default() -> Word {
        Word::EMPTY
    }
}

impl Word {
    /// The word of a slot without an entry.
    pub const EMPTY: Word = Word(null_mut());

    /// The word of `entry`, whose hash is `hash`, at `distance` from its home.
    #[inline(always)]
    pub fn new(entry: NonNull<u8>, hash: u64, distance: usize) -> Word {
        let mark = usize::from(mark(hash, distance)) << MARK_SHIFT;
        Word(entry.as_ptr().map_addr(|address| {
            debug_assert_eq!(address & !ADDRESS, 0, "more than 48 bits, or not aligned");
            address | mark
        }))
    }

    /// Tag and distance.
    #[inline(always)]
    pub fn mark(self) -> u16 {
        (self.0.addr() >> MARK_SHIFT) as u16
    }

    /// How far from its home the entry lies.
    #[inline(always)]
    pub fn distance(self) -> usize {
        usize::from(self.mark() >> TAG_BITS)
    }

    /// The entry, if there is one.
    #[inline(always)]
    pub fn entry(self) -> Option<NonNull<u8>> {
        NonNull::new(self.0.map_addr(|address| address & ADDRESS))
    }

    /// What eviction has noted of the entry, up to [`LEVEL_MAX`].
    pub fn level(self) -> u8 {
        (self.0.addr() & LEVEL) as u8
    }

    /// The same word at another level.
    pub fn with_level(self, level: u8) -> Word {
        debug_assert!(level <= LEVEL_MAX);
        Word(self.0.map_addr(|address| address & !LEVEL | usize::from(level)))
    }

    /// The same entry at another distance from its home.
    pub fn at_distance(self, distance: usize) -> Word {
        let shift = MARK_SHIFT + TAG_BITS;
        Word(self.0.map_addr(|address| address & ((1 << shift) - 1) | distance << shift))
    }

    /// The same place in the segment and level, with another entry of the same key.
    #[inline(always)]
    pub fn with_entry(self, entry: NonNull<u8>) -> Word {
        let mark = self.0.addr() & !ADDRESS;
        Word(entry.as_ptr().map_addr(|address| address | mark))
    }
}

/// Tag and distance of an entry, as a slot keeps them.
#[inline(always)]
pub fn mark(hash: u64, distance: usize) -> u16 {
    hash as u16 & ((1 << TAG_BITS) - 1) | (distance as u16) << TAG_BITS
}

/// The home bucket of a hash in a segment of `depth`.
#[inline(always)]
pub fn home_of(hash: u64, depth: u32) -> usize {
    ((hash << depth) >> (64 - BUCKET_BITS)) as usize
}

/// A cache line: a control word and seven slots.
#[repr(C, align(64))]
#[derive(Debug)]
pub struct Bucket {
    /// Version and reach of the keys whose home this bucket is; visited bits of its slots.
    pub control: ControlWord,
    slots: [AtomicPtr<u8>; BUCKET_SLOTS],
}

impl Bucket {
    /// The word of a slot.
    #[inline(always)]
    pub fn load(&self, slot: usize) -> Word {
        // Acquire: pairs with the Release in `store`; the entry behind the word is complete.
        Word(self.slots[slot].load(Acquire))
    }

    /// Publishes a word. The caller holds the shard's lock.
    #[inline(always)]
    pub fn store(&self, slot: usize, word: Word) {
        // Release: pairs with the Acquire in `load`.
        self.slots[slot].store(word.0, Release);
    }

    /// All words.
    #[inline(always)]
    pub fn words(&self) -> impl Iterator<Item = (usize, Word)> + '_ {
        (0..BUCKET_SLOTS).map(|slot| (slot, self.load(slot)))
    }
}

/// Where a word lies: a bucket, as its distance from a home, and a slot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    /// Buckets from home.
    pub distance: usize,
    /// Slot in the bucket.
    pub slot: usize,
}

/// 64 buckets and what is known of them as a whole.
#[repr(C, align(64))]
#[derive(Debug)]
pub struct Segment {
    min_deadline: AtomicU64,
    live: AtomicU64,
    next: AtomicPtr<Segment>,
    due: [AtomicU32; BUCKETS / HOMES_PER_DUE],
    buckets: [Bucket; BUCKETS],
}

impl Segment {
    /// Makes zeroed memory a segment: empty, nothing due.
    pub fn prepare(&self) {
        self.min_deadline.store(NEVER, Relaxed);
        for due in &self.due {
            due.store(u32::MAX, Relaxed);
        }
    }

    /// The bucket at `distance` from `home`.
    #[inline(always)]
    pub fn bucket(&self, home: usize, distance: usize) -> &Bucket {
        &self.buckets[(home + distance) % BUCKETS]
    }

    /// Entries in the segment.
    pub fn live(&self) -> usize {
        self.live.load(Relaxed) as usize
    }

    fn add_live(&self, change: i64) {
        // No read-modify-write: only the holder of the lock writes.
        self.live.store(self.live.load(Relaxed).wrapping_add_signed(change), Relaxed);
    }

    /// The next segment of the overflow chain.
    #[inline]
    pub fn next(&self) -> *mut Segment {
        // Acquire: pairs with the Release in `set_next`.
        self.next.load(Acquire)
    }

    /// Ends the chain with `next`. The caller holds the shard's lock.
    pub fn set_next(&self, next: *mut Segment) {
        // Release: pairs with the Acquire in `next`; the segment is prepared.
        self.next.store(next, Release);
    }

    /// The first empty slot within reach of `home`.
    #[inline]
    pub fn vacancy(&self, home: usize) -> Option<Place> {
        (0..=usize::from(REACH_MAX)).find_map(|distance| {
            let mut words = self.bucket(home, distance).words();
            let (slot, _) = words.find(|(_, word)| *word == Word::EMPTY)?;
            Some(Place { distance, slot })
        })
    }

    /// Puts an entry into an empty place. The caller has begun a write of the home's version.
    #[inline]
    pub fn fill(&self, home: usize, place: Place, entry: NonNull<u8>, hash: u64) {
        let bucket = self.bucket(home, place.distance);
        bucket.control.clear_visited(place.slot);
        bucket.store(place.slot, Word::new(entry, hash, place.distance));
        self.add_live(1);
    }

    /// Takes over a word of another segment, marked as visited or not, into an empty place. The
    /// segment is not published yet.
    pub fn adopt(&self, home: usize, place: Place, word: Word, visited: bool) {
        let bucket = self.bucket(home, place.distance);
        bucket.store(place.slot, word.at_distance(place.distance));
        if visited {
            bucket.control.set_visited(place.slot);
        }
        self.add_live(1);
    }

    /// Empties a place. The caller has begun a write of the home's version.
    #[inline]
    pub fn vacate(&self, home: usize, place: Place) {
        self.bucket(home, place.distance).store(place.slot, Word::EMPTY);
        self.add_live(-1);
    }

    /// How far the entries of `home` really lie, if at most `reach`.
    pub fn settled_reach(&self, home: usize, reach: u8) -> u8 {
        let holds = |distance: &u8| self.holds(home, usize::from(*distance));
        (1..=reach).rev().find(holds).unwrap_or(0)
    }

    fn holds(&self, home: usize, distance: usize) -> bool {
        let mut words = self.bucket(home, distance).words();
        words.any(|(_, word)| word != Word::EMPTY && word.distance() == distance)
    }

    /// The words of the entries whose home is `home`, looking as far as `reach`.
    #[inline]
    pub fn homed(&self, home: usize, reach: u8) -> impl Iterator<Item = (Place, Word)> + '_ {
        (0..=usize::from(reach)).flat_map(move |distance| {
            let words = self.bucket(home, distance).words();
            let here = move |(_, word): &(usize, Word)| {
                *word != Word::EMPTY && word.distance() == distance
            };
            words.filter(here).map(move |(slot, word)| (Place { distance, slot }, word))
        })
    }

    /// Every word.
    pub fn all(&self) -> impl Iterator<Item = Word> + '_ {
        let words = self.buckets.iter().flat_map(Bucket::words).map(|(_, word)| word);
        words.filter(|word| *word != Word::EMPTY)
    }

    /// Every word, with its home and its place.
    pub fn places(&self) -> impl Iterator<Item = (usize, Place, Word)> + '_ {
        self.buckets.iter().enumerate().flat_map(|(at, bucket)| {
            let full = bucket.words().filter(|(_, word)| *word != Word::EMPTY);
            full.map(move |(slot, word)| {
                let distance = word.distance();
                ((at + BUCKETS - distance) % BUCKETS, Place { distance, slot }, word)
            })
        })
    }

    /// A lower bound of the deadlines of all entries, those of the chain included.
    #[inline]
    pub fn min_deadline(&self) -> u64 {
        self.min_deadline.load(Relaxed)
    }

    /// Sets the lower bound.
    pub fn set_min_deadline(&self, deadline: u64) {
        self.min_deadline.store(deadline, Relaxed);
    }

    /// Notes that an entry of `home` has `deadline`.
    #[inline]
    pub fn note_deadline(&self, home: usize, deadline: u64) {
        if deadline < self.min_deadline() {
            self.set_min_deadline(deadline);
        }
        let coarse = coarse(deadline);
        let due = &self.due[home / HOMES_PER_DUE];
        if coarse < due.load(Relaxed) {
            due.store(coarse, Relaxed);
        }
    }

    /// A lower bound of the deadlines of the entries of `home` and of those that share the bound;
    /// [`NEVER`] when none has one.
    #[inline]
    pub fn due(&self, home: usize) -> u64 {
        match self.due[home / HOMES_PER_DUE].load(Relaxed) {
            u32::MAX => NEVER,
            coarse => u64::from(coarse) << COARSE_SHIFT,
        }
    }

    /// Sets that lower bound after all entries that it is for were looked at.
    pub fn set_due(&self, home: usize, deadline: u64) {
        self.due[home / HOMES_PER_DUE].store(coarse(deadline), Relaxed);
    }
}

/// Rounded down, so that it stays a lower bound; deadlines beyond its range are due when it ends.
fn coarse(deadline: u64) -> u32 {
    match deadline {
        NEVER => u32::MAX,
        deadline => (deadline >> COARSE_SHIFT).min(u64::from(u32::MAX - 1)) as u32,
    }
}

const _: () = assert!(size_of::<Bucket>() == 64);
const _: () = assert!(size_of::<Segment>() == 64 * (BUCKETS + 1));
const _: () = assert!(cfg!(test) || BUCKETS == SEGMENT_BUCKETS);
const _: () = assert!((REACH_MAX as usize) < BUCKETS);
const _: () = assert!(REACH_MAX < 4, "a distance has two bits");
