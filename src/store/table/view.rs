#![allow(unsafe_code)]
//! Walking through a table in hash order, segment by segment and home by home.

use super::*;
use crate::store::segment::{BUCKET_BITS, BUCKETS};

/// One segment (with its chain) of a table.
pub struct View<'a> {
    at: SegmentRef<'a>,
    start: u64,
}

impl<'a> View<'a> {
    /// The segment that `hash` falls into.
    pub(super) fn of(table: &Table, access: Access<'a>, hash: u64) -> View<'a> {
        let at = table.root.directory(access).segment(hash);
        View { at, start: hash & !span_mask(at.depth) }
    }

    /// The segment itself.
    pub(super) fn segment(&self) -> SegmentRef<'a> {
        self.at
    }

    /// The smallest hash that falls into it.
    pub(super) fn start(&self) -> u64 {
        self.start
    }

    /// Where the next segment starts; `None` behind the last one.
    pub fn next(&self) -> Option<u64> {
        (self.start | span_mask(self.at.depth)).checked_add(1)
    }

    /// Entries in it.
    pub fn live(&self) -> usize {
        self.at.chain().map(Segment::live).sum()
    }

    /// All entries.
    pub fn all(&self) -> impl Iterator<Item = EntryRef<'a>> {
        let at = self.at;
        at.chain().flat_map(Segment::all).filter_map(move |word| entry_of(word, at))
    }

    /// The entries whose home is `home`.
    pub fn homed(&self, home: usize) -> impl Iterator<Item = EntryRef<'a>> {
        let at = self.at;
        let main = at.segment.homed(home, at.segment.bucket(home, 0).control.reach());
        let chain = at.chain().skip(1).flat_map(move |segment| segment.homed(home, REACH_MAX));
        main.chain(chain).filter_map(move |(_, word)| entry_of(word, at))
    }

    /// Asks for the entries whose home is `home`.
    pub fn prefetch(&self, home: usize) {
        self.homed(home).for_each(|entry| prefetch_read(entry.as_ptr().as_ptr()));
    }

    /// Asks for all entries.
    pub fn prefetch_all(&self) {
        self.all().for_each(|entry| prefetch_read(entry.as_ptr().as_ptr()));
    }

    /// A lower bound of its deadlines.
    pub fn min_deadline(&self) -> u64 {
        self.at.segment.min_deadline()
    }

    /// Sets the lower bound of its deadlines.
    pub fn set_min_deadline(&self, deadline: u64) {
        self.at.segment.set_min_deadline(deadline);
    }

    /// A lower bound of the deadlines of the entries of `home` and of those that share the bound.
    pub fn due(&self, home: usize) -> u64 {
        self.at.segment.due(home)
    }

    /// Sets that lower bound.
    pub fn set_due(&self, home: usize, deadline: u64) {
        self.at.segment.set_due(home, deadline);
    }
}

/// The hash bits that differ within a segment of `depth`.
fn span_mask(depth: u32) -> u64 {
    u64::MAX >> depth
}

/// What one step of a walk did.
pub struct Step {
    /// Where the next step starts, `None` at the end of the table.
    pub next: Option<u64>,
    /// Entries that were visited.
    pub seen: usize,
}

impl<S> Locked<'_, S> {
    /// The segment of `hash`, to be used as long as the pin lives.
    pub fn view<'p>(&self, pin: &'p Pin, db: u8, hash: u64) -> Option<View<'p>> {
        let access = Access::pinned(pin);
        Some(View::of(self.tables.table(access, db)?, access, hash))
    }

    /// Visits the entries of the home that `hash` falls into, from `hash` on: where segments were
    /// joined, it may lie within its home. Skips a segment without any.
    pub fn visit_home(
        &self,
        db: u8,
        hash: u64,
        visit: &mut dyn FnMut(EntryRef<'_>, Option<&Object>),
    ) -> Option<Step> {
        let access = self.access();
        let view = View::of(self.tables.table(access, db)?, access, hash);
        if view.live() == 0 {
            return Some(Step { next: view.next(), seen: 0 });
        }
        let home = home_of(hash, view.at.depth);
        view.prefetch((home + 1) % BUCKETS);
        let mask = span_mask(view.at.depth + BUCKET_BITS);
        let is_behind = |entry: EntryRef<'_>| {
            hash & mask != 0 && self.tables.writer.hasher.key(entry.key()).hash < hash
        };
        let mut seen = 0;
        for entry in view.homed(home).filter(|entry| !is_behind(*entry)) {
            seen += 1;
            // SAFETY: [table-026] I-OBJECT: the lock is held, and changes need `&mut self`.
            visit(entry, unsafe { entry.object() });
        }
        let next = (hash | mask).checked_add(1);
        Some(Step { next, seen })
    }

    /// The entry of that rank in hash order of segments; `None` if there are not as many.
    pub fn nth(&self, db: u8, rank: u64) -> Option<EntryRef<'_>> {
        let access = self.access();
        let table = self.tables.table(access, db)?;
        let mut rank = rank as usize;
        let mut next = Some(0);
        while let Some(start) = next {
            let view = View::of(table, access, start);
            let live = view.live();
            if rank < live {
                return view.all().nth(rank);
            }
            rank -= live;
            next = view.next();
        }
        None
    }
}

/// Homes of a segment.
pub const HOMES: usize = BUCKETS;
