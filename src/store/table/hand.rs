//! Entries as eviction and the sweep over times of use meet them: with the marks of their slots.

use super::*;
use crate::store::segment::{BUCKET_BITS, BUCKETS, HOMES_PER_DUE};
use crate::store::table::view::View;

/// Hash bits of a fingerprint that stand below those of the tag.
const TAG_BITS: u32 = 14;

/// What is known of a key without looking at it: the leading bits of its hash, and its tag.
#[inline]
pub fn fingerprint(hash: u64) -> u32 {
    ((hash >> (64 - BUCKET_BITS)) as u32) << TAG_BITS | hash as u32 & ((1 << TAG_BITS) - 1)
}

/// An entry, and the slot that leads to it.
pub struct Met<'p> {
    /// The entry.
    pub entry: EntryRef<'p>,
    /// As [`fingerprint`] tells it of the key's hash.
    pub fingerprint: u32,
    bucket: &'p Bucket,
    slot: usize,
    word: Word,
}

impl Met<'_> {
    /// What eviction has noted of it, 0 to 7; 0 for a new one.
    pub fn level(&self) -> u8 {
        self.word.level()
    }

    /// Takes the mark of use away; whether there was one. The caller holds the shard's lock.
    pub fn take_mark(&self) -> bool {
        let was_marked = self.bucket.control.visited(self.slot);
        if was_marked {
            self.bucket.control.clear_visited(self.slot);
        }
        was_marked
    }

    /// Notes a level in the slot. The caller holds the shard's lock.
    pub fn set_level(&mut self, level: u8) {
        if level != self.word.level() {
            self.word = self.word.with_level(level);
            // The entry stays: no version is begun, and no reader looks at the level.
            self.bucket.store(self.slot, self.word);
        }
    }
}

impl<S> Locked<'_, S> {
    /// Meets the entries of the home that `hash` falls into; skips a segment without any, and if
    /// `timed` a home without any that has a deadline. Returns where the next home starts, `None`
    /// at the end of the table.
    pub fn meet_home<'p>(
        &mut self,
        pin: &'p Pin,
        db: u8,
        hash: u64,
        timed: bool,
        meet: &mut dyn FnMut(Met<'p>),
    ) -> Option<u64> {
        let access = Access::pinned(pin);
        let view = View::of(self.tables.table(access, db)?, access, hash);
        if view.live() == 0 {
            return view.next();
        }
        let at = view.segment();
        let home = home_of(hash, at.depth);
        let next = (hash | u64::MAX >> (at.depth + BUCKET_BITS)).checked_add(1);
        if timed && view.due(home) == NEVER {
            return next;
        }
        let top = fingerprint(view.start() | (home as u64) << (64 - BUCKET_BITS - at.depth));
        let reach = at.segment.bucket(home, 0).control.reach();
        let reaches = std::iter::once(reach).chain(std::iter::repeat(REACH_MAX));
        for (segment, reach) in at.chain().zip(reaches) {
            for (place, word) in segment.homed(home, reach) {
                let Some(entry) = entry_of(word, at) else { continue };
                let bucket = segment.bucket(home, place.distance);
                let tag = u32::from(word.mark()) & ((1 << TAG_BITS) - 1);
                let fingerprint = top & !((1 << TAG_BITS) - 1) | tag;
                meet(Met { entry, fingerprint, bucket, slot: place.slot, word });
            }
        }
        next
    }

    /// Asks for the entries of the home that `hash` falls into that bear a mark of use.
    pub fn prefetch_marked(&self, pin: &Pin, db: u8, hash: u64) {
        let access = Access::pinned(pin);
        let Some(table) = self.tables.table(access, db) else { return };
        let home = table.home(access, hash);
        let bucket = home.bucket();
        for (slot, word) in bucket.words() {
            if let Some(entry) = word.entry()
                && bucket.control.visited(slot)
            {
                prefetch_read(entry.as_ptr());
            }
        }
    }

    /// The key whose deadline is the nearest here, found by way of the lower bounds, which are
    /// put right on the way.
    pub fn nearest_deadline<'p>(&mut self, pin: &'p Pin, db: u8) -> Option<EntryRef<'p>> {
        let access = Access::pinned(pin);
        let table = self.tables.table(access, db)?;
        // Each turn but the last puts one bound right, and there are not more bounds than homes.
        for _ in 0..table.counts.segments.load(Relaxed) as usize * (BUCKETS + 1) {
            if table.counts.with_deadline.load(Relaxed) == 0 {
                return None;
            }
            let view = segment_due_first(table, access)?;
            let bounds = || (0..BUCKETS).step_by(HOMES_PER_DUE);
            let first = bounds().min_by_key(|first| view.due(*first))?;
            let told = view.due(first);
            let homes = first..first + HOMES_PER_DUE;
            let timed = homes.flat_map(|home| view.homed(home));
            let timed = timed.filter(|entry| entry.deadline().is_some());
            let nearest = timed.min_by_key(EntryRef::deadline);
            let exact = nearest.and_then(|entry| entry.deadline()).unwrap_or(NEVER);
            view.set_due(first, exact);
            view.set_min_deadline(bounds().map(|first| view.due(first)).min().unwrap_or(NEVER));
            if nearest.is_some() && view.due(first) == told {
                return nearest;
            }
        }
        None
    }
}

/// The segment with the lowest bound of deadlines.
fn segment_due_first<'a>(table: &Table, access: Access<'a>) -> Option<View<'a>> {
    let mut first: Option<View<'a>> = None;
    let mut next = Some(0);
    while let Some(start) = next {
        let view = View::of(table, access, start);
        next = view.next();
        if first.as_ref().is_none_or(|first| view.min_deadline() < first.min_deadline()) {
            first = Some(view);
        }
    }
    first.filter(|view| view.min_deadline() != NEVER)
}
