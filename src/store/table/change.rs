#![allow(unsafe_code)]
//! Changes to a table, and its growth.
//!
//! The order of every change: what is new is complete before it is published (Release), what is
//! old is unreachable before it is retired. A change of a key's slot is bracketed by the version of
//! its home, so that readers of absence and of several keys notice it.

use super::*;
use crate::limits::{DIRECTORY_WORDS_PER_SEGMENT, SEGMENT_DEPTH_MAX};
use crate::store::slab::{Grown, NewSegment, append};
use std::ptr::NonNull;

impl<S> Locked<'_, S> {
    /// Access for a change. What is retired during it is not looked at afterwards.
    #[inline(always)]
    pub(super) fn access_to_change<'a>(&mut self) -> Access<'a> {
        // SAFETY: [table-006] I-LOCK: the lock is held; the functions below unlink and retire last.
        unsafe { Access::locked() }
    }

    fn table_or_new<'a>(&mut self, access: Access<'a>, db: u8) -> &'a Table {
        if let Some(table) = self.tables.table(access, db) {
            return table;
        }
        let table = Box::new(Table::new());
        self.account(table.frame_bytes(access) as i64);
        self.tables.posts[usize::from(db)].lead_to(&table.root);
        // Release: pairs with the Acquire in `Tables::table`.
        self.tables.slots[usize::from(db)].store(Box::into_raw(table), Release);
        self.tables.table(access, db).expect("it was stored in the line above")
    }

    /// Publishes an entry; the one of the same key that it replaces.
    #[inline]
    pub fn put(&mut self, db: u8, hash: u64, entry: NewEntry) -> Option<Unlinked> {
        let access = self.access_to_change();
        let table = self.table_or_new(access, db);
        let bytes = entry.total_bytes() as i64;
        let deadline = entry.as_ref().deadline();
        let (old, growth) = match self.spot(access, db, hash, entry.as_ref().key()) {
            Some(found) => {
                mark_used(found.home.index, &found.spot);
                let old = table.replace(&found, entry);
                let growth = -(old.total_bytes() as i64);
                (Some(old), growth)
            }
            None => (None, table.insert(access, hash, entry, &self.growth(db))),
        };
        self.account(bytes + growth);
        self.note_deadline(table, access, hash, deadline);
        old
    }

    fn growth(&self, db: u8) -> Growth<'_> {
        let Tables { sequence, posts, writer, .. } = self.tables;
        Growth { hasher: &writer.hasher, post: &posts[usize::from(db)], sequence }
    }

    /// Keeps the lower bounds of bucket, segment, table and shard.
    fn note_deadline(&self, table: &Table, access: Access<'_>, hash: u64, deadline: Option<u64>) {
        let Some(deadline) = deadline else { return };
        let home = table.home(access, hash);
        home.at.segment.note_deadline(home.index, deadline);
        for bound in [&table.counts.min_deadline, &self.tables.writer.min_deadline] {
            if deadline < bound.load(Relaxed) {
                bound.store(deadline, Relaxed);
            }
        }
    }

    /// Removes `key` from its table.
    pub fn unlink(&mut self, db: u8, hash: u64, key: &[u8]) -> Option<Unlinked> {
        let access = self.access_to_change();
        let table = self.tables.table(access, db)?;
        let old = table.remove(&self.spot(access, db, hash, key)?);
        self.account(-(old.total_bytes() as i64));
        let counts = &table.counts;
        if counts.keys.load(Relaxed) == 0 && counts.segments.load(Relaxed) > 1 {
            self.flush(db);
        }
        Some(old)
    }

    /// Replaces the entry of `key` by one with another deadline; what is left of the old one.
    pub fn set_deadline(
        &mut self,
        db: u8,
        hash: u64,
        key: &[u8],
        deadline: Option<u64>,
    ) -> Option<Moved> {
        let access = self.access_to_change();
        let table = self.tables.table(access, db)?;
        let found = self.spot(access, db, hash, key)?;
        // SAFETY: [table-007] I-OBJECT: the old entry becomes a `Moved` below.
        let moved = unsafe { NewEntry::moved(found.spot.entry, key, deadline) };
        moved.as_ref().set_used(found.spot.entry.used());
        let new_bytes = moved.as_ref().alloc_bytes() as i64;
        let old = table.replace(&found, moved);
        self.account(new_bytes - old.as_ref().alloc_bytes() as i64);
        self.note_deadline(table, access, hash, deadline);
        Some(old.moved())
    }

    /// Changes the collection of `key` in place.
    pub fn change_object<R>(
        &mut self,
        db: u8,
        hash: u64,
        key: &[u8],
        change: impl FnOnce(&mut Object) -> R,
    ) -> Option<R> {
        let entry = self.find(db, hash, key)?;
        // SAFETY: [table-008] I-OBJECT: the lock is held, by `&mut self` exclusively.
        let object = unsafe { entry.object_mut() }?;
        let before = object.heap_bytes() as i64;
        let result = change(object);
        let after = object.heap_bytes() as i64;
        self.account(after - before);
        Some(result)
    }

    /// Unlinks a database's table; entries and frame are retired by and by.
    pub fn flush(&mut self, db: u8) {
        if let Some(flushed) = self.cut(db) {
            self.inner.flushed.push(flushed);
            self.tables.writer.totals.flushed.fetch_add(1, Relaxed);
            // What waits to be retired is always due.
            self.tables.writer.min_deadline.store(0, Relaxed);
        }
    }

    pub(super) fn cut(&mut self, db: u8) -> Option<Flushed> {
        let slot = &self.tables.slots[usize::from(db)];
        let table = NonNull::new(slot.load(Relaxed))?;
        self.tables.posts[usize::from(db)].take_down();
        self.tables.sequence.moved();
        slot.store(null_mut(), Release);
        Some(Flushed::new(table))
    }

    /// Exchanges the tables of two databases. Readers must be kept away by the exclusive sequence.
    pub fn swap(&mut self, first: u8, second: u8) {
        let slots = [first, second].map(|db| &self.tables.slots[usize::from(db)]);
        let [one, two] = slots.map(|slot| slot.load(Relaxed));
        // Release: pairs with the Acquire in `Tables::table`.
        slots[0].store(two, Release);
        slots[1].store(one, Release);
        let access = self.access_to_change();
        for db in [first, second] {
            let post = &self.tables.posts[usize::from(db)];
            match self.tables.table(access, db) {
                Some(table) => post.lead_to(&table.root),
                None => post.take_down(),
            }
        }
        self.tables.sequence.moved();
    }

    /// Retires what was flushed, at the price of 1 for each entry and slot line, until `budget` is
    /// used up. True when something is left.
    pub fn bury(&mut self, budget: &mut usize) -> bool {
        while let Some(mut table) = self.inner.flushed.pop() {
            let (done, bytes) = table.retire_some(budget);
            self.account(-(bytes as i64));
            if !done {
                self.inner.flushed.push(table);
                return true;
            }
            self.tables.writer.totals.flushed.fetch_sub(1, Relaxed);
        }
        false
    }

    /// Sets the lower bound of a table's deadlines.
    pub fn set_table_due(&mut self, db: u8, deadline: u64) {
        if let Some(table) = self.tables.table(self.access(), db) {
            table.counts.min_deadline.store(deadline, Relaxed);
        }
    }

    /// The lower bound of a table's deadlines.
    pub fn table_due(&self, db: u8) -> u64 {
        let table = self.tables.table(self.access(), db);
        table.map_or(NEVER, |table| table.counts.min_deadline.load(Relaxed))
    }

    /// Works out the shard's lower bound anew from those of its tables.
    pub fn settle_min_deadline(&mut self) {
        let due = (0..DATABASES as u8).map(|db| self.table_due(db)).min().unwrap_or(NEVER);
        let due = if self.inner.flushed.is_empty() { due } else { 0 };
        self.tables.writer.min_deadline.store(due, Relaxed);
    }
}

impl Table {
    /// Puts `entry` in the place of one that was found.
    fn replace(&self, found: &Found<'_>, entry: NewEntry) -> Unlinked {
        let Found { home, spot } = found;
        let deadlines = deadline_count(entry.as_ref()) - deadline_count(spot.entry);
        let bucket = spot.segment.bucket(home.index, spot.place.distance);
        let reach = home.control().reach();
        home.control().write_begin();
        bucket.store(spot.place.slot, spot.word.with_entry(entry.publish()));
        home.control().write_end(reach);
        add(&self.counts.with_deadline, deadlines);
        // SAFETY: [table-009] I-PIN: its only word was just overwritten, under the lock.
        unsafe { Unlinked::new(spot.entry) }
    }

    fn remove(&self, found: &Found<'_>) -> Unlinked {
        let Found { home, spot } = found;
        let mut reach = home.control().reach();
        home.control().write_begin();
        spot.segment.vacate(home.index, spot.place);
        if spot.place.distance == usize::from(reach) {
            reach = home.at.segment.settled_reach(home.index, reach);
        }
        home.control().write_end(reach);
        add(&self.counts.keys, -1);
        add(&self.counts.with_deadline, -deadline_count(spot.entry));
        // SAFETY: [table-010] I-PIN: its only word was just emptied, under the lock.
        unsafe { Unlinked::new(spot.entry) }
    }

    /// Inserts an entry whose key is absent; the growth of the frame in bytes.
    fn insert(&self, access: Access<'_>, hash: u64, entry: NewEntry, by: &Growth<'_>) -> i64 {
        let mut growth = 0;
        let (home, segment, place) = loop {
            let home = self.home(access, hash);
            if let Some((segment, place)) = vacancy(home.at, home.index) {
                break (home, segment, place);
            }
            let before = self.frame_bytes(access) as i64;
            self.grow(access, hash, by);
            by.sequence.moved();
            growth += self.frame_bytes(access) as i64 - before;
        };
        add(&self.counts.keys, 1);
        add(&self.counts.with_deadline, deadline_count(entry.as_ref()));
        home.control().write_begin();
        segment.fill(home.index, place, entry.publish(), hash);
        let reach = home.control().reach().max(place.distance as u8);
        home.control().write_end(reach);
        growth
    }

    /// Makes room where `hash` belongs: splits the segment or, where that is not allowed, gives it
    /// a chain.
    fn grow(&self, access: Access<'_>, hash: u64, by: &Growth<'_>) {
        let directory = self.root.directory(access);
        let at = directory.segment(hash);
        let segments = self.counts.segments.load(Relaxed);
        let doubled = 2u64 << directory.bits();
        let may_double = doubled <= segments.saturating_mul(DIRECTORY_WORDS_PER_SEGMENT);
        if at.depth < directory.bits() {
            self.split(directory, at, hash, by.hasher);
        } else if at.depth < SEGMENT_DEPTH_MAX && may_double {
            // SAFETY: [table-011] I-LOCK: only `Locked` calls, through `insert`.
            unsafe { self.root.double(directory, by.post) };
            self.split(self.root.directory(access), at, hash, by.hasher);
        } else {
            append(at.chain().last().unwrap_or(at.segment), NewSegment::new());
            directory.mark_chained(hash);
            add(&self.counts.segments, 1);
        }
    }

    /// Replaces a segment, with its chain, by two that are one bit deeper.
    fn split(&self, directory: Directory<'_>, at: SegmentRef<'_>, hash: u64, hasher: &KeyHasher) {
        let words = || at.chain().flat_map(Segment::all);
        for entry in words().filter_map(Word::entry) {
            prefetch_read(entry.as_ptr());
        }
        let mut halves = [0, 1].map(|_| Grown { segment: NewSegment::new(), chained: false });
        let mut grown = 2;
        for segment in at.chain() {
            for (home, place, word) in segment.places() {
                let Some(entry) = entry_of(word, at) else { continue };
                let visited = segment.bucket(home, place.distance).control.visited(place.slot);
                let hash = hasher.key(entry.key()).hash;
                let half = &mut halves[(hash >> (63 - at.depth)) as usize & 1];
                grown += half.take_in(home_of(hash, at.depth + 1), entry, word, visited);
            }
        }
        let [low, high] = halves;
        // SAFETY: [table-012] I-LOCK: only `Locked` calls, and the directory is this table's.
        let retired = unsafe { directory.split(hash, low, high) };
        add(&self.counts.segments, grown - retired as i64);
        self.counts.looked_through.store(NEVER, Relaxed);
    }
}

/// What a table grows with, beside itself.
struct Growth<'a> {
    hasher: &'a KeyHasher,
    /// Where readers are told of a new directory.
    post: &'a Signpost,
    /// Where they are told that the way has changed.
    sequence: &'a ExclusiveSeq,
}

fn deadline_count(entry: EntryRef<'_>) -> i64 {
    i64::from(entry.deadline().is_some())
}

/// The first empty place for a key of `home`, in the segment or its chain.
fn vacancy(at: SegmentRef<'_>, home: usize) -> Option<(&Segment, Place)> {
    at.chain().find_map(|segment| segment.vacancy(home).map(|place| (segment, place)))
}

impl Grown {
    fn as_ref(&self) -> SegmentRef<'_> {
        SegmentRef { segment: &self.segment, depth: 0, chained: self.chained }
    }

    /// Takes an entry over from the segment that is split; how many segments that added.
    fn take_in(&mut self, home: usize, entry: EntryRef<'_>, word: Word, visited: bool) -> i64 {
        let mut added = 0;
        if vacancy(self.as_ref(), home).is_none() {
            append(self.as_ref().chain().last().unwrap_or(&self.segment), NewSegment::new());
            self.chained = true;
            added = 1;
        }
        let at = self.as_ref();
        let Some((segment, place)) = vacancy(at, home) else { return added };
        let control = &at.segment.bucket(home, 0).control;
        segment.adopt(home, place, word, visited);
        // Nobody reads yet; the version is moved only because the reach is set with it.
        if place.distance > usize::from(control.reach()) {
            control.write_begin();
            control.write_end(place.distance as u8);
        }
        if let Some(deadline) = entry.deadline() {
            at.segment.note_deadline(home, deadline);
        }
        added
    }
}
