#![allow(unsafe_code)]
//! One shard's tables: an extendible directory over segments of 64-byte buckets for each numbered
//! database, read without a lock, changed by the holder of the shard's lock.
//!
//! ```text
//!   readers:  Tables.posts[db] ------------> directory --> segment --> bucket --> entry
//!   writers:  Tables.slots[db] --> Table ----^
//! ```
//!
//! A hash is used from the top: the directory takes as many bits as the segment is deep, the next
//! six name the home bucket. So (directory prefix, home bucket) runs in pure hash order, and a
//! split sends the keys of old home `i` to homes `2i` and `2i + 1` of one of two new segments.
//!
//! **Reads.** A hit needs no validation: the entry was the key's when its slot was loaded. A miss
//! validates the home's control word, the version of its keys. A reader that is still in a segment
//! that was split, or in a table that was flushed, sees it as it was at that moment, which lies
//! within its call.
//!
//! **Growth.** A full neighbourhood (home and three more) splits its segment into two. The
//! directory doubles when a segment is as deep as it. Where splitting cannot help (equal hashes,
//! or a directory that would outgrow its segments) the segment gets an overflow chain. Two halves
//! that have become thin are joined again: see `compact`.
//!
//! Invariants:
//! - I-LOCK: slots, segments, directories and counts are changed only through [`Locked`];
//! - I-PIN: what a reader can reach is unlinked first and retired then.
//!
//! Deliberately absent: what a command means, clocks, watchers.

mod change;
mod compact;
mod flushed;
mod hand;
mod read;
mod view;

use super::entry::{EntryRef, Moved, NewEntry, Unlinked};
use super::hash::KeyHasher;
use super::objects::Object;
use super::segment::{Bucket, NEVER, Place, Segment, Word, home_of, mark};
use super::slab::{Access, Directory, Root, SEGMENT_BYTES, SegmentRef, Signpost};
use crate::limits::{ACCOUNT_CHUNK_BYTES, BUCKET_SLOTS, DATABASES};
use crate::sync::exclusive::ExclusiveSeq;
use crate::sync::reclaim::Pin;
use crate::sync::seqlock::{ControlWord, REACH_MAX};
use crate::sys::prefetch_read;
use crossbeam_utils::CachePadded;
use flushed::Flushed;
use std::ptr::null_mut;
use std::sync::atomic::Ordering::{Acquire, Relaxed, Release};
use std::sync::atomic::{AtomicI64, AtomicPtr, AtomicU64};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

pub use hand::{Met, fingerprint};
pub use read::{Hint, Note};
pub use view::{HOMES, View};

/// The keys of one database in one shard.
struct Table {
    root: Root,
    counts: CachePadded<Counts>,
}

/// Written only by the holder of the lock, so never by a read-modify-write.
struct Counts {
    keys: AtomicU64,
    with_deadline: AtomicU64,
    min_deadline: AtomicU64,
    segments: AtomicU64,
    /// Keys when it was last looked through for segments to join; [`NEVER`] since a split.
    looked_through: AtomicU64,
}

fn add(counter: &AtomicU64, change: i64) {
    if change != 0 {
        counter.store(counter.load(Relaxed).wrapping_add_signed(change), Relaxed);
    }
}

/// Where an entry was found.
struct Spot<'a> {
    entry: EntryRef<'a>,
    segment: &'a Segment,
    place: Place,
    word: Word,
}

/// The home of a hash: a bucket in a segment.
#[derive(Clone, Copy)]
struct Home<'a> {
    at: SegmentRef<'a>,
    index: usize,
}

/// The entry of a word that was loaded under an access.
#[inline(always)]
fn entry_of<'a>(word: Word, _access: SegmentRef<'a>) -> Option<EntryRef<'a>> {
    // SAFETY: [table-001] I-PIN: the word led there under the access that keeps the segment, and
    // entries are retired after their word was overwritten, or after their table was unlinked.
    word.entry().map(|entry| unsafe { EntryRef::from_raw(entry) })
}

impl<'a> Home<'a> {
    #[inline(always)]
    fn of(directory: Directory<'a>, hash: u64) -> Home<'a> {
        let at = directory.segment(hash);
        Home { at, index: home_of(hash, at.depth) }
    }

    #[inline(always)]
    fn bucket(&self) -> &'a Bucket {
        self.at.segment.bucket(self.index, 0)
    }

    #[inline(always)]
    fn control(&self) -> &'a ControlWord {
        &self.bucket().control
    }

    #[inline(always)]
    fn find(&self, reach: u8, hash: u64, key: &[u8]) -> Option<Spot<'a>> {
        let spot = self.find_in(self.at.segment, reach, hash, key);
        if spot.is_none() && self.at.chained { self.find_in_chain(hash, key) } else { spot }
    }

    #[cold]
    fn find_in_chain(&self, hash: u64, key: &[u8]) -> Option<Spot<'a>> {
        let mut chain = self.at.chain().skip(1);
        chain.find_map(|segment| self.find_in(segment, REACH_MAX, hash, key))
    }

    #[inline(always)]
    fn find_in(&self, segment: &'a Segment, reach: u8, hash: u64, key: &[u8]) -> Option<Spot<'a>> {
        for distance in 0..=usize::from(reach) {
            let bucket = segment.bucket(self.index, distance);
            let mark = mark(hash, distance);
            for slot in 0..BUCKET_SLOTS {
                let word = bucket.load(slot);
                if word.mark() != mark {
                    continue;
                }
                let Some(entry) = entry_of(word, self.at) else { continue };
                if entry.has_key(key) {
                    return Some(Spot { entry, segment, place: Place { distance, slot }, word });
                }
            }
        }
        None
    }
}

/// An entry with its home.
struct Found<'a> {
    home: Home<'a>,
    spot: Spot<'a>,
}

impl<'a> Found<'a> {
    /// The control word of the bucket that the entry lies in.
    fn control(&self) -> &'a ControlWord {
        &self.spot.segment.bucket(self.home.index, self.spot.place.distance).control
    }
}

/// Marks an entry of `home` as used; writes nothing if it is marked already.
#[inline(always)]
fn mark_used(home: usize, spot: &Spot<'_>) {
    let bucket = spot.segment.bucket(home, spot.place.distance);
    bucket.control.set_visited(spot.place.slot);
}

impl Table {
    fn new() -> Table {
        let counts = Counts {
            keys: AtomicU64::new(0),
            with_deadline: AtomicU64::new(0),
            min_deadline: AtomicU64::new(NEVER),
            segments: AtomicU64::new(1),
            looked_through: AtomicU64::new(NEVER),
        };
        Table { root: Root::new(), counts: CachePadded::new(counts) }
    }

    #[inline(always)]
    fn home<'a>(&self, access: Access<'a>, hash: u64) -> Home<'a> {
        Home::of(self.root.directory(access), hash)
    }

    /// Bytes of everything but the entries.
    fn frame_bytes(&self, access: Access<'_>) -> usize {
        let segments = self.counts.segments.load(Relaxed) as usize;
        size_of::<Table>() + self.root.directory(access).bytes() + segments * SEGMENT_BYTES
    }
}

/// The tables of one shard, and its lock with the state `S` that it guards.
#[repr(C)]
pub struct Tables<S> {
    // What a reader needs comes first, in one line: written only by multi-key writers and when
    // what leads to entries changes.
    sequence: ExclusiveSeq,
    posts: [Signpost; DATABASES],
    slots: [AtomicPtr<Table>; DATABASES],
    writer: CachePadded<WriterSide<S>>,
}

/// What the shards of a store count together. All Relaxed: numbers that stand alone.
#[derive(Default)]
pub struct Totals {
    /// Bytes, give or take [`ACCOUNT_CHUNK_BYTES`] for each shard.
    pub bytes: AtomicI64,
    /// Tables that were flushed and are not retired yet.
    pub flushed: AtomicU64,
}

struct WriterSide<S> {
    inner: Mutex<Inner<S>>,
    bytes: AtomicU64,
    /// What of `bytes` is not in `totals` yet; written by the holder of the lock.
    unreported: AtomicI64,
    totals: Arc<Totals>,
    min_deadline: AtomicU64,
    hasher: Arc<KeyHasher>,
}

struct Inner<S> {
    state: S,
    flushed: Vec<Flushed>,
}

impl<S> Tables<S> {
    /// No table at all.
    pub fn new(hasher: Arc<KeyHasher>, state: S, totals: Arc<Totals>) -> Tables<S> {
        let writer = WriterSide {
            inner: Mutex::new(Inner { state, flushed: Vec::new() }),
            bytes: AtomicU64::new(0),
            unreported: AtomicI64::new(0),
            totals,
            min_deadline: AtomicU64::new(NEVER),
            hasher,
        };
        Tables {
            sequence: ExclusiveSeq::new(),
            posts: std::array::from_fn(|_| Signpost::new()),
            slots: std::array::from_fn(|_| AtomicPtr::new(null_mut())),
            writer: CachePadded::new(writer),
        }
    }

    /// The sequence that writers of several keys raise, and that counts moves.
    #[inline(always)]
    pub fn sequence(&self) -> &ExclusiveSeq {
        &self.sequence
    }

    #[inline(always)]
    fn table<'a>(&self, _access: Access<'a>, db: u8) -> Option<&'a Table> {
        // Acquire: pairs with the Release in `Locked::table_or_new`.
        let table = self.slots[usize::from(db)].load(Acquire);
        // SAFETY: [table-002] I-PIN: null or a table that is retired after it was unlinked.
        unsafe { table.as_ref() }
    }

    /// Whether the database has a table here. A hint.
    pub fn has_table(&self, db: u8) -> bool {
        !self.slots[usize::from(db)].load(Relaxed).is_null()
    }

    /// Keys of a database, and how many of them have a deadline.
    pub fn counts(&self, pin: &Pin, db: u8) -> (u64, u64) {
        self.table(Access::pinned(pin), db).map_or((0, 0), |table| {
            (table.counts.keys.load(Relaxed), table.counts.with_deadline.load(Relaxed))
        })
    }

    /// Bytes of entries, objects and tables, those that were flushed but not yet retired too.
    pub fn bytes(&self) -> u64 {
        self.writer.bytes.load(Relaxed)
    }

    /// A lower bound of all deadlines; 0 while something flushed waits to be retired.
    #[inline]
    pub fn min_deadline(&self) -> u64 {
        self.writer.min_deadline.load(Relaxed)
    }

    /// Takes the lock.
    #[inline]
    pub fn lock(&self) -> Locked<'_, S> {
        // A holder that panicked left its shard whole: nothing panics between two stores.
        let inner = self.writer.inner.lock().unwrap_or_else(PoisonError::into_inner);
        Locked { tables: self, inner, hint: None }
    }
}

impl<S> Drop for Tables<S> {
    fn drop(&mut self) {
        let mut locked = self.lock();
        let unlinked: Vec<Flushed> = (0..DATABASES as u8).filter_map(|db| locked.cut(db)).collect();
        let flushed = std::mem::take(&mut locked.inner.flushed);
        for table in unlinked.into_iter().chain(flushed) {
            // SAFETY: [table-003] I-LOCK: `&mut self`: there is no reader and no writer.
            unsafe { table.free_now() };
        }
    }
}

/// The shard's lock, held: the right to change its tables.
pub struct Locked<'s, S> {
    tables: &'s Tables<S>,
    inner: MutexGuard<'s, Inner<S>>,
    hint: Option<&'s Hint<'s>>,
}

impl<'s, S> Locked<'s, S> {
    /// What the lock guards beside the tables.
    pub fn state(&self) -> &S {
        &self.inner.state
    }

    /// What the lock guards beside the tables.
    pub fn state_mut(&mut self) -> &mut S {
        &mut self.inner.state
    }

    #[inline(always)]
    fn access(&self) -> Access<'_> {
        // SAFETY: [table-004] I-LOCK: nothing is retired while `self` is borrowed.
        unsafe { Access::locked() }
    }

    /// Takes a hint over the way to a key that will be looked up.
    pub fn set_hint(&mut self, hint: &'s Hint<'s>) {
        self.hint = Some(hint);
    }

    /// The home of `hash`.
    #[inline(always)]
    fn home<'a>(&self, access: Access<'a>, db: u8, hash: u64) -> Option<Home<'a>>
    where
        's: 'a,
    {
        if let Some(hint) = self.hint
            && let Some(home) = hint.home(&self.tables.sequence, db, hash)
        {
            return Some(home);
        }
        self.tables.home(access, db, hash)
    }

    #[inline(always)]
    fn spot<'a>(&self, access: Access<'a>, db: u8, hash: u64, key: &[u8]) -> Option<Found<'a>>
    where
        's: 'a,
    {
        let home = self.home(access, db, hash)?;
        let spot = home.find(home.control().reach(), hash, key)?;
        Some(Found { home, spot })
    }

    /// The entry of `key`.
    #[inline]
    pub fn find(&self, db: u8, hash: u64, key: &[u8]) -> Option<EntryRef<'_>> {
        self.spot(self.access(), db, hash, key).map(|found| found.spot.entry)
    }

    /// Whether the entry of `key` bears a mark of use.
    pub fn is_marked(&self, db: u8, hash: u64, key: &[u8]) -> Option<bool> {
        let found = self.spot(self.access(), db, hash, key)?;
        Some(found.control().visited(found.spot.place.slot))
    }

    /// The entry of `key`, which bears no mark of use any more.
    pub fn find_unmarked(&self, db: u8, hash: u64, key: &[u8]) -> Option<EntryRef<'_>> {
        let found = self.spot(self.access(), db, hash, key)?;
        found.control().clear_visited(found.spot.place.slot);
        Some(found.spot.entry)
    }

    /// The entry of `key`, which is marked as used.
    #[inline]
    pub fn find_to_use(&self, db: u8, hash: u64, key: &[u8]) -> Option<EntryRef<'_>> {
        let found = self.spot(self.access(), db, hash, key)?;
        mark_used(found.home.index, &found.spot);
        Some(found.spot.entry)
    }

    /// The entry of `key`, to be used after it was replaced or the lock released.
    #[inline]
    pub fn find_pinned<'p>(
        &self,
        pin: &'p Pin,
        db: u8,
        hash: u64,
        key: &[u8],
    ) -> Option<EntryRef<'p>> {
        let home = self.tables.home(Access::pinned(pin), db, hash)?;
        home.find(home.control().reach(), hash, key).map(|spot| spot.entry)
    }

    /// The collection of `key`.
    pub fn object(&self, db: u8, hash: u64, key: &[u8]) -> Option<&Object> {
        let entry = self.find(db, hash, key)?;
        // SAFETY: [table-005] I-OBJECT: the lock is held, and changes need `&mut self`.
        unsafe { entry.object() }
    }

    /// Counts a change of the memory held. A chunk of such changes costs one write to a line that
    /// other shards write too.
    #[inline]
    pub fn account(&self, change: i64) {
        if change == 0 {
            return;
        }
        let writer = &self.tables.writer;
        add(&writer.bytes, change);
        let unreported = writer.unreported.load(Relaxed) + change;
        let is_chunk = unreported.unsigned_abs() >= ACCOUNT_CHUNK_BYTES;
        if is_chunk {
            writer.totals.bytes.fetch_add(unreported, Relaxed);
        }
        writer.unreported.store(if is_chunk { 0 } else { unreported }, Relaxed);
    }

    /// Keys of a database here.
    pub fn keys(&self, db: u8) -> u64 {
        let table = self.tables.table(self.access(), db);
        table.map_or(0, |table| table.counts.keys.load(Relaxed))
    }
}
