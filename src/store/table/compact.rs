#![allow(unsafe_code)]
//! Compaction of a table: thin segments are joined, and what lies in sparse spans moves.
//!
//! Joining is a split backwards. An entry's new home follows from its old one (half a segment's
//! number, and the half that it was in), so that no entry is looked at. Entries and segments are
//! moved by publishing a copy and retiring the original, as every change does: a reader in a
//! segment that was replaced sees it as it was, which lies within its call, and no user can tell a
//! moved entry from the one it was. No watcher is told, and no record is written.
//!
//! Deliberately absent: when to do it, and for how long. See `store::compact`.

use super::*;
use crate::limits::{SEGMENT_JOIN_PERCENT, TABLE_THIN_PERCENT};
use crate::store::segment::BUCKETS;
use crate::store::slab::{Grown, NewSegment, any_sparse};

const SLOTS: usize = BUCKETS * BUCKET_SLOTS;

impl<S> Tables<S> {
    /// Whether a database here has segments that it might be worth joining. A hint.
    pub fn is_thin(&self, pin: &Pin, db: u8) -> bool {
        self.table(Access::pinned(pin), db).is_some_and(Table::is_thin)
    }
}

impl<S> Locked<'_, S> {
    /// Joins the segment of `hash` with what lies beside it, if that makes a comfortable one; moves
    /// it and its entries out of sparse spans. What is left of them goes to `left`. Where the next
    /// segment starts; `None` at the end.
    pub fn compact(&mut self, db: u8, hash: u64, left: &mut Vec<Moved>) -> Option<u64> {
        let access = self.access_to_change();
        let table = self.tables.table(access, db)?;
        let before = table.frame_bytes(access) as i64;
        let mut moved = false;
        while table.join(access, hash) {
            moved = true;
        }
        if table.move_segment(access, hash) || moved {
            self.tables.sequence.moved();
        }
        self.account(table.frame_bytes(access) as i64 - before);
        let view = View::of(table, access, hash);
        if any_sparse() {
            view.prefetch_all();
            table.move_entries(&view, left);
        }
        let next = view.next();
        if next.is_none() {
            table.counts.looked_through.store(table.counts.keys.load(Relaxed), Relaxed);
        }
        next
    }
}

impl Table {
    fn is_thin(&self) -> bool {
        let keys = self.counts.keys.load(Relaxed);
        let segments = self.counts.segments.load(Relaxed);
        let looked_through = self.counts.looked_through.load(Relaxed);
        // Where a look has not helped, the next one waits until an eighth of the keys is gone.
        segments > 1
            && keys * 100 < segments * SLOTS as u64 * TABLE_THIN_PERCENT
            && keys <= looked_through - looked_through / 8
    }

    /// Puts one segment in the place of that of `hash` and its sibling, if they are thin.
    fn join(&self, access: Access<'_>, hash: u64) -> bool {
        let directory = self.root.directory(access);
        let Some(siblings) = directory.siblings(hash) else { return false };
        let live: usize = siblings.iter().map(|at| at.segment.live()).sum();
        if live * 100 > SLOTS * SEGMENT_JOIN_PERCENT {
            return false;
        }
        let [low, high] = siblings.map(|at| at.segment);
        let halved = |half: usize| move |home: usize| (half * BUCKETS + home) / 2;
        let Some(joined) = gather([(low, halved(0)), (high, halved(1))]) else { return false };
        // SAFETY: [table-027] I-LOCK: only `Locked` calls, and the siblings were just found.
        unsafe { directory.join(hash, joined) };
        add(&self.counts.segments, -1);
        true
    }

    /// Moves the segment of `hash` if it lies in a sparse span. One with a chain stays: it is rare.
    /// Whether it did.
    fn move_segment(&self, access: Access<'_>, hash: u64) -> bool {
        let directory = self.root.directory(access);
        let at = directory.segment(hash);
        if at.chained || !at.is_sparse() {
            return false;
        }
        let Some(copy) = gather([(at.segment, |home| home)]) else { return false };
        // SAFETY: [table-028] I-LOCK: only `Locked` calls, and the directory is this table's.
        unsafe { directory.replace(hash, copy) };
        true
    }

    fn move_entries(&self, view: &View<'_>, left: &mut Vec<Moved>) {
        let at = view.segment();
        for segment in at.chain() {
            for (home, place, word) in segment.places() {
                let entry = entry_of(word, at).filter(EntryRef::is_sparse);
                let Some(entry) = entry else { continue };
                // SAFETY: [table-029] I-OBJECT: the old entry becomes a `Moved` below.
                let new = unsafe { NewEntry::moved(entry, entry.key(), entry.deadline()) };
                new.as_ref().set_used(entry.used());
                let control = &at.segment.bucket(home, 0).control;
                let reach = control.reach();
                control.write_begin();
                let bucket = segment.bucket(home, place.distance);
                bucket.store(place.slot, word.with_entry(new.publish()));
                control.write_end(reach);
                // SAFETY: [table-030] I-PIN: its only word was just overwritten, under the lock.
                left.push(unsafe { Unlinked::new(entry) }.moved());
            }
        }
    }
}

/// A segment with the words of others, whose homes become `home_of(home)`; `None` if there is no
/// room for one.
fn gather<const N: usize>(sources: [(&Segment, impl Fn(usize) -> usize); N]) -> Option<Grown> {
    let grown = Grown { segment: NewSegment::new(), chained: false };
    let segment = &*grown.segment;
    let mut min_deadline = NEVER;
    for (source, home_of) in sources {
        for (home, place, word) in source.places() {
            let visited = source.bucket(home, place.distance).control.visited(place.slot);
            let home = home_of(home);
            let place = segment.vacancy(home)?;
            segment.adopt(home, place, word, visited);
            let control = &segment.bucket(home, 0).control;
            if place.distance > usize::from(control.reach()) {
                control.write_begin();
                control.write_end(place.distance as u8);
            }
        }
        for home in (0..BUCKETS).filter(|home| source.due(*home) != NEVER) {
            segment.note_deadline(home_of(home), source.due(home));
        }
        min_deadline = min_deadline.min(source.min_deadline());
    }
    segment.set_min_deadline(min_deadline);
    Some(grown)
}
