//! The control word of a bucket: a seqlock over atomics, and marks of use beside it.
//!
//! ```text
//!   31          3 2  1 0        7 6      0
//!   |  version   |reach|lock|   |0| marks |
//! ```
//!
//! A writer (one at a time: it holds the shard's lock) sets the lock bit, changes the bucket's
//! words and ends with a new version. A reader notes the word, reads, and looks again: the same
//! lock bit, version and reach mean that what it read stood there at one instant. The data are
//! atomics themselves, so a read that fails validation is merely wrong, not undefined.
//!
//! The argument, by cases, for a reader that saw *any* word of a write W:
//! - W's lock bit was set before a Release fence, that word after it; the reader's Acquire fence
//!   stands between its data and its second look, so this look sees the lock bit of W or
//!   something later: not what was noted, unless W was complete before the first look;
//! - if the first look saw W complete (Acquire on the Release that ended it), it saw all of W.
//!
//! The version has 29 bits: a reader would have to stand still within one lookup while its bucket
//! is written 536,870,912 times or a multiple of that, to take what it read for whole.
//!
//! `reach` says how far entries of this bucket were displaced; it belongs to the writer, and so
//! does the whole word: it is written by plain stores. Marks are hints, in a byte of their own: of
//! two that are set or cleared at the same moment one may be lost, and nothing depends on it. So
//! neither a read nor a write needs a locked instruction here.
//!
//! All zeroes are valid: unlocked, version 0, nothing marked, reach 0.

use super::primitive::{AtomicU8, AtomicU32, Ordering, Site, fence, ordering, skips};
use Ordering::{Acquire, Relaxed, Release};

const LOCK: u32 = 1;
const REACH_SHIFT: u32 = 1;
const REACH: u32 = 0b11 << REACH_SHIFT;
const VERSION_ONE: u32 = 1 << 3;

/// Largest value of the reach field.
pub const REACH_MAX: u8 = 3;

/// The first word of a bucket.
#[repr(C, align(8))]
#[derive(Debug)]
pub struct ControlWord {
    sequence: AtomicU32,
    marks: AtomicU8,
}

impl Default for ControlWord {
    fn default() -> ControlWord {
        ControlWord::new()
    }
}

impl ControlWord {
    /// An unlocked word of version 0.
    #[cfg(not(loom))]
    pub const fn new() -> ControlWord {
        ControlWord { sequence: AtomicU32::new(0), marks: AtomicU8::new(0) }
    }

    /// An unlocked word of version 0.
    #[cfg(loom)]
    pub fn new() -> ControlWord {
        ControlWord { sequence: AtomicU32::new(0), marks: AtomicU8::new(0) }
    }

    /// The word to validate against, or `None` while a write is under way.
    #[inline(always)]
    pub fn read_begin(&self) -> Option<u32> {
        // Acquire: pairs with the Release in `write_end`.
        let word = self.sequence.load(Acquire);
        (word & LOCK == 0).then_some(word)
    }

    /// Whether everything read since `begun` was noted stood there at one instant.
    #[inline(always)]
    pub fn read_validate(&self, begun: u32) -> bool {
        if !skips(Site::SeqlockValidate) {
            // Acquire: pairs with the Release fence in `write_begin` through the data read.
            fence(Acquire);
        }
        self.sequence.load(Relaxed) == begun
    }

    /// Reach of a word that [`read_begin`](Self::read_begin) returned.
    #[inline(always)]
    pub fn reach_of(begun: u32) -> u8 {
        ((begun & REACH) >> REACH_SHIFT) as u8
    }

    /// Reach as the writer left it (for the holder of the writer lock).
    #[inline(always)]
    pub fn reach(&self) -> u8 {
        ControlWord::reach_of(self.sequence.load(Relaxed))
    }

    /// Turns readers away. The caller holds the shard's writer lock and is not writing already.
    #[inline(always)]
    pub fn write_begin(&self) {
        let before = self.sequence.load(Relaxed);
        debug_assert_eq!(before & LOCK, 0, "two writers in one bucket");
        self.sequence.store(before | LOCK, Relaxed);
        if !skips(Site::SeqlockBegin) {
            // Release: pairs with the Acquire fence in `read_validate`.
            fence(Release);
        }
    }

    /// Lets readers in again, with a new version and `reach` (at most [`REACH_MAX`]).
    #[inline(always)]
    pub fn write_end(&self, reach: u8) {
        debug_assert!(reach <= REACH_MAX);
        let before = self.sequence.load(Relaxed);
        debug_assert_eq!(before & LOCK, LOCK, "write_end without write_begin");
        let version = (before & !(LOCK | REACH)).wrapping_add(VERSION_ONE);
        let after = version | u32::from(reach) << REACH_SHIFT;
        // Release: pairs with the Acquire in `read_begin`.
        self.sequence.store(after, ordering(Site::SeqlockEnd, Release));
    }

    /// Marks `slot` (0..=6) as used; writes nothing if it is marked already.
    #[inline(always)]
    pub fn set_visited(&self, slot: usize) {
        let marks = self.marks.load(Relaxed);
        if marks & visited_bit(slot) == 0 {
            // Relaxed, and not one step with the load: a hint, which orders nothing.
            self.marks.store(marks | visited_bit(slot), Relaxed);
        }
    }

    /// Whether `slot` (0..=6) is marked as used.
    #[inline(always)]
    pub fn visited(&self, slot: usize) -> bool {
        self.marks.load(Relaxed) & visited_bit(slot) != 0
    }

    /// Takes the mark of `slot` (0..=6) away; writes nothing if it has none.
    #[inline(always)]
    pub fn clear_visited(&self, slot: usize) {
        let marks = self.marks.load(Relaxed);
        if marks & visited_bit(slot) != 0 {
            self.marks.store(marks & !visited_bit(slot), Relaxed);
        }
    }
}

#[inline(always)]
fn visited_bit(slot: usize) -> u8 {
    debug_assert!(slot < crate::limits::BUCKET_SLOTS);
    1 << slot
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;
    use std::sync::atomic::AtomicU64;

    #[test]
    fn fields_do_not_disturb_each_other() {
        let word = ControlWord::new();
        for reach in [0, 3, 1, 2, 0, 3] {
            let before = word.read_begin().expect("no writer");
            word.set_visited(6);
            word.write_begin();
            assert_eq!(word.read_begin(), None);
            word.set_visited(0);
            word.write_end(reach);
            let after = word.read_begin().expect("the writer is done");
            assert_eq!(ControlWord::reach_of(after), reach);
            assert_eq!(word.reach(), reach);
            assert!(word.visited(0) && word.visited(6) && !word.visited(3));
            assert!(!word.read_validate(before));
            assert!(word.read_validate(after));
            word.clear_visited(0);
            word.clear_visited(6);
            assert!(word.read_validate(after), "visited bits are no change");
            assert!(!word.visited(0) && !word.visited(6));
        }
    }

    #[test]
    fn a_validated_read_is_never_torn() {
        let rounds: u64 = if cfg!(miri) { 100 } else { 100_000 };
        let word = ControlWord::new();
        let data: [AtomicU64; 7] = Default::default();
        let done = std::sync::atomic::AtomicBool::new(false);
        std::thread::scope(|scope| {
            scope.spawn(|| {
                for round in 1..=rounds {
                    word.write_begin();
                    for slot in &data {
                        slot.store(round, Relaxed);
                    }
                    word.write_end((round % 4) as u8);
                }
                done.store(true, Relaxed);
            });
            for reader in 0..2 {
                let (word, data, done) = (&word, &data, &done);
                scope.spawn(move || {
                    let mut last = 0;
                    while !done.load(Relaxed) {
                        let Some(begun) = word.read_begin() else { continue };
                        let seen: Vec<u64> = data.iter().map(|slot| slot.load(Relaxed)).collect();
                        word.set_visited(reader);
                        if word.read_validate(begun) {
                            assert!(seen.iter().all(|value| *value == seen[0]), "{seen:?}");
                            assert_eq!(ControlWord::reach_of(begun), (seen[0] % 4) as u8);
                            assert!(seen[0] >= last, "time went back");
                            last = seen[0];
                        }
                    }
                });
            }
        });
    }
}
