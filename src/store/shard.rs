//! The store: 512 shards, and what can be done without a lock.

use super::compact::Rounds;
use super::entry::EntryRef;
use super::evict::Sketch;
use super::hash::{Key, KeyHasher};
use super::held::Held;
use super::shard_set::ShardSet;
use super::slab::{self, Usage};
use super::table::{Hint, Note, Tables, Totals};
use super::watch::Watchers;
use crate::limits::{BATCH_COMMANDS, DATABASES, READ_MANY_TRIES, READ_TRIES, SHARDS};
use crate::sync::exclusive::ExclusiveSeq;
use crate::sync::reclaim::{self, Pin};
use crossbeam_utils::CachePadded;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// What a shard's lock guards beside its tables.
#[derive(Default)]
pub struct ShardState {
    /// The newest time (ms) by which a key here was judged; it never goes back.
    pub clock: u64,
    /// Who watches keys of this shard.
    pub watchers: Watchers,
    /// Where eviction goes on.
    pub hand: Hand,
    /// Where the sweep over times of use goes on.
    pub sweep: Hand,
    /// How often keys were in use, while keys are evicted by that.
    pub sketch: Option<Sketch>,
}

/// A home of the shard, as the database and the first hash that falls into it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Hand {
    /// The database.
    pub db: u8,
    /// The hash.
    pub at: u64,
}

impl Hand {
    /// The next home, if it starts at `next`; else the first one of the next database.
    pub fn behind(self, next: Option<u64>) -> Hand {
        match next {
            Some(at) => Hand { db: self.db, at },
            None => Hand { db: (self.db + 1) % DATABASES as u8, at: 0 },
        }
    }
}

/// One of 512 parts of the keyspace. The first line is all that a reader needs of it.
#[repr(C, align(128))]
pub struct Shard {
    tables: Tables<ShardState>,
    last_lsn: CachePadded<AtomicU64>,
    /// Planted mistake: readers do not look at the exclusive sequence.
    #[cfg(test)]
    ignores_exclusive: bool,
}

impl Shard {
    fn new(hasher: &Arc<KeyHasher>, totals: &Arc<Totals>) -> Shard {
        Shard {
            tables: Tables::new(Arc::clone(hasher), ShardState::default(), Arc::clone(totals)),
            last_lsn: CachePadded::new(AtomicU64::new(0)),
            #[cfg(test)]
            ignores_exclusive: false,
        }
    }

    /// The sequence that multi-key writers raise.
    #[inline(always)]
    pub fn exclusive(&self) -> &ExclusiveSeq {
        self.tables.sequence()
    }

    /// The sequence as a reader sees it; `None` while it is up.
    #[inline(always)]
    fn noted(&self) -> Option<u64> {
        #[cfg(test)]
        if self.ignores_exclusive {
            return Some(0);
        }
        self.exclusive().check()
    }

    /// Whether no multi-key writer came since the sequence was noted.
    #[inline(always)]
    fn is_unchanged(&self, seen: u64) -> bool {
        #[cfg(test)]
        if self.ignores_exclusive {
            return true;
        }
        self.exclusive().unchanged(seen)
    }

    /// The tables.
    #[inline(always)]
    pub fn tables(&self) -> &Tables<ShardState> {
        &self.tables
    }

    /// The position of the last record that changed the shard.
    pub fn last_lsn(&self) -> &AtomicU64 {
        &self.last_lsn
    }
}

/// The keyspace.
pub struct Store {
    shards: Box<[Shard; SHARDS]>,
    hasher: Arc<KeyHasher>,
    totals: Arc<Totals>,
    rounds: Rounds,
}

impl Store {
    /// An empty store whose hash is keyed by `seed`.
    pub fn new(seed: u64) -> Store {
        Store::with_hasher(KeyHasher::new(seed))
    }

    /// An empty store with a given hash.
    pub(super) fn with_hasher(hasher: KeyHasher) -> Store {
        let (hasher, totals) = (Arc::new(hasher), Arc::default());
        let shards: Box<[Shard]> = (0..SHARDS).map(|_| Shard::new(&hasher, &totals)).collect();
        let Ok(shards) = shards.try_into() else { unreachable!("{SHARDS} were made") };
        Store { shards, hasher, totals, rounds: Rounds::default() }
    }

    #[cfg(test)]
    pub(super) fn ignore_exclusive(&mut self) {
        self.shards.iter_mut().for_each(|shard| shard.ignores_exclusive = true);
    }

    /// Hashes a key.
    #[inline]
    pub fn key<'a>(&self, bytes: &'a [u8]) -> Key<'a> {
        self.hasher.key(bytes)
    }

    #[inline(always)]
    pub(super) fn shard(&self, shard: u16) -> &Shard {
        &self.shards[usize::from(shard) % SHARDS]
    }

    /// The rounds of compaction.
    pub(super) fn rounds(&self) -> &Rounds {
        &self.rounds
    }

    pub(super) fn shards(&self) -> &[Shard] {
        &*self.shards
    }

    /// The first of three steps of a lookup: finds the key's bucket and asks the CPU for it. Then
    /// [`Hint::approach`] asks for the entry, and [`get_hinted`](Store::get_hinted) gets it.
    #[inline]
    pub fn locate<'p>(&self, pin: &'p Pin, db: u8, key: &Key<'_>) -> Hint<'p> {
        self.shard(key.shard()).tables.locate(pin, db, key)
    }

    /// As [`get`](Store::get), by a hint that [`locate`](Store::locate) gave for the key.
    #[inline(always)]
    pub fn get_hinted<'p>(
        &self,
        pin: &'p Pin,
        db: u8,
        key: &Key<'_>,
        hint: &Hint<'p>,
    ) -> Option<EntryRef<'p>> {
        let tables = &self.shard(key.shard()).tables;
        match tables.read_hinted(hint, db, key.hash, key.bytes, true) {
            Some(found) => found,
            None => self.get(pin, db, key),
        }
    }

    /// Lock-free lookup; the entry may be past its deadline, which the caller judges. A
    /// use of the key.
    ///
    /// The exclusive sequence is looked at before (a client that saw one key of a transaction
    /// sees the others) and after (no state from the middle of a transaction is ever seen). So a
    /// thread that holds locks exclusively must not come here: it has [`Held::find`].
    #[inline]
    pub fn get<'p>(&self, pin: &'p Pin, db: u8, key: &Key<'_>) -> Option<EntryRef<'p>> {
        self.find(pin, db, key, true)
    }

    /// As [`get`](Store::get), but no use of the key.
    #[inline]
    pub fn peek<'p>(&self, pin: &'p Pin, db: u8, key: &Key<'_>) -> Option<EntryRef<'p>> {
        self.find(pin, db, key, false)
    }

    #[inline(always)]
    fn find<'p>(&self, pin: &'p Pin, db: u8, key: &Key<'_>, marks: bool) -> Option<EntryRef<'p>> {
        let shard = self.shard(key.shard());
        if let Some(seen) = shard.noted()
            && let Ok(found) = shard.tables.read(pin, db, key.hash, key.bytes, marks)
            && shard.is_unchanged(seen)
        {
            return found;
        }
        self.get_slowly(pin, db, key)
    }

    /// A writer was in the way: tries again, and at last takes the lock.
    #[cold]
    fn get_slowly<'p>(&self, pin: &'p Pin, db: u8, key: &Key<'_>) -> Option<EntryRef<'p>> {
        let shard = self.shard(key.shard());
        for _ in 0..READ_TRIES {
            let Some(seen) = shard.noted() else { break };
            let found = shard.tables.read(pin, db, key.hash, key.bytes, false);
            if let Ok(found) = found
                && shard.is_unchanged(seen)
            {
                return found;
            }
            std::hint::spin_loop();
        }
        shard.tables.lock().find_pinned(pin, db, key.hash, key.bytes)
    }

    /// Lookup of several keys as one moment saw them, appended to `out` in the order of `keys`.
    /// `marks`: whether this counts as a use of them.
    pub fn get_many<'p>(
        &self,
        pin: &'p Pin,
        db: u8,
        keys: &[Key<'_>],
        marks: bool,
        out: &mut Vec<Option<EntryRef<'p>>>,
    ) {
        if let [key] = keys {
            return out.push(self.find(pin, db, key, marks));
        }
        self.prefetch_many(pin, db, keys);
        let start = out.len();
        let mut notes = Vec::with_capacity(keys.len());
        for _ in 0..READ_MANY_TRIES {
            if self.read_many(pin, db, (keys, marks), &mut notes, out) {
                return;
            }
            notes.clear();
            out.truncate(start);
        }
        let mut shards = ShardSet::new();
        keys.iter().for_each(|key| shards.insert(key.shard()));
        let held = self.lock(&shards);
        out.extend(keys.iter().map(|key| held.find_pinned(pin, db, key)));
    }

    /// Asks the processor for the buckets of `keys`, then for their entries, so that the cache
    /// misses of what is done with them overlap.
    pub fn prefetch_many(&self, pin: &Pin, db: u8, keys: &[Key<'_>]) {
        for batch in keys.chunks(BATCH_COMMANDS) {
            let mut hints = [Hint::default(); BATCH_COMMANDS];
            for (hint, key) in hints.iter_mut().zip(batch) {
                *hint = self.locate(pin, db, key);
            }
            hints.iter_mut().for_each(Hint::approach);
        }
    }

    /// Notes and reads all, then asks whether all notes still hold; false if one does not. Between
    /// the last note and the first question nothing had changed: that is the moment.
    fn read_many<'p>(
        &self,
        pin: &'p Pin,
        db: u8,
        (keys, marks): (&[Key<'_>], bool),
        notes: &mut Vec<(u64, Note<'p>)>,
        out: &mut Vec<Option<EntryRef<'p>>>,
    ) -> bool {
        for key in keys {
            let shard = self.shard(key.shard());
            let Some(seen) = shard.noted() else { return false };
            let noted = shard.tables.read_noted(pin, db, key.hash, key.bytes, marks);
            let Ok((found, note)) = noted else { return false };
            out.push(found);
            notes.push((seen, note));
        }
        keys.iter().zip(notes).all(|(key, (seen, note))| {
            let shard = self.shard(key.shard());
            shard.tables.still(pin, db, key.hash, *note) && shard.is_unchanged(*seen)
        })
    }

    /// Takes the writer locks of `shards`, in ascending order.
    pub fn lock(&self, shards: &ShardSet) -> Held<'_> {
        Held::new(self, shards)
    }

    /// Takes one shard's writer lock.
    #[inline]
    pub fn lock_one(&self, shard: u16) -> Held<'_> {
        Held::one(self, shard)
    }

    /// Keys of a database, counted exactly (those past their deadline but not yet removed too).
    pub fn len(&self, db: u8) -> u64 {
        let pin = reclaim::pin();
        self.shards.iter().map(|shard| shard.tables.counts(&pin, db).0).sum()
    }

    /// True when a database has no keys.
    pub fn is_empty(&self, db: u8) -> bool {
        self.len(db) == 0
    }

    /// Keys of a database in one shard.
    pub fn shard_len(&self, shard: u16, db: u8) -> u64 {
        self.shards[usize::from(shard)].tables.counts(&reclaim::pin(), db).0
    }

    /// Whether a shard has keys at all, or keys with a deadline if `timed`.
    pub fn has_keys(&self, pin: &Pin, shard: u16, timed: bool) -> bool {
        let tables = &self.shard(shard).tables;
        (0..DATABASES as u8).any(|db| {
            let (keys, with_deadline) = tables.counts(pin, db);
            if timed { with_deadline > 0 } else { keys > 0 }
        })
    }

    /// Keys of all databases.
    pub fn len_of_all(&self) -> u64 {
        (0..DATABASES as u8).map(|db| self.len(db)).sum()
    }

    /// Keys of a database that have a deadline.
    pub fn len_with_deadline(&self, db: u8) -> u64 {
        let pin = reclaim::pin();
        self.shards.iter().map(|shard| shard.tables.counts(&pin, db).1).sum()
    }

    /// Bytes held by entries, objects, tables and what is retired but not yet freed.
    pub fn memory_bytes(&self) -> u64 {
        self.data_bytes() + reclaim::limbo_bytes() as u64
    }

    /// How the slabs are used, in which entries and segments lie: by all stores of the process.
    pub fn slab_usage(&self) -> Usage {
        slab::usage()
    }

    /// Bytes held by entries, objects and tables, about: wrong by
    /// [`ACCOUNT_CHUNK_BYTES`](crate::limits::ACCOUNT_CHUNK_BYTES) for each shard at most, and
    /// found by one load.
    pub fn data_bytes_about(&self) -> u64 {
        // Relaxed: a sum that is about right.
        self.totals.bytes.load(Ordering::Relaxed).max(0) as u64
    }

    /// Whether anything that was flushed is not given back yet. A hint, found by one load.
    pub fn has_flushed(&self) -> bool {
        self.totals.flushed.load(Ordering::Relaxed) > 0
    }

    /// Bytes held by entries, objects and tables.
    pub fn data_bytes(&self) -> u64 {
        self.shards.iter().map(|shard| shard.tables.bytes()).sum()
    }

    /// Bytes that one shard's entries, objects and tables hold.
    pub fn shard_bytes(&self, shard: u16) -> u64 {
        self.shard(shard).tables.bytes()
    }

    /// The position of the last record that changed any shard.
    pub fn last_lsn_of_all(&self) -> u64 {
        (0..SHARDS as u16).map(|shard| self.last_lsn(shard)).max().unwrap_or(0)
    }

    /// The position of the last record that changed a shard. A reader loads it after its last
    /// look at the shard's entries.
    pub fn last_lsn(&self, shard: u16) -> u64 {
        // Acquire: pairs with the Release in `Held::set_last_lsn`.
        self.shard(shard).last_lsn.load(Ordering::Acquire)
    }
}
